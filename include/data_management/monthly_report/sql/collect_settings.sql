-- Runs across tenants, as batch_platform: what each tenant has settled for its reports. month_end is UTC, exclusive.
INSERT INTO batch.report_signal (execution_id, tenant_id, setting_overrides)
WITH tenant_setting AS (
    SELECT
        tenant_id,
        jsonb_object_agg(substr(setting_key, length('batch.monthly_report.') + 1), setting_value) AS overrides
    FROM batch.all_tenant_setting
    WHERE
        tenant_id = any(%(tenant_ids)s::text[])
        AND starts_with(setting_key, 'batch.monthly_report.') AND setting_value IS NOT null
        AND coalesce(effective_from_utc < %(month_end)s, true)
        AND coalesce(effective_until_utc >= %(month_end)s, true)
    GROUP BY tenant_id
)

SELECT
    %(execution_id)s,
    scope.tenant_id,
    coalesce(tenant_setting.overrides, '{}') AS setting_overrides
FROM unnest(%(tenant_ids)s::text[]) AS scope (tenant_id)
LEFT JOIN tenant_setting USING (tenant_id)
ON CONFLICT (execution_id, tenant_id) DO NOTHING;
