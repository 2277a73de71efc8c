-- Full text over the chunks. The index keeps no copy of the text; the triggers keep it in step, also when a row goes with
-- its document.
CREATE VIRTUAL TABLE document_keywords USING fts5 (
    chunk_text,
    prefix,
    content = 'document_embeddings',
    content_rowid = 'row_id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER document_embeddings_inserted AFTER INSERT ON document_embeddings
BEGIN
    INSERT INTO document_keywords (rowid, chunk_text, prefix) VALUES (new.row_id, new.chunk_text, new.prefix);
END;

CREATE TRIGGER document_embeddings_deleted AFTER DELETE ON document_embeddings
BEGIN
    INSERT INTO document_keywords (document_keywords, rowid, chunk_text, prefix)
    VALUES ('delete', old.row_id, old.chunk_text, old.prefix);
END;

CREATE TRIGGER document_embeddings_updated AFTER UPDATE OF row_id, chunk_text, prefix ON document_embeddings
BEGIN
    INSERT INTO document_keywords (document_keywords, rowid, chunk_text, prefix)
    VALUES ('delete', old.row_id, old.chunk_text, old.prefix);
    INSERT INTO document_keywords (rowid, chunk_text, prefix) VALUES (new.row_id, new.chunk_text, new.prefix);
END;
