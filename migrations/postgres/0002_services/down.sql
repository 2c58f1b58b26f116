DROP TABLE service_clients;
DROP VIEW signing_keys;
DROP FUNCTION signing_keys_insert();
DELETE FROM keys WHERE purpose <> 'axxon-jsonrpc';
ALTER TABLE keys DROP COLUMN active_at;
ALTER TABLE keys DROP COLUMN purpose;
ALTER TABLE keys RENAME TO signing_keys;
