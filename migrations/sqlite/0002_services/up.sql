-- What the release before calls signing_keys becomes a view of the keys that its one dialect signs with or has signed with.
ALTER TABLE signing_keys RENAME TO keys;
ALTER TABLE keys ADD COLUMN purpose TEXT NOT NULL DEFAULT 'axxon-jsonrpc';
ALTER TABLE keys ADD COLUMN active_at BIGINT NOT NULL DEFAULT 0;
UPDATE keys SET active_at = created_at;

CREATE VIEW signing_keys AS
    SELECT kid, created_at, sealed FROM keys
    WHERE purpose = 'axxon-jsonrpc' AND active_at <= unixepoch() * 1000;
CREATE TRIGGER signing_keys_insert INSTEAD OF INSERT ON signing_keys BEGIN
    INSERT INTO keys (kid, created_at, sealed, active_at) VALUES (NEW.kid, NEW.created_at, NEW.sealed, NEW.created_at);
END;

CREATE TABLE service_clients (
    name TEXT PRIMARY KEY NOT NULL,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
