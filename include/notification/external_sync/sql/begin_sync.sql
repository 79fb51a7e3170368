INSERT INTO batch.directory_sync (tenant_id, provider)
VALUES (%(tenant_id)s, %(provider)s)
ON CONFLICT (tenant_id, provider) DO NOTHING;
