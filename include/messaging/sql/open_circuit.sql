INSERT INTO batch.channel_circuit (tenant_id, channel, error_code, reason, opened_at)
VALUES (%(tenant_id)s, %(channel)s, %(error_code)s, %(reason)s, %(now)s)
ON CONFLICT (tenant_id, channel) DO NOTHING;
