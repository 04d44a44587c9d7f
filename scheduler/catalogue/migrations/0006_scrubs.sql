-- Version 6. How far the reading back of copies has come.

CREATE TABLE scrubs (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    -- The last key that was read in the round that is under way; NULL: none is.
    after_key TEXT,
    -- When the last whole round ended.
    ended_ms INTEGER,
    -- Until when a process has taken it up; NULL: nobody has.
    until_ms INTEGER,
    PRIMARY KEY (dataset_id, backend_id)
) WITHOUT ROWID;
