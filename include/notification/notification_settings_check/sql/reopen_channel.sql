DELETE FROM batch.channel_circuit
WHERE tenant_id = %(tenant_id)s AND channel = %(channel)s;
