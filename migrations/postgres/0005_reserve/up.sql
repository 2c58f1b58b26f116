-- How many tries of those that are kept for trusted addresses an account has used up that day, and whether the latest login took one.
ALTER TABLE login_attempts ADD COLUMN reserved BIGINT NOT NULL DEFAULT 0;
ALTER TABLE login_attempts ADD COLUMN from_reserve BOOLEAN NOT NULL DEFAULT FALSE;
