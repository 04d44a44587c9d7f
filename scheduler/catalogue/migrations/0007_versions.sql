-- Version 7. What objects were before their owner changed them, as far as it was read. Copies keep the old bytes, as ours
-- and not verified any more, until the new ones come.

CREATE TABLE versions (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    object_id INTEGER NOT NULL REFERENCES objects (id),
    -- From 1, the oldest.
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified_ms INTEGER,
    sha256 BLOB CHECK (length(sha256) = 32),
    blake3 BLOB CHECK (length(blake3) = 32),
    replaced_ms INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, object_id, number)
) WITHOUT ROWID;
