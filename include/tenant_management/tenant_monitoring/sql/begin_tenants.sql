INSERT INTO batch.monitored_tenant (tenant_id)
SELECT signal.tenant_id
FROM batch.monitoring_signal AS signal
WHERE
    signal.execution_id = %(execution_id)s
    AND NOT EXISTS (
        SELECT FROM batch.monitored_tenant AS known
        WHERE known.tenant_id = signal.tenant_id
    )
ORDER BY signal.tenant_id
ON CONFLICT (tenant_id) DO NOTHING;
