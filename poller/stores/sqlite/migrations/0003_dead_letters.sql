-- Dead events get their size and source, so that they are listed without being read; `event`, from now on compressed, stands last.
CREATE TABLE dead_event_anew (
    id TEXT PRIMARY KEY,
    sink TEXT NOT NULL,
    shard INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    at REAL NOT NULL,
    size INTEGER NOT NULL, -- of the event's body
    event BLOB NOT NULL
);
INSERT INTO dead_event_anew
SELECT
    id, sink, shard, seq,
    -- What stands between "/poller/" and the next slash.
    CASE instr(event, CAST('/poller/' AS BLOB)) WHEN 0 THEN '' ELSE CAST(substr(tail, 1, instr(tail, CAST('/' AS BLOB)) - 1) AS TEXT) END,
    reason, error, at, length(event), event
FROM (SELECT *, substr(event, instr(event, CAST('/poller/' AS BLOB)) + 8) AS tail FROM dead_event);
DROP TABLE dead_event;
ALTER TABLE dead_event_anew RENAME TO dead_event;

-- Listed by time, of all sinks or of one, and sifted without reading the rows.
CREATE INDEX dead_event_at ON dead_event (at, id, source, reason);
CREATE INDEX dead_event_of_sink ON dead_event (sink, at, id, source, reason);
CREATE INDEX dead_record_at ON dead_record (at, id, source, reason);
CREATE INDEX dead_record_of_source ON dead_record (source, id);

-- How many there are of each sort; `sink` is empty for records. Counted by triggers: no way in or out is forgotten.
CREATE TABLE dead_total (
    what TEXT NOT NULL,
    sink TEXT NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    letters INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (what, sink, source, reason)
) WITHOUT ROWID;
INSERT INTO dead_total SELECT 'event', sink, source, reason, count(*), sum(size) FROM dead_event GROUP BY sink, source, reason;
INSERT INTO dead_total SELECT 'record', '', source, reason, count(*), sum(length(raw)) FROM dead_record GROUP BY source, reason;

CREATE TRIGGER dead_event_added AFTER INSERT ON dead_event BEGIN
    INSERT OR IGNORE INTO dead_total VALUES ('event', new.sink, new.source, new.reason, 0, 0);
    UPDATE dead_total SET letters = letters + 1, bytes = bytes + new.size
    WHERE what = 'event' AND sink = new.sink AND source = new.source AND reason = new.reason;
END;
CREATE TRIGGER dead_event_gone AFTER DELETE ON dead_event BEGIN
    UPDATE dead_total SET letters = letters - 1, bytes = bytes - old.size
    WHERE what = 'event' AND sink = old.sink AND source = old.source AND reason = old.reason;
END;
CREATE TRIGGER dead_record_added AFTER INSERT ON dead_record BEGIN
    INSERT OR IGNORE INTO dead_total VALUES ('record', '', new.source, new.reason, 0, 0);
    UPDATE dead_total SET letters = letters + 1, bytes = bytes + length(new.raw)
    WHERE what = 'record' AND sink = '' AND source = new.source AND reason = new.reason;
END;
CREATE TRIGGER dead_record_gone AFTER DELETE ON dead_record BEGIN
    UPDATE dead_total SET letters = letters - 1, bytes = bytes - length(old.raw)
    WHERE what = 'record' AND sink = '' AND source = old.source AND reason = old.reason;
END;
DELETE FROM counter WHERE name IN ('dead_record', 'dead_event');
