UPDATE batch.backup SET dump_bytes = %(dump_bytes)s
WHERE execution_id = %(execution_id)s;
