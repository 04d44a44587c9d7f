-- Version 3. The JSON of a plan stands in parts beside it, for that of a million datasets may be longer than one value can
-- be. Plans recorded before keep theirs in the row.

CREATE TABLE plan_parts (
    plan INTEGER NOT NULL REFERENCES plans (number),
    part INTEGER NOT NULL,
    json BLOB NOT NULL,
    PRIMARY KEY (plan, part)
);
