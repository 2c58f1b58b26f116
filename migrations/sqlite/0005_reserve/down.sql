ALTER TABLE login_attempts DROP COLUMN from_reserve;
ALTER TABLE login_attempts DROP COLUMN reserved;
