-- Who signs: the issuer (`iss`) of what the keys of a purpose sign. It is kept, since a host's name does not last as long as the tokens.
CREATE TABLE issuers (
    purpose TEXT PRIMARY KEY NOT NULL,
    issuer TEXT NOT NULL
) WITHOUT ROWID;
