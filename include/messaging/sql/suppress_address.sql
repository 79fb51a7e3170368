INSERT INTO batch.suppressed_address (tenant_id, address, error_code, suppressed_at)
VALUES (%(tenant_id)s, lower(%(address)s), %(error_code)s, %(now)s)
ON CONFLICT (tenant_id, address) DO NOTHING;
