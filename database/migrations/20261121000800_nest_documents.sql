-- Mails and archives: what lies in them are documents of their own. `parent_generation` is the generation of the parent
-- that last queued the child's job; 0 for a child whose parent has not been published yet, which has no job either.
ALTER TABLE documents_metadata ADD COLUMN parent_generation INTEGER NOT NULL DEFAULT 0;

-- The identity of a child is its place, its content and its name: the same bytes under two names are two documents.
CREATE UNIQUE INDEX documents_metadata_member ON documents_metadata (parent_id, sha256, filename)
    WHERE parent_id IS NOT NULL;
CREATE INDEX documents_metadata_parent_status ON documents_metadata (parent_id, status) WHERE parent_id IS NOT NULL;
-- Listings leave the children out, and must not walk over ten thousand of them.
CREATE INDEX documents_metadata_newest_uploads ON documents_metadata (user_id, created_at, document_id)
    WHERE parent_id IS NULL;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('documents_metadata', 'documents_metadata_member', '100000 100 1 1'),
    ('documents_metadata', 'documents_metadata_parent_status', '100000 100 50'),
    ('documents_metadata', 'documents_metadata_newest_uploads', '100000 100000 1 1');
ANALYZE sqlite_schema;
