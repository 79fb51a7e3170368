-- The row that is locked; its plan is filled in once it is known.
INSERT INTO batch.setting_plan (tenant_id, recorded_by)
SELECT
    tenant.tenant_id,
    %(execution_id)s
FROM batch.tenant
WHERE
    NOT EXISTS (
        SELECT FROM batch.setting_plan AS known
        WHERE known.tenant_id = tenant.tenant_id
    )
ORDER BY tenant.tenant_id
ON CONFLICT (tenant_id) DO NOTHING;
