-- Version 1. Backends are interned; digests are 32 raw bytes; times are milliseconds since 1970 in UTC.

CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Rises with every change that planning can see.
    revision INTEGER NOT NULL
);
INSERT INTO meta (id, revision) VALUES (1, 0);

CREATE TABLE manifests (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

CREATE TABLE backends (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Set by command, apart from the manifests.
CREATE TABLE marks (
    backend_id INTEGER PRIMARY KEY REFERENCES backends (id),
    cordoned INTEGER NOT NULL DEFAULT 0,
    draining INTEGER NOT NULL DEFAULT 0
);

-- A row here: the last probe or move failed.
CREATE TABLE unreachable (
    backend_id INTEGER PRIMARY KEY REFERENCES backends (id),
    reason TEXT NOT NULL,
    since_ms INTEGER NOT NULL
);

CREATE TABLE datasets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL CHECK (source IN ('manifest', 'inventory')),
    domain TEXT NOT NULL,
    labels TEXT NOT NULL,
    record TEXT NOT NULL,
    origin_backend_id INTEGER REFERENCES backends (id),
    origin_prefix TEXT NOT NULL DEFAULT '',
    keep_origin INTEGER NOT NULL,
    -- The origin that was retired; it is not scanned again until the manifest names another one.
    released_backend_id INTEGER REFERENCES backends (id),
    released_prefix TEXT NOT NULL DEFAULT ''
);

-- Ids only ever rise (AUTOINCREMENT), for copies.trusted_through relies on it.
CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    key TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    modified_ms INTEGER,
    sha256 BLOB CHECK (length(sha256) = 32),
    blake3 BLOB CHECK (length(blake3) = 32),
    UNIQUE (dataset_id, key)
);
-- Sums over sizes read this index alone.
CREATE INDEX objects_sizes ON objects (dataset_id, size);

-- One dataset on one backend. The counts are kept by the triggers on `placed`.
CREATE TABLE copies (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    origin INTEGER NOT NULL DEFAULT 0,
    retiring INTEGER NOT NULL DEFAULT 0,
    -- Whether we began to make it: then what is there is ours, unlike a copy that an inventory tells of.
    begun INTEGER NOT NULL DEFAULT 0,
    -- A trusted inventory vouches for every object up to this id, unless a row of `placed` says otherwise. 0: none.
    trusted_through INTEGER NOT NULL DEFAULT 0,
    verified_objects INTEGER NOT NULL DEFAULT 0,
    verified_bytes INTEGER NOT NULL DEFAULT 0,
    damaged_objects INTEGER NOT NULL DEFAULT 0,
    gone_objects INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dataset_id, backend_id)
) WITHOUT ROWID;
CREATE INDEX copies_by_backend ON copies (backend_id);

-- What is known of one object in one copy. state: 0 unknown, 1 verified, 2 damaged, 3 gone.
CREATE TABLE placed (
    dataset_id INTEGER NOT NULL,
    backend_id INTEGER NOT NULL,
    object_id INTEGER NOT NULL REFERENCES objects (id),
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
    at_ms INTEGER,
    reason TEXT,
    PRIMARY KEY (dataset_id, backend_id, object_id),
    FOREIGN KEY (dataset_id, backend_id) REFERENCES copies (dataset_id, backend_id)
) WITHOUT ROWID;

CREATE TRIGGER placed_added AFTER INSERT ON placed BEGIN
    UPDATE copies SET
        verified_objects = verified_objects + (NEW.state = 1) - (NEW.object_id <= trusted_through),
        verified_bytes = verified_bytes + ((NEW.state = 1) - (NEW.object_id <= trusted_through))
            * (SELECT size FROM objects WHERE id = NEW.object_id),
        damaged_objects = damaged_objects + (NEW.state = 2),
        gone_objects = gone_objects + (NEW.state = 3)
    WHERE dataset_id = NEW.dataset_id AND backend_id = NEW.backend_id;
END;

CREATE TRIGGER placed_changed AFTER UPDATE OF state ON placed WHEN OLD.state <> NEW.state BEGIN
    UPDATE copies SET
        verified_objects = verified_objects + (NEW.state = 1) - (OLD.state = 1),
        verified_bytes = verified_bytes + ((NEW.state = 1) - (OLD.state = 1))
            * (SELECT size FROM objects WHERE id = NEW.object_id),
        damaged_objects = damaged_objects + (NEW.state = 2) - (OLD.state = 2),
        gone_objects = gone_objects + (NEW.state = 3) - (OLD.state = 3)
    WHERE dataset_id = NEW.dataset_id AND backend_id = NEW.backend_id;
END;

CREATE TABLE findings (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    kind TEXT NOT NULL CHECK (kind IN ('Gone', 'Changed', 'RefusedKey', 'NotAFile')),
    key TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (dataset_id, kind, key)
) WITHOUT ROWID;

-- A copy or retirement is, or was, under way there: what a later run sweeps for temporary files.
CREATE TABLE writes (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    PRIMARY KEY (dataset_id, backend_id)
) WITHOUT ROWID;

CREATE TABLE plans (
    number INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    json TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    state TEXT NOT NULL
);

CREATE TABLE moves (
    plan INTEGER NOT NULL REFERENCES plans (number),
    id TEXT NOT NULL,
    json TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (plan, id)
) WITHOUT ROWID;
