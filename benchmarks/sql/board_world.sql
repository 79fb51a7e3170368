-- name: plant_tenants
INSERT INTO "MST_Tenant" (tenant_id, tenant_code, tenant_name, status, created_at, updated_at)
SELECT
    'TENANT' || to_char(number, 'FM000000'),
    'CODE' || to_char(number, 'FM000000'),
    '会社 ' || number,
    'ACTIVE',
    '2026-01-01',
    '2026-01-01'
FROM generate_series(1, %(tenants)s) AS number;

-- name: plant_runs
-- Every firing of the schedules in these days: 12 batches once a day, two every hour. One tenant in 500 fails in each.
INSERT INTO batch.execution_log (
    execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status, started_at, ended_at,
    total_tenants, success_count, error_count, result
)
SELECT
    batch.id || '_' || to_char(batch.fired_at, 'YYYYMMDDHH24'),
    batch.id,
    batch.dag_id,
    'scheduled__' || to_char(batch.fired_at, 'YYYYMMDDHH24'),
    batch.fired_at::date,
    false,
    '{}',
    'worker',
    'partial',
    batch.fired_at,
    batch.fired_at + interval '20 minutes',
    %(tenants)s,
    %(tenants)s - %(tenants)s / 500,
    %(tenants)s / 500,
    '{}'
FROM (
    SELECT
        listed.id,
        listed.dag_id,
        fired_at
    FROM unnest(%(ids)s::text[], %(dag_ids)s::text[], %(is_hourly)s::boolean[]) AS listed (id, dag_id, is_hourly)
    CROSS JOIN
        LATERAL generate_series(
            now() - make_interval(days => %(days)s),
            now() - interval '1 hour',
            CASE WHEN listed.is_hourly THEN interval '1 hour' ELSE interval '1 day' END
        ) AS fired_at
) AS batch;

-- name: plant_outcomes
INSERT INTO batch.tenant_outcome (execution_id, tenant_id, status, details, records, error_code, error_message)
SELECT
    log.execution_id,
    'TENANT' || to_char(number, 'FM000000'),
    CASE WHEN mod(number, 500) = 0 THEN 'failed' ELSE 'success' END,
    '{"api_calls": 1200, "active_users": 17}',
    17,
    CASE WHEN mod(number, 500) = 0 THEN '22003' END,
    CASE WHEN mod(number, 500) = 0 THEN '数値が扱える範囲を超えました' END
FROM batch.execution_log AS log
CROSS JOIN generate_series(1, %(tenants)s) AS number;

-- name: plant_metrics
INSERT INTO batch.performance_metric (
    execution_id, batch_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes, records_processed, run_id,
    is_comparable, recorded_at
)
SELECT
    'old_' || batch_id || day,
    batch_id,
    current_date - day,
    1200,
    600,
    209715200,
    170000,
    'run_' || day,
    true,
    now() - make_interval(days => day)
FROM unnest(%(ids)s::text[]) AS batch_id
CROSS JOIN generate_series(1, 400) AS day;

-- name: plant_usage
INSERT INTO batch.usage_day (
    tenant_id, usage_date, registered_users, active_users, total_logins, api_calls, error_count, response_time_avg_ms,
    peak_concurrent_users, storage_bytes, reports_generated, skill_assessments, notifications_sent, closed_by
)
SELECT
    'TENANT' || to_char(number, 'FM000000'),
    current_date - day,
    40, 17, 50, 1200, 3, 120, 9, 5000000000, 4, 12, 30, 'run'
FROM generate_series(1, 1000) AS number
CROSS JOIN generate_series(1, 90) AS day;

-- name: plant_messages
-- One message in a thousand did not arrive, one in two thousand waits.
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, mirrored_status, status, attempts, due_at,
    next_attempt_at, error_code, created_by, created_at, finished_at
)
SELECT
    'message-' || number,
    'TENANT' || to_char(1 + mod(number, %(tenants)s), 'FM000000'),
    'key-' || number,
    (ARRAY['email', 'slack', 'teams', 'line_works'])[1 + mod(number, 4)],
    'user' || number || '@kaisha.example',
    'subject',
    repeat('text ', 40),
    status AS mirrored_status,
    status,
    1,
    now() - number * interval '1 second',
    now() - number * interval '1 second',
    CASE WHEN status = 'dead' THEN 'mailbox_unavailable' END,
    'run',
    now() - number * interval '1 second',
    CASE WHEN status IN ('sent', 'dead') THEN now() END
FROM generate_series(1, %(messages)s) AS number
CROSS JOIN
    LATERAL (
        SELECT CASE WHEN mod(number, 1000) = 0 THEN 'dead' WHEN mod(number, 2000) = 1 THEN 'retry' ELSE 'sent' END AS status
    ) AS made;

-- name: plant_invoices
-- Three years of finalised invoices of all tenants, 2 KB each. Those of the last three months are unpaid.
INSERT INTO batch.invoice (
    invoice_id, tenant_id, kind, period_start, period_end, status, number, issued_on, due_on, currency, total, content, inputs,
    input_hash, execution_id, finalized_at, paid_total, marked_paid
)
SELECT
    format('%%s-%%s', tenant.tenant_id, month.age),
    tenant.tenant_id,
    'invoice',
    month.period_start::date,
    (month.period_start + interval '1 month' - interval '1 day')::date,
    'finalized',
    format('INV-%%s-%%s', to_char(month.period_start, 'YYYY-MM'), to_char(tenant.number, 'FM00000')),
    (month.period_start + interval '1 month')::date,
    (month.period_start + interval '2 months' - interval '1 day')::date,
    'JPY',
    11000 + tenant.number,
    jsonb_build_object(
        'recipient', jsonb_build_object('name', '株式会社' || md5(tenant.tenant_id)),
        'tax_included', false,
        'tax_totals', jsonb_build_array(
            jsonb_build_object(
                'category', 'standard', 'rate_percent', '10', 'taxable_amount', '10000', 'tax_amount', '1000'
            )
        ),
        'yen_tax', null,
        'lines', (
            SELECT jsonb_agg(jsonb_build_object('position', line, 'description', md5(tenant.tenant_id || line), 'amount', '1000'))
            FROM generate_series(1, 15) AS line
        )
    ),
    '{}',
    'hash',
    'run',
    now(),
    CASE WHEN month.age < 3 THEN 0 ELSE 11000 + tenant.number END,
    month.age >= 3
FROM (
    SELECT tenant_id, row_number() OVER (ORDER BY tenant_id) AS number
    FROM batch.all_tenant
) AS tenant
CROSS JOIN LATERAL (
    SELECT age, date_trunc('month', now() AT TIME ZONE 'Asia/Tokyo') - make_interval(months => age + 1) AS period_start
    FROM generate_series(0, 35) AS age
) AS month;

-- name: plant_host_billing
-- The application's rows of these invoices.
INSERT INTO "HIS_TenantBilling" (
    id, tenant_id, billing_period_start, billing_period_end, billing_type, total_amount, billing_status, usage_details,
    created_at, updated_at
)
SELECT
    invoice_id, tenant_id, period_start, period_end, 'MONTHLY', total, CASE WHEN marked_paid THEN 'PAID' ELSE 'INVOICED' END,
    content::text, now(), now()
FROM batch.invoice;
