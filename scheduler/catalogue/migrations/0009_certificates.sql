-- Version 9. What each store has shown when it was tried out.

CREATE TABLE certificates (
    backend_id INTEGER PRIMARY KEY REFERENCES backends (id),
    -- Which place was tried: the manifest may point to another one since.
    place TEXT NOT NULL,
    taken_ms INTEGER NOT NULL,
    -- What it has shown, as JSON with a version.
    shown TEXT NOT NULL
);
