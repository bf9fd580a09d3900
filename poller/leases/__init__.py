"""Which shards this process works on: a fair share, counted by leases of the store."""
