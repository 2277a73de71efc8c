-- The jobs table is the truth about the work; a message to a worker carries a job's id only.
CREATE TABLE jobs (
    job_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    document_id TEXT,
    type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN
        ('queued', 'in_progress', 'completed', 'completed_with_errors', 'failed', 'cancelling', 'cancelled')),
    stage TEXT,
    percent REAL NOT NULL CHECK (percent BETWEEN 0 AND 100),
    pages_done INTEGER NOT NULL,
    pages_total INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    generation INTEGER NOT NULL CHECK (generation >= 0),
    options TEXT NOT NULL CHECK (json_valid(options)),
    warnings TEXT NOT NULL CHECK (json_valid(warnings)),
    error TEXT CHECK (error IS NULL OR json_valid(error)),
    created_at TEXT NOT NULL,
    started_at TEXT,
    heartbeat_at TEXT,
    finished_at TEXT,
    run_after TEXT,
    worker_id TEXT,
    FOREIGN KEY (document_id, user_id) REFERENCES documents_metadata (document_id, user_id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX jobs_generation ON jobs (document_id, generation) WHERE document_id IS NOT NULL;
CREATE INDEX jobs_newest ON jobs (user_id, created_at, job_id);
CREATE INDEX jobs_status ON jobs (status, created_at, job_id);
