-- A row for each name that a wrong password was tried on, whoever has it: the name's digest, since people type passwords there too.
CREATE TABLE login_attempts (
    account BLOB PRIMARY KEY NOT NULL CHECK (length(account) = 32),
    known BOOLEAN NOT NULL,
    day BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    until_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX login_attempts_until ON login_attempts (until_at);

-- From where a user logged in: the addresses that keep a budget of their own while others guess.
CREATE TABLE known_addresses (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    day BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    PRIMARY KEY (user_id, address)
) WITHOUT ROWID;
