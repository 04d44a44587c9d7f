-- Version 11. Whose turn it is to have a consignment carried, and how fast copies go.

-- When the last turn of an owner began, and when his next one begins, as `domicile_movers::Standing` counts.
CREATE TABLE turns (
    domain TEXT PRIMARY KEY,
    began INTEGER NOT NULL,
    next INTEGER NOT NULL
) WITHOUT ROWID;

-- What each process that carries has measured of late; nothing depends on it.
CREATE TABLE rates (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    worker TEXT NOT NULL,
    bytes_per_second REAL NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, backend_id, worker)
) WITHOUT ROWID;
