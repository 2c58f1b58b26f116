DROP TABLE signing_keys;
DROP TABLE sessions;
DROP TABLE users;
DROP TABLE schema_floor;
