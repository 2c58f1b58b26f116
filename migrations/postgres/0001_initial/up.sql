CREATE TABLE schema_floor (
    only_row BOOLEAN PRIMARY KEY NOT NULL DEFAULT TRUE CHECK (only_row),
    lowest BIGINT NOT NULL
);
INSERT INTO schema_floor (lowest) VALUES (1);

CREATE TABLE users (
    id BYTEA PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL,
    canonical TEXT COLLATE "C" NOT NULL UNIQUE,
    password TEXT,
    enabled BOOLEAN NOT NULL,
    password_expired BOOLEAN NOT NULL,
    unrestricted BOOLEAN NOT NULL,
    roles BYTEA NOT NULL CHECK (length(roles) % 16 = 0),
    created_at BIGINT NOT NULL,
    last_login_at BIGINT,
    epoch BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE sessions (
    digest BYTEA PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    id BYTEA NOT NULL UNIQUE CHECK (length(id) = 16),
    dialect TEXT NOT NULL,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    epoch BIGINT NOT NULL,
    sid TEXT,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    expires_at BIGINT,
    hard_end_at BIGINT,
    address TEXT,
    note TEXT,
    enabled BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE UNIQUE INDEX sessions_sid ON sessions (sid) WHERE sid IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX sessions_user ON sessions (user_id, dialect);
CREATE INDEX sessions_expires ON sessions (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX sessions_hard_end ON sessions (hard_end_at) WHERE hard_end_at IS NOT NULL;
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY NOT NULL,
    created_at BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);
