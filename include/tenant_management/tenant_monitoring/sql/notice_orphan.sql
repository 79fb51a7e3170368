INSERT INTO batch.orphan_notice (execution_id, detail)
VALUES (%(execution_id)s, %(detail)s)
ON CONFLICT (execution_id) DO NOTHING;
