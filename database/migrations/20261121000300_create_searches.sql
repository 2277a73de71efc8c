-- Every search, for its owner to look at.
CREATE TABLE similarity_searches (
    search_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    query_text TEXT NOT NULL,
    results_found INTEGER NOT NULL CHECK (results_found >= 0),
    search_timestamp TEXT NOT NULL,
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    query_embedding BLOB CHECK (query_embedding IS NULL OR length(query_embedding) = 3072)
);

CREATE INDEX similarity_searches_newest ON similarity_searches (user_id, search_timestamp, search_id);
