-- name: look_up
-- For the places in :keys (24 bytes each: id, state) that are not known exactly: the states of the id under the day itself, the
-- day before and the day after, one row each; a row of nulls where there is none. The hottest statement of the program: one
-- blob is bound instead of thousands of values, and a page of known rows returns nothing. LIMIT and OFFSET keep the planner
-- from joining whole days. One row more, of place -1, where what rests on the answer would be written to another store.
SELECT place.i, other.day, other.state
FROM (
    SELECT i, substr(%(keys)b, i * 24 + 1, 16) AS id, substr(%(keys)b, i * 24 + 17, 8) AS state
    FROM generate_series(0, %(count)s::integer - 1) AS i
) AS place
LEFT JOIN LATERAL (
    SELECT day, state FROM seen
    WHERE (day & 63) = ANY (ARRAY[(%(day)s::integer - 1) & 63, %(day)s::integer & 63, (%(day)s::integer + 1) & 63])
    AND day = ANY (ARRAY[%(day)s::integer - 1, %(day)s::integer, %(day)s::integer + 1]) AND id = place.id
    OFFSET 0
) AS other ON true
WHERE (
    SELECT true FROM seen
    WHERE (day & 63) = (%(day)s::integer & 63) AND day = %(day)s::integer AND id = place.id AND state = place.state
    LIMIT 1
) IS NULL
UNION ALL
SELECT -1, NULL, NULL
WHERE %(shard)s::integer IS NOT NULL AND NOT EXISTS (
    SELECT FROM shard
    WHERE number = %(shard)s::integer AND epoch = %(epoch)s::bigint AND seq = %(seq)s::bigint AND chain = %(chain)s::bytea
);

-- name: remember
-- In the order of the key: neighbours share pages, and two writers cannot wait for each other in turns.
WITH fresh AS (
    INSERT INTO seen (day, id, state, seq)
    SELECT day, substr(%(keys)b, n::integer * 24 - 23, 16), substr(%(keys)b, n::integer * 24 - 7, 8), seq
    FROM unnest(%(days)t::integer[], %(seqs)t::bigint[]) WITH ORDINALITY AS key (day, seq, n)
    ORDER BY 1, 2, 3, n
    ON CONFLICT DO NOTHING
    RETURNING day
)
INSERT INTO seen_count (shard, day, rows) SELECT %(shard)s, day, count(*) FROM fresh GROUP BY day
ON CONFLICT (shard, day) DO UPDATE SET rows = seen_count.rows + excluded.rows;

-- name: read_shard
SELECT epoch, seq, chain, holder FROM shard WHERE number = %(shard)s FOR UPDATE;

-- name: kept_bytes
-- What is kept, not what the files take: those do not shrink when rows go. A row of `seen` takes about 160 bytes with its key.
SELECT ((SELECT coalesce(sum(log_bytes), 0) FROM shard)
    + (SELECT coalesce(sum(rows), 0) FROM seen_count) * 160
    + (SELECT coalesce(sum(size), 0) FROM retry))::bigint;

-- name: hold
INSERT INTO shard (number, epoch, holder, seq, chain) VALUES (%(shard)s, 1, gen_random_uuid(), 0, '')
ON CONFLICT (number) DO UPDATE SET epoch = shard.epoch + 1, holder = excluded.holder
RETURNING epoch, seq, chain, holder;

-- name: move_shard
UPDATE shard SET seq = %(seq)s, chain = %(chain)b, log_bytes = log_bytes + %(bytes)s WHERE number = %(shard)s;

-- name: append
INSERT INTO segment (shard, first, last, chain, at, data, recorded_bytes, sinks)
VALUES (%(shard)s, %(first)s, %(last)s, %(chain)b, %(at)s, %(data)b, %(recorded_bytes)s, %(only)s::text[]);

-- name: segments_after
-- As many as fit, and at least one. `data` is fetched only for those.
SELECT first, last, chain, at, data, recorded_bytes, sinks FROM (
    SELECT lot.*, row_number() OVER place AS place, sum(recorded_bytes) OVER place AS size
    FROM (SELECT * FROM segment WHERE shard = %(shard)s AND last > %(seq)s ORDER BY last LIMIT 1000) AS lot
    WINDOW place AS (ORDER BY last)
) AS sized
WHERE place = 1 OR size <= %(max_bytes)s
ORDER BY last;

-- name: segments_before
-- The same backwards.
SELECT first, last, chain, at, data, recorded_bytes, sinks FROM (
    SELECT lot.*, row_number() OVER place AS place, sum(recorded_bytes) OVER place AS size
    FROM (SELECT * FROM segment WHERE shard = %(shard)s AND last < %(seq)s ORDER BY last DESC LIMIT 1000) AS lot
    WINDOW place AS (ORDER BY last DESC)
) AS sized
WHERE place = 1 OR size <= %(max_bytes)s
ORDER BY last DESC;

-- name: states_of
-- All states of the ids in :ids (16 bytes each), under each day that there is. OFFSET keeps the planner from joining whole days.
SELECT known.day, wanted.id, found.state, found.seq
FROM (SELECT DISTINCT day FROM seen_count WHERE rows > 0) AS known
CROSS JOIN (
    SELECT substr(%(ids)b, i * 16 + 1, 16) AS id FROM generate_series(0, %(count)s::integer - 1) AS i
) AS wanted
CROSS JOIN LATERAL (
    SELECT state, seq FROM seen
    WHERE (day & 63) = (known.day & 63) AND day = known.day AND id = wanted.id
    OFFSET 0
) AS found
ORDER BY 1, 2, 3;

-- name: segment_ends
SELECT EXISTS (SELECT FROM segment WHERE shard = %(shard)s AND last = %(seq)s AND chain = %(chain)b)
    OR EXISTS (SELECT FROM shard WHERE number = %(shard)s AND seq = %(seq)s AND chain = %(chain)b);

-- name: find_event
SELECT first, last, chain, at, data, recorded_bytes, sinks
FROM segment, (
    SELECT max(seq) AS seq FROM seen
    WHERE (day & 63) = ANY (ARRAY[(%(day)s::integer - 1) & 63, %(day)s::integer & 63, (%(day)s::integer + 1) & 63])
    AND day = ANY (ARRAY[%(day)s::integer - 1, %(day)s::integer, %(day)s::integer + 1]) AND id = %(id)b AND seq > 0
) AS newest
WHERE shard = %(shard)s AND last >= newest.seq AND first <= newest.seq ORDER BY last LIMIT 1;

-- name: backlog
-- From the key alone, and the few segments that are for some sinks from an index of their own.
SELECT coalesce(sum(events), 0)::bigint, coalesce(sum(recorded_bytes), 0)::bigint, min(at) FROM (
    SELECT last - first + 1 AS events, recorded_bytes, at FROM segment
    WHERE shard = %(shard)s AND last > %(seq)s AND for_all
    UNION ALL
    SELECT last - first + 1, recorded_bytes, at FROM segment
    WHERE shard = %(shard)s AND last > %(seq)s AND sinks IS NOT NULL AND %(sink)s::text = ANY (sinks)
) AS behind;

-- name: checkpoints
SELECT source, endpoint, ask, value FROM checkpoint WHERE source = coalesce(%(source)s::text, source);

-- name: write_checkpoint
INSERT INTO checkpoint (source, endpoint, ask, value) VALUES (%(source)s, %(endpoint)s, %(ask)s, %(value)b)
ON CONFLICT (source, endpoint, ask) DO UPDATE SET value = excluded.value;

-- name: move_checkpoint
-- What most polls write, when nothing is new: compared and written in one statement. The shard's row as it was found comes back.
WITH found AS MATERIALIZED (
    SELECT epoch, seq, chain, holder FROM shard WHERE number = %(shard)s FOR UPDATE
), written AS (
    INSERT INTO checkpoint (source, endpoint, ask, value)
    SELECT %(source)s, %(endpoint)s, %(ask)s, %(value)b FROM found
    WHERE epoch = %(epoch)s AND seq = %(seq)s AND chain = %(chain)b AND holder = coalesce(%(holder)s, holder)
    ON CONFLICT (source, endpoint, ask) DO UPDATE SET value = excluded.value
)
SELECT epoch, seq, chain, holder FROM found;

-- name: position
SELECT seq, chain FROM position WHERE sink = %(sink)s AND shard = %(shard)s;

-- name: positions
SELECT sink, shard, seq, chain FROM position;

-- name: write_position
INSERT INTO position (sink, shard, seq, chain) VALUES (%(sink)s, %(shard)s, %(seq)s, %(chain)b)
ON CONFLICT (sink, shard) DO UPDATE SET seq = excluded.seq, chain = excluded.chain;

-- name: write_done
UPDATE position SET done = %(done)t::int8multirange WHERE sink = %(sink)s AND shard = %(shard)s;

-- name: done
SELECT number FROM position, unnest(done) AS run, generate_series(lower(run), upper(run) - 1) AS number
WHERE sink = %(sink)s AND shard = %(shard)s AND number > seq ORDER BY number;

-- name: keep_retry
INSERT INTO retry (sink, shard, seq, key, due, size, attempts, step, first, reason, error, event)
VALUES (%(sink)s, %(shard)s, %(seq)s, %(key)b, %(due)s, %(size)s, %(attempts)s, %(step)s, %(first)s, %(reason)s, %(error)b, %(event)b)
ON CONFLICT (sink, shard, seq) DO UPDATE SET
    key = excluded.key, due = excluded.due, size = excluded.size, attempts = excluded.attempts, step = excluded.step,
    first = excluded.first, reason = excluded.reason, error = excluded.error, event = excluded.event;

-- name: retry_due
UPDATE retry SET due = put_off.due FROM unnest(%(seqs)t::bigint[], %(dues)t::float8[]) AS put_off (seq, due)
WHERE retry.sink = %(sink)s AND retry.shard = %(shard)s AND retry.seq = put_off.seq;

-- name: drop_retry
DELETE FROM retry WHERE sink = %(sink)s AND shard = %(shard)s AND seq = ANY (%(seqs)t::bigint[]);

-- name: places
SELECT seq, key, due, size FROM retry WHERE sink = %(sink)s AND shard = %(shard)s ORDER BY seq;

-- name: retries
SELECT sink, shard, seq, event, attempts, step, first, due, reason, error FROM retry
WHERE sink = %(sink)s AND shard = %(shard)s AND seq = ANY (%(seqs)t::bigint[]) ORDER BY seq;

-- name: retrying
SELECT sink, shard, count(*) FROM retry GROUP BY sink, shard;

-- name: add_dead_record
INSERT INTO dead_record (id, source, endpoint, ask, reason, error, raw, utc_offset, at)
VALUES (%(id)s, %(source)s, %(endpoint)s, %(ask)s, %(reason)s, %(error)b, %(raw)b, %(offset)s, %(at)s)
ON CONFLICT DO NOTHING;

-- name: add_dead_event
INSERT INTO dead_event (id, sink, shard, seq, source, reason, error, at, size, event)
VALUES (%(id)s, %(sink)s, %(shard)s, %(seq)s, %(source)s, %(reason)s, %(error)b, %(at)s, %(size)s, %(event)b)
ON CONFLICT DO NOTHING;

-- name: close_dead_records
DELETE FROM dead_record WHERE id = ANY (%(ids)s::text[]);

-- name: close_dead_events
DELETE FROM dead_event WHERE id = ANY (%(ids)s::text[]);

-- name: dead_totals
SELECT what, sink, source, reason, letters, bytes FROM dead_total WHERE letters > 0;

-- name: dead_record_heads
SELECT 'record', id, source, endpoint, NULL, 0, reason, error, at, octet_length(raw) FROM dead_record
WHERE (at, id) > (%(at)s::float8, %(id)s::text) AND at <= %(until)s::float8
AND (%(source)s::text IS NULL OR source = %(source)s::text) AND (%(reason)s::text IS NULL OR reason = %(reason)s::text)
ORDER BY at, id LIMIT %(limit)s;

-- name: dead_event_heads
SELECT 'event', id, source, NULL, sink, shard, reason, error, at, size FROM dead_event
WHERE (at, id) > (%(at)s::float8, %(id)s::text) AND at <= %(until)s::float8
AND (%(source)s::text IS NULL OR source = %(source)s::text) AND (%(reason)s::text IS NULL OR reason = %(reason)s::text)
ORDER BY at, id LIMIT %(limit)s;

-- name: dead_event_heads_of_sink
SELECT 'event', id, source, NULL, sink, shard, reason, error, at, size FROM dead_event
WHERE sink = %(sink)s AND (at, id) > (%(at)s::float8, %(id)s::text) AND at <= %(until)s::float8
AND (%(source)s::text IS NULL OR source = %(source)s::text) AND (%(reason)s::text IS NULL OR reason = %(reason)s::text)
ORDER BY at, id LIMIT %(limit)s;

-- name: dead_records_like
-- Those whose ids begin with :start; no character is larger than the last one of Unicode.
SELECT 'record', id, source, endpoint, NULL, 0, reason, error, at, octet_length(raw) FROM dead_record
WHERE id BETWEEN %(start)s::text AND %(start)s::text || chr(1114111) ORDER BY id LIMIT %(limit)s;

-- name: dead_events_like
SELECT 'event', id, source, NULL, sink, shard, reason, error, at, size FROM dead_event
WHERE id BETWEEN %(start)s::text AND %(start)s::text || chr(1114111) ORDER BY id LIMIT %(limit)s;

-- name: some_dead_records
SELECT id, source, endpoint, ask, reason, error, raw, utc_offset, at FROM dead_record WHERE id = ANY (%(ids)s::text[]);

-- name: some_dead_events
SELECT id, sink, shard, seq, reason, error, event, at FROM dead_event WHERE id = ANY (%(ids)s::text[]);

-- name: dead_record_ids
SELECT id FROM dead_record WHERE source = %(source)s;

-- name: expire_dead_letters
-- The oldest ones of both tables together. How many records and events went.
WITH old AS (
    (SELECT id, at, 'record' AS what FROM dead_record WHERE at < %(before)s ORDER BY at, id LIMIT %(limit)s)
    UNION ALL
    (SELECT id, at, 'event' FROM dead_event WHERE at < %(before)s ORDER BY at, id LIMIT %(limit)s)
    ORDER BY at, id LIMIT %(limit)s
), records AS (
    DELETE FROM dead_record WHERE id IN (SELECT id FROM old WHERE what = 'record') RETURNING 1
), events AS (
    DELETE FROM dead_event WHERE id IN (SELECT id FROM old WHERE what = 'event') RETURNING 1
)
SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM events);

-- name: discard_dead_events
-- The oldest ones, until the rest fits: how many, their sizes, and when the newest of them was set aside.
WITH kept AS (
    SELECT coalesce(sum(bytes), 0) AS bytes FROM dead_total WHERE what = 'event' AND sink = %(sink)s
), oldest AS (
    SELECT id, sum(size) OVER (ORDER BY at, id) - size AS freed_before
    FROM (SELECT id, at, size FROM dead_event WHERE sink = %(sink)s ORDER BY at, id LIMIT %(limit)s) AS lot
), gone AS (
    DELETE FROM dead_event
    WHERE id IN (SELECT id FROM oldest, kept WHERE freed_before < kept.bytes - %(keep)s::bigint) RETURNING size, at
)
SELECT count(*), coalesce(sum(size), 0)::bigint, coalesce(max(at), 0) FROM gone;

-- name: expire_segments
-- Behind every position of its shard, and neither the newest one of the shard nor one at which a position points: those prove
-- the chain. How many went.
WITH gone AS (
    DELETE FROM segment WHERE shard = %(shard)s AND last IN (
        SELECT s.last FROM segment AS s
        WHERE s.shard = %(shard)s AND s.last < %(passed)s AND s.at < %(before)s
        AND NOT EXISTS (SELECT FROM position AS p WHERE p.shard = s.shard AND p.seq = s.last)
        AND s.last < (SELECT max(last) FROM segment WHERE shard = %(shard)s)
        ORDER BY s.last LIMIT %(limit)s
    )
    RETURNING octet_length(data) AS size
), left_over AS (
    UPDATE shard SET log_bytes = log_bytes - (SELECT coalesce(sum(size), 0) FROM gone) WHERE number = %(shard)s
)
SELECT count(*) FROM gone;

-- name: oldest_day
SELECT day FROM seen WHERE day < %(before)s ORDER BY day LIMIT 1;

-- name: rows_of_part
-- What the part of a day holds of days that have expired.
SELECT coalesce(sum(rows), 0)::bigint FROM seen_count
WHERE (day & 63) = (%(day)s::integer & 63) AND day < %(before)s;

-- name: newest_of_part
SELECT max(day) FROM seen WHERE (day & 63) = (%(day)s::integer & 63);

-- name: forget_counts
DELETE FROM seen_count WHERE (day & 63) = (%(day)s::integer & 63) AND day < %(before)s RETURNING rows;

-- name: expire_seen
-- The first of a day, in the order of the key. How many went.
WITH gone AS (
    DELETE FROM seen WHERE (day & 63) = (%(day)s::integer & 63) AND day = %(day)s AND (id, state) IN (
        SELECT id, state FROM seen WHERE (day & 63) = (%(day)s::integer & 63) AND day = %(day)s
        ORDER BY id, state LIMIT %(limit)s
    )
    RETURNING day
), counted AS (
    INSERT INTO seen_count (shard, day, rows) SELECT -1, %(day)s, -count(*) FROM gone
    ON CONFLICT (shard, day) DO UPDATE SET rows = seen_count.rows + excluded.rows
)
SELECT count(*) FROM gone;

-- name: count_rest
-- What is left of expired days that were counted row by row.
INSERT INTO seen_count (shard, day, rows) VALUES (-1, %(day)s, %(rows)s)
ON CONFLICT (shard, day) DO UPDATE SET rows = seen_count.rows + excluded.rows
RETURNING 1;

-- name: forget_positions
DELETE FROM position WHERE sink = %(sink)s RETURNING 1;

-- name: forget_retries
DELETE FROM retry WHERE sink = %(sink)s RETURNING 1;

-- name: forget_dead_events
DELETE FROM dead_event WHERE sink = %(sink)s RETURNING 1;

-- name: forget_checkpoints
DELETE FROM checkpoint WHERE source = %(source)s RETURNING 1;

-- name: get_meta
SELECT value FROM meta WHERE name = %(name)s;

-- name: put_meta
INSERT INTO meta (name, value) VALUES (%(name)s, %(value)b) ON CONFLICT (name) DO UPDATE SET value = excluded.value RETURNING 1;

-- name: first_meta
INSERT INTO meta (name, value) VALUES (%(name)s, %(value)b) ON CONFLICT (name) DO NOTHING RETURNING 1;

-- name: swap_meta
UPDATE meta SET value = %(value)b WHERE name = %(name)s AND value = %(before)b RETURNING 1;

-- name: drop_meta
DELETE FROM meta WHERE name = %(name)s RETURNING 1;

-- name: facts
-- What is kept, as `kept_bytes` counts it, and how much of what.
SELECT ((SELECT coalesce(sum(log_bytes), 0) FROM shard) + ids * 160 + (SELECT coalesce(sum(size), 0) FROM retry))::bigint,
    ids,
    (SELECT coalesce(sum(letters), 0) FROM dead_total WHERE what = 'record')::bigint,
    (SELECT coalesce(sum(letters), 0) FROM dead_total WHERE what = 'event')::bigint
FROM (SELECT coalesce(sum(rows), 0)::bigint AS ids FROM seen_count) AS seen;

-- name: somebody_has
SELECT FROM lease WHERE shard = %(shard)s AND owner <> %(owner)s AND until > clock_timestamp();

-- name: end_stopped
-- A process that was stopped, or whose machine was lost, within what it sends keeps the shard's row locked for ever: the server waits
-- for the rest, and none of its time limits counts then. What began while that lease held, or longer ago than a lease, is ended.
SELECT pg_terminate_backend(their.pid)
FROM shard
JOIN pg_locks AS held ON held.locktype = 'transactionid' AND held.transactionid = shard.xmax AND held.granted
JOIN pg_stat_activity AS their ON their.pid = held.pid AND their.usename = current_user
LEFT JOIN lease ON lease.shard = shard.number AND lease.owner <> %(owner)s
WHERE shard.number = %(shard)s
    AND (lease.until IS NULL OR lease.until <= clock_timestamp()) -- not renewed or taken since somebody looked
    AND their.xact_start < greatest(lease.until, clock_timestamp() - make_interval(secs => %(seconds)s));

-- name: take_lease
-- Free, lapsed, or ours already.
INSERT INTO lease (shard, owner, epoch, until)
VALUES (%(shard)s, %(owner)s, 0, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE lease.until <= clock_timestamp() OR lease.owner = excluded.owner
RETURNING shard;

-- name: mark_lease
UPDATE lease SET epoch = %(epoch)s, until = clock_timestamp() + make_interval(secs => %(seconds)s) WHERE shard = %(shard)s
RETURNING 1;

-- name: renew_leases
-- Also one that lapsed, as long as nobody took it: the epoch tells. A replica that was not seen for a day will not come back
-- under its name.
WITH there AS (
    INSERT INTO replica (name, until)
    SELECT %(owner)s, clock_timestamp() + make_interval(secs => %(seconds)s) WHERE %(staying)s
    ON CONFLICT (name) DO UPDATE SET until = clock_timestamp() + make_interval(secs => %(seconds)s)
), gone AS (
    DELETE FROM replica WHERE name IN (
        SELECT name FROM replica
        WHERE CASE WHEN name = %(owner)s THEN NOT %(staying)s ELSE until < clock_timestamp() - interval '1 day' END
        FOR UPDATE SKIP LOCKED
    )
)
UPDATE lease SET until = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM unnest(%(shards)t::integer[], %(epochs)t::bigint[]) AS held (shard, epoch)
WHERE lease.shard = held.shard AND lease.epoch = held.epoch AND lease.owner = %(owner)s
RETURNING lease.shard;

-- name: release_leases
DELETE FROM lease USING unnest(%(shards)t::integer[], %(epochs)t::bigint[]) AS held (shard, epoch)
WHERE lease.shard = held.shard AND lease.epoch = held.epoch AND lease.owner = %(owner)s
RETURNING 1;

-- name: leases
-- And the replicas, what is asked of shards, and the last word about switches: all at one moment, in the one statement that
-- each replica asks every second.
SELECT 'lease', shard, owner, epoch, extract(epoch FROM until - clock_timestamp())::float8 FROM lease
UNION ALL SELECT 'replica', NULL, name, NULL, extract(epoch FROM until - clock_timestamp())::float8 FROM replica
UNION ALL SELECT 'asked', shard, NULL, NULL, NULL FROM errand WHERE answer IS NULL AND until > clock_timestamp()
UNION ALL SELECT 'switched', NULL, encode(value, 'escape'), NULL, NULL FROM meta WHERE name = %(switched)s
ORDER BY 1, 2, 3;

-- name: ask_errand
-- What somebody asked who has died goes by the way.
WITH gone AS (
    DELETE FROM errand WHERE id IN (
        SELECT id FROM errand WHERE until < clock_timestamp() - interval '1 hour' FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO errand (id, shard, until, asked)
VALUES (%(id)s::uuid, %(shard)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(asked)b)
ON CONFLICT DO NOTHING RETURNING 1;

-- name: errands
SELECT id::text, shard, asked FROM errand
WHERE shard = ANY (%(shards)t::integer[]) AND answer IS NULL AND until > clock_timestamp() ORDER BY until, id LIMIT 100;

-- name: errand_stands
-- From here to the end of the transaction nobody takes it back.
SELECT FROM errand WHERE id = %(id)s::uuid AND answer IS NULL AND until > clock_timestamp() FOR UPDATE;

-- name: answer_errand
UPDATE errand SET answer = %(answer)b WHERE id = %(id)s::uuid AND answer IS NULL RETURNING 1;

-- name: errand_answer
SELECT answer FROM errand WHERE id = %(id)s::uuid;

-- name: withdraw_errand
DELETE FROM errand WHERE id = %(id)s::uuid RETURNING answer;

-- name: create_store
INSERT INTO store (shards) VALUES (%(shards)s) ON CONFLICT DO NOTHING RETURNING 1;

-- name: shards
SELECT shards FROM store;

-- name: read_only
SELECT current_setting('transaction_read_only') = 'on';

-- name: empty_seen_count
DELETE FROM seen_count;

-- name: empty_segment
DELETE FROM segment;

-- name: empty_checkpoint
DELETE FROM checkpoint;

-- name: empty_position
DELETE FROM position;

-- name: empty_retry
DELETE FROM retry;

-- name: empty_dead_record
DELETE FROM dead_record;

-- name: empty_dead_event
DELETE FROM dead_event;

-- name: empty_shard
UPDATE shard SET seq = 0, chain = '', log_bytes = 0;
