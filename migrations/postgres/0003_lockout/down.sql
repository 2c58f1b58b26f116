DROP TABLE known_addresses;
DROP TABLE login_attempts;
