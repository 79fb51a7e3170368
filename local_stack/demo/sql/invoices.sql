-- name: invoices
SELECT
    tenant.tenant_code,
    tenant.tenant_name,
    coalesce(invoice.inputs #>> '{parts,-1,plan_part,plan}', tenant.subscription_plan) AS plan,
    coalesce(invoice.number, outcome.details ->> 'settlement') AS number,
    jsonb_array_length(invoice.content -> 'lines') AS line_count,
    rtrim(to_char((invoice.content ->> 'subtotal')::numeric, 'FM999,999,990.99'), '.') AS subtotal,
    rtrim(to_char((invoice.content ->> 'tax')::numeric, 'FM999,999,990.99'), '.') AS tax,
    rtrim(to_char(invoice.total, 'FM999,999,990.99'), '.') AS total,
    invoice.currency,
    invoice.due_on
FROM batch.tenant_outcome AS outcome
INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
LEFT JOIN batch.invoice AS invoice
    ON tenant.tenant_id = invoice.tenant_id AND invoice.period_start = %(date)s AND invoice.status <> 'void'
WHERE outcome.execution_id = %(execution_id)s
ORDER BY invoice.number NULLS LAST, tenant.tenant_id;
