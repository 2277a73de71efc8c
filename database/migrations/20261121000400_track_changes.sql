-- How a process learns that another one wrote: `value` grows with everything that concerns the vector index, `revision`
-- with every write to a document's row, so that what was worked out of those rows may be kept until it changes.
CREATE TABLE change_counters (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (user_id) ON DELETE CASCADE,
    value INTEGER NOT NULL,
    revision INTEGER NOT NULL
);

-- Documents that are gone, for indexes that still hold their vectors.
CREATE TABLE document_tombstones (
    document_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    change INTEGER NOT NULL
);

CREATE INDEX document_tombstones_change ON document_tombstones (user_id, change);

CREATE TRIGGER documents_metadata_inserted AFTER INSERT ON documents_metadata
BEGIN
    INSERT INTO change_counters (user_id, value, revision) VALUES (new.user_id, 0, 1)
    ON CONFLICT (user_id) DO UPDATE SET revision = revision + 1;
END;

CREATE TRIGGER documents_metadata_updated AFTER UPDATE ON documents_metadata
BEGIN
    UPDATE change_counters SET revision = revision + 1 WHERE user_id = new.user_id;
END;

-- A document may also go with its parent or its owner; in the latter case nobody is left to tell.
CREATE TRIGGER documents_metadata_deleted AFTER DELETE ON documents_metadata
WHEN EXISTS (SELECT 1 FROM users WHERE user_id = old.user_id)
BEGIN
    UPDATE change_counters SET value = value + 1, revision = revision + 1 WHERE user_id = old.user_id;
    INSERT OR REPLACE INTO document_tombstones (document_id, user_id, change)
    SELECT old.document_id, user_id, value FROM change_counters WHERE user_id = old.user_id;
    -- An index that is further behind than this is loaded afresh (TOMBSTONES_KEPT in database/sqlite/vectors.py).
    DELETE FROM document_tombstones WHERE user_id = old.user_id AND change <=
        (SELECT value - 10000 FROM change_counters WHERE user_id = old.user_id);
END;
