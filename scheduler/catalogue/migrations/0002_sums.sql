-- Version 2. Sums over objects are kept beside them, in the transactions that add objects (src/sums.rs), so that planning
-- reads no objects.

ALTER TABLE datasets ADD COLUMN objects INTEGER NOT NULL DEFAULT 0;
ALTER TABLE datasets ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

-- Objects of less than 1 MiB by the number of binary digits of their size: what a minimum object size is billed for
-- follows from these.
CREATE TABLE small_objects (
    dataset_id INTEGER NOT NULL REFERENCES datasets (id),
    class INTEGER NOT NULL CHECK (class BETWEEN 0 AND 20),
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, class)
) WITHOUT ROWID;

UPDATE datasets SET (objects, bytes) =
    (SELECT count(*), coalesce(sum(size), 0) FROM objects WHERE dataset_id = datasets.id);

INSERT INTO small_objects (dataset_id, class, objects, bytes)
    WITH RECURSIVE classes (class, low, high) AS (
        VALUES (0, 0, 1) UNION ALL SELECT class + 1, high, 2 * high FROM classes WHERE class < 20
    )
    SELECT o.dataset_id, c.class, count(*), sum(o.size)
    FROM objects o JOIN classes c ON o.size >= c.low AND o.size < c.high
    GROUP BY o.dataset_id, c.class;

-- Nothing looks these up any more; to keep them would slow down every import.
DROP INDEX objects_sizes;
DROP INDEX copies_by_backend;
