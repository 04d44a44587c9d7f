-- Version 13. Marks that are put into two places to see whether they are one, noted before their first byte.

CREATE TABLE place_marks (
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    -- Below the root of the backend.
    path TEXT NOT NULL,
    PRIMARY KEY (backend_id, path)
) WITHOUT ROWID;
