-- name: closed_channels
SELECT
    tenant.tenant_code,
    circuit.channel,
    circuit.reason
FROM batch.channel_circuit AS circuit
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
ORDER BY tenant.tenant_id, circuit.channel;
