-- How many logins in a row have found no place. Each of them writes, so that it takes as long as one that has found its place.
ALTER TABLE login_attempts ADD COLUMN refused BIGINT NOT NULL DEFAULT 0;
