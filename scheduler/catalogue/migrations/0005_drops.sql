-- Version 5. Copies that could be retired and wait, so that their owners can think again.

CREATE TABLE drops (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    -- Since when it has been waiting, by the clock of the database.
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, backend_id)
) WITHOUT ROWID;
