-- works from: 1

-- What holds for the store as a whole: one row, written when it is created.
CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    shards integer NOT NULL
);

CREATE TABLE shard (
    number integer PRIMARY KEY,
    epoch bigint NOT NULL,
    holder uuid NOT NULL, -- drawn with each epoch: after a database went back, the same number comes twice
    seq bigint NOT NULL,
    chain bytea NOT NULL,
    log_bytes bigint NOT NULL DEFAULT 0 -- of its segments, packed
) WITH (fillfactor = 50); -- one row that every commit writes: its next version finds room beside it

-- One row for each state of each id. The days go round a ring of 64 parts, so that an expired day is emptied at once instead of
-- row by row, no part has to be made or dropped while the program runs, and a record with an absurd date finds its place.
CREATE TABLE seen (
    day integer NOT NULL,
    id bytea NOT NULL,
    state bytea NOT NULL,
    seq bigint NOT NULL -- of the event that was published for it; 0: none
) PARTITION BY LIST ((day & 63));
ALTER TABLE seen ALTER id SET STORAGE PLAIN, ALTER state SET STORAGE PLAIN; -- 16 and 8 bytes: no side tables
DO $$
BEGIN
    FOR part IN 0..63 LOOP
        EXECUTE format(
            'CREATE TABLE seen_%s PARTITION OF seen (PRIMARY KEY (day, id, state)) FOR VALUES IN (%s)', part, part
        );
    END LOOP;
END
$$;

-- How many rows of a day each shard has added. Counted in the transactions that add them, under the shard's lock, so that no
-- two shards write the same row. Shard -1: what expiry took away.
CREATE TABLE seen_count (
    shard integer NOT NULL,
    day integer NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (shard, day)
) WITH (fillfactor = 50);

-- The event log: one row for each commit. The key carries what a backlog is counted from.
CREATE TABLE segment (
    shard integer NOT NULL,
    last bigint NOT NULL,
    first bigint NOT NULL,
    at double precision NOT NULL,
    recorded_bytes bigint NOT NULL,
    chain bytea NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (shard, last) INCLUDE (first, at)
);
ALTER TABLE segment ALTER data SET STORAGE EXTERNAL; -- compressed already

CREATE TABLE checkpoint (
    source text NOT NULL,
    endpoint text NOT NULL,
    ask text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (source, endpoint, ask)
) WITH (fillfactor = 50);

-- `done`: the numbers behind the position that need not be sent again.
CREATE TABLE position (
    sink text NOT NULL,
    shard integer NOT NULL,
    seq bigint NOT NULL,
    chain bytea NOT NULL,
    done int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (sink, shard)
) WITH (fillfactor = 50);

-- What sinks that take events one by one are to try again. Vendors' and receivers' words are bytes: they may hold what text may not.
CREATE TABLE retry (
    sink text NOT NULL,
    shard integer NOT NULL,
    seq bigint NOT NULL,
    key bytea NOT NULL,
    due double precision, -- null: behind an earlier event of its key
    size bigint NOT NULL, -- of the event's body
    attempts integer NOT NULL,
    step integer NOT NULL,
    first double precision,
    reason text NOT NULL,
    error bytea NOT NULL,
    event bytea NOT NULL,
    PRIMARY KEY (sink, shard, seq) INCLUDE (size)
);

CREATE TABLE dead_record (
    id text PRIMARY KEY,
    source text NOT NULL,
    endpoint text NOT NULL,
    ask text NOT NULL,
    reason text NOT NULL,
    error bytea NOT NULL,
    raw bytea NOT NULL,
    utc_offset integer,
    at double precision NOT NULL
);

CREATE TABLE dead_event (
    id text PRIMARY KEY,
    sink text NOT NULL,
    shard integer NOT NULL,
    seq bigint NOT NULL,
    reason text NOT NULL,
    error bytea NOT NULL,
    event bytea NOT NULL,
    at double precision NOT NULL
);

CREATE TABLE meta (
    name text PRIMARY KEY,
    value bytea NOT NULL
);
