-- Accounts with a password kept here, their sessions, who may not come in any more, and API keys. What logs somebody in
-- is kept as a hash only.
CREATE TABLE local_accounts (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (user_id) ON DELETE CASCADE,
    -- normalised: see services.accounts.emails
    email TEXT NOT NULL UNIQUE,
    -- argon2id in the PHC string format
    password_hash TEXT NOT NULL,
    -- 1: may log in while Supabase's accounts cannot be reached
    is_offline BOOLEAN NOT NULL CHECK (is_offline IN (0, 1)),
    created_at TEXT NOT NULL,
    password_changed_at TEXT NOT NULL
);

-- A family is a session: the first token of a login and all that took its place.
CREATE TABLE refresh_tokens (
    -- SHA-256 (hex)
    token_hash TEXT NOT NULL PRIMARY KEY CHECK (length(token_hash) = 64),
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    family_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT,
    -- the token that took its place, hidden with this one: see services.accounts.sessions
    successor TEXT,
    CHECK ((used_at IS NULL) = (successor IS NULL))
);

CREATE INDEX refresh_tokens_family ON refresh_tokens (user_id, family_id);

-- No foreign key: a deleted user stays refused, although access tokens of theirs are still valid.
CREATE TABLE blocked_users (
    user_id TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL CHECK (reason IN ('disabled', 'deleted')),
    blocked_at TEXT NOT NULL
);

CREATE TRIGGER users_block_deleted AFTER DELETE ON users BEGIN
    INSERT INTO blocked_users (user_id, reason, blocked_at)
    VALUES (OLD.user_id, 'deleted', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')
    ON CONFLICT (user_id) DO UPDATE SET reason = 'deleted', blocked_at = excluded.blocked_at;
END;

CREATE TABLE api_keys (
    key_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- the first characters, by which the owner knows it again
    prefix TEXT NOT NULL,
    -- SHA-256 (hex)
    key_hash TEXT NOT NULL UNIQUE CHECK (length(key_hash) = 64),
    scopes TEXT NOT NULL CHECK (json_valid(scopes)),
    created_at TEXT NOT NULL,
    expires_at TEXT,
    last_used_at TEXT
);

CREATE INDEX api_keys_owner ON api_keys (user_id, created_at, key_id);
