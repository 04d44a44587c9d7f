-- Version 4. Who carries what, and how far large objects have come, so that any process can go on with them. Times are
-- those of the database: what the clocks of workers say makes no difference.

-- A consignment: one large object or a batch of small ones, by its first and last key.
CREATE TABLE leases (
    id INTEGER PRIMARY KEY,
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    first_key TEXT NOT NULL,
    last_key TEXT NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    -- Where it may be read, as JSON: names of backends, best first.
    sources TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Open', 'Done', 'Failed', 'Withdrawn')),
    -- Rises each time that somebody takes it up, and when it is withdrawn: what is said in the name of a lower one does
    -- not count.
    epoch INTEGER NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    -- Until when the worker has it; NULL: nobody has.
    deadline_ms INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (dataset_id, backend_id, first_key, last_key)
);
CREATE INDEX leases_open ON leases (state, deadline_ms);

-- The ledger of one object's transfer, by the transfer's name.
CREATE TABLE ledgers (
    transfer TEXT PRIMARY KEY,
    lease_id INTEGER NOT NULL REFERENCES leases (id),
    path TEXT NOT NULL,
    phase TEXT NOT NULL,
    -- An upload may have begun that nobody knows of: the sweep looks for it.
    unswept INTEGER NOT NULL DEFAULT 0,
    source_backend_id INTEGER REFERENCES backends (id),
    source_path TEXT,
    source_size INTEGER,
    source_etag TEXT,
    source_modified_ms INTEGER,
    part_size INTEGER,
    token TEXT,
    sealed_size INTEGER,
    sealed_sha256 BLOB CHECK (length(sealed_sha256) = 32),
    sealed_blake3 BLOB CHECK (length(sealed_blake3) = 32),
    etag TEXT,
    withdrawn TEXT,
    changed_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE ledger_parts (
    transfer TEXT NOT NULL REFERENCES ledgers (transfer),
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    chaining BLOB NOT NULL CHECK (length(chaining) = 32),
    crc64nvme INTEGER,
    PRIMARY KEY (transfer, number)
) WITHOUT ROWID;
