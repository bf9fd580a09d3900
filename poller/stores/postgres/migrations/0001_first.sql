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

-- The event log: one row for each commit. The key carries what a backlog is counted from. `sinks`: whom the segment is for,
-- where all of its events are for the same sinks (null: for all, or not known); in a key it might be too long.
CREATE TABLE segment (
    shard integer NOT NULL,
    last bigint NOT NULL,
    first bigint NOT NULL,
    at double precision NOT NULL,
    recorded_bytes bigint NOT NULL,
    chain bytea NOT NULL,
    data bytea NOT NULL,
    sinks text[],
    for_all boolean NOT NULL GENERATED ALWAYS AS (sinks IS NULL) STORED,
    PRIMARY KEY (shard, last) INCLUDE (first, at, recorded_bytes, for_all)
);
CREATE INDEX segment_for_some ON segment (shard, last) WHERE sinks IS NOT NULL;
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

-- Dead letters are listed by time, of all sinks or of one, and sifted without reading the rows. Ids are ordered by their bytes.
CREATE TABLE dead_record (
    id text COLLATE "C" PRIMARY KEY,
    source text NOT NULL,
    endpoint text NOT NULL,
    ask text NOT NULL,
    reason text NOT NULL,
    error bytea NOT NULL,
    raw bytea NOT NULL,
    utc_offset integer,
    at double precision NOT NULL
);
CREATE INDEX dead_record_at ON dead_record (at, id, source, reason);
CREATE INDEX dead_record_of_source ON dead_record (source, id);

CREATE TABLE dead_event (
    id text COLLATE "C" PRIMARY KEY,
    sink text NOT NULL,
    shard integer NOT NULL,
    seq bigint NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    error bytea NOT NULL,
    at double precision NOT NULL,
    size bigint NOT NULL, -- of the event's body
    event bytea NOT NULL -- compressed
);
ALTER TABLE dead_event ALTER event SET STORAGE EXTERNAL;
CREATE INDEX dead_event_at ON dead_event (at, id, source, reason);
CREATE INDEX dead_event_of_sink ON dead_event (sink, at, id, source, reason);

-- How many there are of each sort; `sink` is empty for records. Counted by triggers, once for each statement and in the order
-- of the key: no way in or out is forgotten, and two statements cannot wait for each other in turns.
CREATE TABLE dead_total (
    what text NOT NULL,
    sink text NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    letters bigint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (what, sink, source, reason)
) WITH (fillfactor = 50);

CREATE FUNCTION count_dead_events() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    INSERT INTO dead_total AS total
    SELECT 'event', sink, source, reason, sign * count(*), sign * sum(size) FROM changed GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (what, sink, source, reason) DO UPDATE
    SET letters = total.letters + excluded.letters, bytes = total.bytes + excluded.bytes;
    RETURN NULL;
END
$$;
CREATE FUNCTION count_dead_records() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    INSERT INTO dead_total AS total
    SELECT 'record', '', source, reason, sign * count(*), sign * sum(octet_length(raw)) FROM changed GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (what, sink, source, reason) DO UPDATE
    SET letters = total.letters + excluded.letters, bytes = total.bytes + excluded.bytes;
    RETURN NULL;
END
$$;
CREATE TRIGGER dead_event_added AFTER INSERT ON dead_event REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION count_dead_events();
CREATE TRIGGER dead_event_gone AFTER DELETE ON dead_event REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION count_dead_events();
CREATE TRIGGER dead_record_added AFTER INSERT ON dead_record REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION count_dead_records();
CREATE TRIGGER dead_record_gone AFTER DELETE ON dead_record REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION count_dead_records();

CREATE TABLE meta (
    name text PRIMARY KEY,
    value bytea NOT NULL
);
