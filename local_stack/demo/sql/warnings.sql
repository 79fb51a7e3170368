-- name: warnings
SELECT
    tenant.tenant_code,
    warning.business_date,
    warning.kind,
    warning.metric,
    warning.threshold_percent || ' %%',
    round(warning.observed * 100 / warning.reference, 1) || ' %%',
    array_to_string(warning.audience, ', ')
FROM batch.usage_warning AS warning
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
WHERE warning.window_start >= date_trunc('month', %(date)s::date) AND warning.business_date <= %(date)s
ORDER BY tenant.tenant_id, warning.kind, warning.metric, warning.threshold_percent;
