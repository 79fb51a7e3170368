-- What is compared stays as it is until the transaction ends: the application waits for so long.
SELECT id
FROM batch.tenant_setting
WHERE setting_key = any(%(setting_keys)s::text[])
ORDER BY tenant_id, setting_key
FOR UPDATE;
