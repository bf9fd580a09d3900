-- Whom a segment is for, where all of its events are for the same sinks (a JSON list; empty: for all, or not known): what was
-- appended for one sink again does not wait for the others.
ALTER TABLE segment ADD COLUMN sinks TEXT NOT NULL DEFAULT '';

-- Covers what a backlog is counted from.
DROP INDEX segment_place;
CREATE UNIQUE INDEX segment_place ON segment (shard, last, first, at, recorded_bytes, sinks);
