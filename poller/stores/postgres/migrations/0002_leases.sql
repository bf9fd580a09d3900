-- works from: 1

-- Who works on a shard, until when by the database's clock. Not columns of `shard`: a renewal must not wait for a commit.
CREATE TABLE lease (
    shard integer PRIMARY KEY,
    owner text NOT NULL,
    epoch bigint NOT NULL, -- of the shard when it was taken
    until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The processes that work on shards or are ready to, whether they own one or not.
CREATE TABLE replica (
    name text COLLATE "C" PRIMARY KEY,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);
