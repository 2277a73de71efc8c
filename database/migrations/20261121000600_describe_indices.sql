-- What the planner shall think of the indices that begin with the owner: one owner has the whole table. Without it the
-- planner takes "this owner's rows" for few, and walks over them all where it should look up the ids that it was given.
ANALYZE;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('documents_metadata', 'documents_metadata_newest', '100000 100000 1 1'),
    ('documents_metadata', 'documents_metadata_change', '100000 100000 1'),
    ('documents_metadata', 'documents_metadata_content', '100000 100000 1'),
    ('document_embeddings', 'document_embeddings_content', '1000000 1 1 1'),
    ('document_images', 'document_images_space', '100000 50000 1'),
    ('jobs', 'jobs_newest', '100000 100000 1 1'),
    ('jobs', 'jobs_status', '100000 20000 1 1'),
    ('similarity_searches', 'similarity_searches_newest', '100000 100000 1 1');
ANALYZE sqlite_schema;
