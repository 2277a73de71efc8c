-- Owners, documents and what was read out of them. Every row names its owner, and the composite foreign keys make sure
-- that a part never belongs to another owner than its document.
CREATE TABLE users (
    user_id TEXT NOT NULL PRIMARY KEY,
    display_name TEXT NOT NULL,
    created_at TEXT NOT NULL
);

-- The one owner in mode `none`.
INSERT INTO users (user_id, display_name, created_at)
VALUES ('00000000-0000-7000-8000-000000000001', 'local', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');

CREATE TABLE documents_metadata (
    document_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    parent_id TEXT,
    filename TEXT NOT NULL,
    file_type TEXT NOT NULL,
    media_type TEXT NOT NULL,
    file_size INTEGER NOT NULL CHECK (file_size >= 0),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    language TEXT NOT NULL,
    page_count INTEGER NOT NULL,
    total_chunks INTEGER NOT NULL,
    total_chars INTEGER NOT NULL,
    image_count INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN
        ('queued', 'in_progress', 'completed', 'completed_with_errors', 'failed', 'cancelled')),
    generation INTEGER NOT NULL CHECK (generation >= 0),
    last_generation INTEGER NOT NULL CHECK (last_generation >= generation),
    change INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    options TEXT NOT NULL CHECK (json_valid(options)),
    warnings TEXT NOT NULL CHECK (json_valid(warnings)),
    UNIQUE (document_id, user_id),
    FOREIGN KEY (parent_id, user_id) REFERENCES documents_metadata (document_id, user_id) ON DELETE CASCADE
);

-- The identity of content is (owner, sha256); the members of an archive stand on their own.
CREATE UNIQUE INDEX documents_metadata_content ON documents_metadata (user_id, sha256) WHERE parent_id IS NULL;
CREATE INDEX documents_metadata_newest ON documents_metadata (user_id, created_at, document_id);
CREATE INDEX documents_metadata_change ON documents_metadata (user_id, change);
CREATE INDEX documents_metadata_parent ON documents_metadata (parent_id, user_id) WHERE parent_id IS NOT NULL;
CREATE INDEX documents_metadata_sha256 ON documents_metadata (sha256);

CREATE TABLE document_pages (
    document_id TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    page_number INTEGER NOT NULL CHECK (page_number > 0),
    user_id TEXT NOT NULL,
    char_start INTEGER NOT NULL CHECK (char_start >= 0),
    width REAL NOT NULL,
    height REAL NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('native', 'ocr', 'hybrid')),
    reason TEXT NOT NULL,
    rotation INTEGER NOT NULL CHECK (rotation IN (0, 90, 180, 270)),
    confidence REAL NOT NULL,
    languages TEXT NOT NULL,
    word_count INTEGER NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    page_text TEXT NOT NULL,
    -- zlib of UTF-8 JSON
    layout BLOB NOT NULL,
    PRIMARY KEY (document_id, generation, page_number),
    FOREIGN KEY (document_id, user_id) REFERENCES documents_metadata (document_id, user_id) ON DELETE CASCADE
);

CREATE TABLE document_images (
    row_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    image_id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
    page_number INTEGER NOT NULL CHECK (page_number > 0),
    box TEXT,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    alt TEXT NOT NULL,
    space TEXT,
    -- 768 little-endian float32 of unit length
    embedding BLOB CHECK (embedding IS NULL OR length(embedding) = 3072),
    UNIQUE (document_id, generation, ordinal),
    CHECK ((space IS NULL) = (embedding IS NULL)),
    FOREIGN KEY (document_id, user_id) REFERENCES documents_metadata (document_id, user_id) ON DELETE CASCADE
);

CREATE INDEX document_images_sha256 ON document_images (sha256);
CREATE INDEX document_images_space ON document_images (space, row_id);

-- row_id grows with every insert and is never used again: it is the order that breaks ties, and the full-text rowid.
CREATE TABLE document_embeddings (
    row_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    chunk_id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    chunk_index INTEGER NOT NULL CHECK (chunk_index >= 0),
    first_page INTEGER NOT NULL,
    last_page INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    space TEXT,
    created_at TEXT NOT NULL,
    chunk_text TEXT NOT NULL,
    prefix TEXT NOT NULL,
    spans TEXT NOT NULL CHECK (json_valid(spans)),
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    -- 768 little-endian float32 of unit length; last, so that reading a text does not walk over it
    embedding BLOB CHECK (embedding IS NULL OR length(embedding) = 3072),
    UNIQUE (document_id, generation, chunk_index),
    CHECK ((space IS NULL) = (embedding IS NULL)),
    FOREIGN KEY (document_id, user_id) REFERENCES documents_metadata (document_id, user_id) ON DELETE CASCADE
);

CREATE INDEX document_embeddings_content ON document_embeddings (content_hash, space, user_id);
