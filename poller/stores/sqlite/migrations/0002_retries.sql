-- What sinks that take events one by one are to try again. `event` stands last, so that scans of the other columns do not touch it.
CREATE TABLE retry (
    sink TEXT NOT NULL,
    shard INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    due REAL, -- null: behind an earlier event of its key
    size INTEGER NOT NULL, -- of the event's body
    attempts INTEGER NOT NULL,
    step INTEGER NOT NULL,
    first REAL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    event BLOB NOT NULL,
    PRIMARY KEY (sink, shard, seq)
);

-- The numbers behind the position that need not be sent again (ranges.py says how); empty: none.
ALTER TABLE position ADD COLUMN done BLOB NOT NULL DEFAULT x'';
