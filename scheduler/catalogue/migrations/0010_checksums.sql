-- Version 10. The CRC-64/NVME of bytes whose BLAKE3 is known, both computed by us in one pass: stores tell the one, and
-- copies are registered by the other. Only of objects that come in parts.

CREATE TABLE checksums (
    blake3 BLOB PRIMARY KEY CHECK (length(blake3) = 32),
    -- The 64 bits as a signed number.
    crc64nvme INTEGER NOT NULL
) WITHOUT ROWID;
