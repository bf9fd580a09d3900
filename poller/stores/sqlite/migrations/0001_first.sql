-- One row for each state of each id. The day comes first: it keeps look-ups local and makes expiry a range delete.
CREATE TABLE seen (
    day INTEGER NOT NULL,
    id BLOB NOT NULL,
    state BLOB NOT NULL,
    seq INTEGER NOT NULL, -- of the event that was published for it; 0: none
    PRIMARY KEY (day, id, state)
) WITHOUT ROWID;

-- The event log: one row for each commit. `data` stands last, so that scans of the other columns do not touch it.
CREATE TABLE segment (
    shard INTEGER NOT NULL,
    last INTEGER NOT NULL,
    first INTEGER NOT NULL,
    at REAL NOT NULL,
    chain BLOB NOT NULL,
    recorded_bytes INTEGER NOT NULL,
    data BLOB NOT NULL
);
-- Covers what a backlog is counted from.
CREATE UNIQUE INDEX segment_place ON segment (shard, last, first, at);

CREATE TABLE shard (
    number INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    chain BLOB NOT NULL
);

CREATE TABLE checkpoint (
    source TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    ask TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (source, endpoint, ask)
) WITHOUT ROWID;

CREATE TABLE position (
    sink TEXT NOT NULL,
    shard INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    chain BLOB NOT NULL,
    PRIMARY KEY (sink, shard)
) WITHOUT ROWID;

CREATE TABLE dead_record (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    ask TEXT NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    raw BLOB NOT NULL,
    "offset" INTEGER,
    at REAL NOT NULL
);

CREATE TABLE dead_event (
    id TEXT PRIMARY KEY,
    sink TEXT NOT NULL,
    shard INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    event BLOB NOT NULL,
    at REAL NOT NULL
);

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Counted in the transactions that change them: counting rows would read the whole table.
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counter VALUES ('seen', 0), ('dead_record', 0), ('dead_event', 0);
