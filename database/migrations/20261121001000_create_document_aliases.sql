-- Ids that were handed out for a document while another database could not be reached, where it turned out afterwards
-- that the same content was there under another id already.
CREATE TABLE document_aliases (
    alias_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    document_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    FOREIGN KEY (document_id, user_id) REFERENCES documents_metadata (document_id, user_id) ON DELETE CASCADE
);

CREATE INDEX document_aliases_document ON document_aliases (document_id, user_id);
CREATE INDEX document_aliases_owner ON document_aliases (user_id, document_id);
