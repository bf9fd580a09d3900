-- works from: 1

-- What one process asks of the one that works on a shard. It is answered in the commit that does it, and taken back with its
-- row: so who asked knows whether it was done. The id is the asker's, so that asking twice asks once.
CREATE TABLE errand (
    id uuid PRIMARY KEY,
    shard integer NOT NULL,
    until timestamptz NOT NULL, -- nobody waits for it any more then
    asked bytea NOT NULL,
    answer bytea
);
