-- Version 12. Lists of digests that lie beside copies, so that a copy can be proven without this catalogue.

CREATE TABLE digest_lists (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    backend_id INTEGER NOT NULL REFERENCES backends (id),
    -- BLAKE3 of its bytes: what it is called.
    blake3 BLOB NOT NULL CHECK (length(blake3) = 32),
    -- 0: it was about to be written. 1: it lies there.
    written INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dataset_id, backend_id, blake3)
) WITHOUT ROWID;

-- 1: what is known of the copy's objects may be other than what its lists say.
ALTER TABLE copies ADD COLUMN list_due INTEGER NOT NULL DEFAULT 1;
CREATE INDEX copies_list_due ON copies (dataset_id, backend_id) WHERE list_due = 1 AND begun = 1 AND origin = 0;
