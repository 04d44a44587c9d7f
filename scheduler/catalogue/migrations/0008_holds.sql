-- Version 8. What people have ordered of single moves.

CREATE TABLE holds (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    -- Where the move writes to, or deletes from.
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    -- Whether it deletes.
    retires INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('Paused', 'Cancelled')),
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, backend_id)
) WITHOUT ROWID;
