-- name: numbers
-- 0 to 4095, in memory: counting in a recursive query makes the look-up a fifth slower.
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE number (i INTEGER PRIMARY KEY);
WITH RECURSIVE counted (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counted WHERE i < 4095)
INSERT INTO temp.number SELECT i FROM counted;

-- name: unknown
-- The places in :keys (24 bytes each: id, state; at most 4096) of one day that are not known exactly, and whether the day knows
-- the id in another state; once for each such state. The hottest statement of the program: one blob is bound instead of thousands
-- of values, a page of known rows returns nothing, and the tree is searched once for each key that has no more than one state.
SELECT i, state IS NOT NULL FROM temp.number
LEFT JOIN seen ON day = :day AND id = substr(:keys, i * 24 + 1, 16)
WHERE i < :count AND state IS NOT substr(:keys, i * 24 + 17, 8) AND (state IS NULL OR NOT EXISTS (
    SELECT 1 FROM seen
    WHERE day = :day AND id = substr(:keys, i * 24 + 1, 16) AND state = substr(:keys, i * 24 + 17, 8)
));

-- name: states
-- All states of the ids in :ids (16 bytes each) under one day.
WITH RECURSIVE place (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM place WHERE i + 1 < :count)
SELECT i, state FROM place
CROSS JOIN seen ON day = :day AND id = substr(:ids, i * 16 + 1, 16);

-- name: day_known
SELECT EXISTS (SELECT 1 FROM seen WHERE day = ?);

-- name: remember
-- :rows holds 43 bytes each (id, state, seq in digits; at most 4096), of one day: one blob is bound instead of thousands of values.
INSERT OR IGNORE INTO seen (day, id, state, seq)
SELECT :day, substr(:rows, i * 43 + 1, 16), substr(:rows, i * 43 + 17, 8), CAST(substr(:rows, i * 43 + 25, 19) AS INTEGER)
FROM temp.number WHERE i < :count;

-- name: read_shard
SELECT epoch, seq, chain FROM shard WHERE number = ?;

-- name: hold
INSERT INTO shard (number, epoch, seq, chain) VALUES (?, 1, 0, x'')
ON CONFLICT (number) DO UPDATE SET epoch = epoch + 1
RETURNING epoch, seq, chain;

-- name: move_shard
UPDATE shard SET seq = ?, chain = ? WHERE number = ?;

-- name: append
INSERT INTO segment (shard, first, last, chain, at, data, recorded_bytes, sinks) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: segments_after
SELECT first, last, chain, at, data, recorded_bytes, sinks FROM segment WHERE shard = ? AND last > ? ORDER BY last;

-- name: segment_with
SELECT first, last, chain, at, data, recorded_bytes, sinks FROM segment
WHERE shard = :shard AND last >= :seq AND first <= :seq ORDER BY last LIMIT 1;

-- name: segment_ends
SELECT 1 FROM segment WHERE shard = ? AND last = ? AND chain = ?
UNION ALL SELECT 1 FROM shard WHERE number = ? AND seq = ? AND chain = ?;

-- name: latest_seq
SELECT max(seq) FROM seen WHERE day IN (:day - 1, :day, :day + 1) AND id = :id AND seq > 0;

-- name: states_of
-- All states of the ids in :ids (16 bytes each), under each day that there is: by looks, and not by reading days.
WITH RECURSIVE known (day) AS (
    SELECT min(day) FROM seen
    UNION ALL SELECT (SELECT min(day) FROM seen WHERE day > known.day) FROM known WHERE known.day IS NOT NULL
), place (i) AS (SELECT 0 WHERE :count > 0 UNION ALL SELECT i + 1 FROM place WHERE i + 1 < :count)
SELECT seen.day, seen.id, seen.state, seen.seq FROM known
CROSS JOIN place
CROSS JOIN seen ON seen.day = known.day AND seen.id = substr(:ids, place.i * 16 + 1, 16)
ORDER BY seen.day, seen.id, seen.state;

-- name: segments_before
SELECT first, last, chain, at, data, recorded_bytes, sinks FROM segment WHERE shard = ? AND last < ? ORDER BY last DESC;

-- name: backlog
SELECT coalesce(sum(last - first + 1), 0), coalesce(sum(recorded_bytes), 0), min(at) FROM segment
WHERE shard = :shard AND last > :seq
AND (sinks = '' OR EXISTS (SELECT 1 FROM json_each(sinks) WHERE value = :sink));

-- name: checkpoints
SELECT source, endpoint, ask, value FROM checkpoint WHERE source = coalesce(?, source);

-- name: write_checkpoint
INSERT INTO checkpoint (source, endpoint, ask, value) VALUES (?, ?, ?, ?)
ON CONFLICT (source, endpoint, ask) DO UPDATE SET value = excluded.value;

-- name: position
SELECT seq, chain FROM position WHERE sink = ? AND shard = ?;

-- name: positions
SELECT sink, shard, seq, chain FROM position;

-- name: write_position
INSERT INTO position (sink, shard, seq, chain) VALUES (?, ?, ?, ?)
ON CONFLICT (sink, shard) DO UPDATE SET seq = excluded.seq, chain = excluded.chain;

-- name: write_done
UPDATE position SET done = ? WHERE sink = ? AND shard = ?;

-- name: done
SELECT seq, done FROM position WHERE sink = ? AND shard = ?;

-- name: keep_retry
INSERT INTO retry (sink, shard, seq, "key", due, size, attempts, step, first, reason, error, event)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sink, shard, seq) DO UPDATE SET
    "key" = excluded."key", due = excluded.due, size = excluded.size, attempts = excluded.attempts, step = excluded.step,
    first = excluded.first, reason = excluded.reason, error = excluded.error, event = excluded.event;

-- name: retry_due
UPDATE retry SET due = ? WHERE sink = ? AND shard = ? AND seq = ?;

-- name: drop_retry
DELETE FROM retry WHERE sink = ? AND shard = ? AND seq = ?;

-- name: places
SELECT seq, "key", due, size FROM retry WHERE sink = ? AND shard = ? ORDER BY seq;

-- name: retry
SELECT sink, shard, seq, event, attempts, step, first, due, reason, error FROM retry
WHERE sink = ? AND shard = ? AND seq = ?;

-- name: retrying
SELECT sink, shard, count(*) FROM retry GROUP BY sink, shard;

-- name: add_dead_record
INSERT OR IGNORE INTO dead_record (id, source, endpoint, ask, reason, error, raw, "offset", at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_dead_event
INSERT OR IGNORE INTO dead_event (id, sink, shard, seq, source, reason, error, at, size, event)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: close_dead_record
DELETE FROM dead_record WHERE id = ?;

-- name: close_dead_event
DELETE FROM dead_event WHERE id = ?;

-- name: dead_totals
SELECT what, sink, source, reason, letters, bytes FROM dead_total WHERE letters > 0 ORDER BY what, sink, source, reason;

-- name: dead_record_heads
SELECT 'record', id, source, endpoint, NULL, 0, reason, error, at, length(raw) FROM dead_record
WHERE (at, id) > (:at, :id) AND at <= :until
AND source = coalesce(:source, source) AND reason = coalesce(:reason, reason)
ORDER BY at, id LIMIT :limit;

-- name: dead_event_heads
SELECT 'event', id, source, NULL, sink, shard, reason, error, at, size FROM dead_event
WHERE (at, id) > (:at, :id) AND at <= :until
AND source = coalesce(:source, source) AND reason = coalesce(:reason, reason)
ORDER BY at, id LIMIT :limit;

-- name: dead_event_heads_of_sink
-- Without coalesce, so that the index of the sink is used.
SELECT 'event', id, source, NULL, sink, shard, reason, error, at, size FROM dead_event
WHERE sink = :sink AND (at, id) > (:at, :id) AND at <= :until
AND source = coalesce(:source, source) AND reason = coalesce(:reason, reason)
ORDER BY at, id LIMIT :limit;

-- name: dead_records_like
-- Those whose ids begin with :start; no character is larger than the last one of Unicode.
SELECT 'record', id, source, endpoint, NULL, 0, reason, error, at, length(raw) FROM dead_record
WHERE id BETWEEN :start AND :start || char(1114111) ORDER BY id LIMIT :limit;

-- name: dead_events_like
SELECT 'event', id, source, NULL, sink, shard, reason, error, at, size FROM dead_event
WHERE id BETWEEN :start AND :start || char(1114111) ORDER BY id LIMIT :limit;

-- name: dead_record
SELECT id, source, endpoint, ask, reason, error, raw, "offset", at FROM dead_record WHERE id = ?;

-- name: dead_event
SELECT id, sink, shard, seq, reason, error, event, at FROM dead_event WHERE id = ?;

-- name: dead_record_ids
SELECT id FROM dead_record WHERE source = ?;

-- name: old_dead_letters
SELECT id, 'dead_record', at FROM dead_record WHERE at < :before
UNION ALL SELECT id, 'dead_event', at FROM dead_event WHERE at < :before
ORDER BY at, id LIMIT :limit;

-- name: oldest_dead_events
SELECT id, size, at FROM dead_event WHERE sink = ? ORDER BY at, id LIMIT ?;

-- name: dead_event_bytes
SELECT coalesce(sum(bytes), 0) FROM dead_total WHERE what = 'event' AND sink = ?;

-- name: expire_segments
-- Behind every position of its shard, and neither the newest one of the shard nor one at which a position points: those
-- prove the chain.
DELETE FROM segment WHERE rowid IN (
    SELECT s.rowid FROM segment AS s
    WHERE s.shard = :shard AND s.last < :passed AND s.at < :before
    AND NOT EXISTS (SELECT 1 FROM position AS p WHERE p.shard = s.shard AND p.seq = s.last)
    AND s.last < (SELECT max(last) FROM segment WHERE shard = :shard)
    ORDER BY s.last LIMIT :limit
);

-- name: seen_after
-- The key behind the oldest :limit ones.
SELECT day, id, state FROM seen WHERE day < :day ORDER BY day, id, state LIMIT 1 OFFSET :limit;

-- name: seen_list
SELECT day, id, state FROM seen WHERE (day, id, state) > (?, ?, ?) ORDER BY day, id, state LIMIT ?;

-- name: expire_seen
DELETE FROM seen WHERE day < ?;

-- name: expire_seen_to
DELETE FROM seen WHERE (day, id, state) < (?, ?, ?);

-- name: forget_positions
DELETE FROM position WHERE sink = ?;

-- name: forget_retries
DELETE FROM retry WHERE sink = ?;

-- name: forget_dead_events
DELETE FROM dead_event WHERE sink = ?;

-- name: forget_checkpoints
DELETE FROM checkpoint WHERE source = ?;

-- name: get_meta
SELECT value FROM meta WHERE name = ?;

-- name: put_meta
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: first_meta
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING;

-- name: swap_meta
UPDATE meta SET value = ? WHERE name = ? AND value = ?;

-- name: drop_meta
DELETE FROM meta WHERE name = ?;

-- name: count
UPDATE counter SET value = value + ? WHERE name = ?;

-- name: counters
SELECT name, value FROM counter;

-- name: used_bytes
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size;

-- name: empty_seen
DELETE FROM seen;

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

-- name: count_nothing
UPDATE counter SET value = 0;
