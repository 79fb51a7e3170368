-- The host's usage table. The application shows it; the batches write it, one tenant at a time.
CREATE OR REPLACE VIEW batch.tenant_usage WITH (security_barrier) AS
SELECT
    id, usage_date, tenant_id, active_users, total_logins, api_requests, file_storage_mb, report_generations,
    skill_assessments, notification_sent, peak_concurrent_users, peak_time, error_count, response_time_avg_ms,
    collection_timestamp, is_deleted, created_at, updated_at
FROM "SYS_TenantUsage"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

-- Without the key: INSERT ... ON CONFLICT (id) DO UPDATE reaches rows that the view hides, and the check option checks only the
-- new row. Setting tenant_id would take over another tenant's row.
GRANT SELECT, INSERT, UPDATE (
    active_users, total_logins, api_requests, file_storage_mb, report_generations, skill_assessments,
    notification_sent, peak_concurrent_users, peak_time, error_count, response_time_avg_ms,
    collection_timestamp, is_deleted, updated_at
) ON batch.tenant_usage TO batch_tenant;

-- The application's invoices: one row per invoice of the batches, under its id. The application or a recorded payment marks it
-- paid.
CREATE OR REPLACE VIEW batch.tenant_billing WITH (security_barrier) AS
SELECT
    id, tenant_id, billing_period_start, billing_period_end, billing_type, plan_id, plan_name, base_amount,
    usage_amount, additional_amount, discount_amount, subtotal_amount, tax_rate, tax_amount, total_amount,
    currency_code, usage_details, billing_status, invoice_number, invoice_date, due_date, paid_date, payment_method,
    notes, is_deleted, created_at, updated_at
FROM "HIS_TenantBilling"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, INSERT, UPDATE (
    plan_id, plan_name, base_amount, usage_amount, additional_amount, discount_amount, subtotal_amount,
    tax_rate, tax_amount, total_amount, currency_code, usage_details, billing_status, invoice_number,
    invoice_date, due_date, paid_date, payment_method, notes, updated_at
) ON batch.tenant_billing TO batch_tenant;

-- The current state of an invoice or credit note (billing/state.py), for its tenant's runs. batch.board_invoice has the same
-- columns for the board.
CREATE OR REPLACE VIEW batch.invoice_state WITH (security_invoker) AS
SELECT
    invoice.tenant_id, invoice.invoice_id, invoice.kind, invoice.status, invoice.number, invoice.total, invoice.credited,
    invoice.credited_total, invoice.paid_total, invoice.fee_total, invoice.written_off_total, invoice.open_amount,
    invoice.paid_total > 0 OR coalesce((
        SELECT upper(billing.billing_status) = 'PAID' FROM batch.tenant_billing AS billing
        WHERE billing.id = invoice.invoice_id
    ), false) AS is_paid,
    exists(
        SELECT FROM batch.extra_charge AS carried
        WHERE carried.carries_invoice_id = invoice.invoice_id
    ) AS is_carried,
    invoice.status = 'finalized' AND NOT invoice.credited AND (
        EXISTS (
            SELECT FROM batch.invoice_revision AS waiting
            WHERE waiting.invoice_id = invoice.invoice_id AND waiting.approved_by IS null
        )
        OR coalesce((
            SELECT decision.kind = 'stop' FROM batch.letter_decision AS decision
            WHERE decision.invoice_id = invoice.invoice_id
            ORDER BY decision.entered_at DESC
            LIMIT 1
        ), false)
    ) AS is_stopped,
    array(
        SELECT DISTINCT waiting.entered_by FROM batch.invoice_revision AS waiting
        WHERE
            waiting.invoice_id = invoice.invoice_id AND waiting.approved_by IS null
            AND invoice.status = 'finalized' AND NOT invoice.credited
        ORDER BY waiting.entered_by
    ) AS corrected_by
FROM batch.invoice;
GRANT SELECT ON batch.invoice_state TO batch_tenant;

-- The next three views exist twice: for a tenant's runs with the reader's privileges, and for the board. A view with its owner's
-- privileges does not pass them to an underlying view with the reader's.

-- Entries for a tenant's month without a second user's approval: typed lines at the newest rate, credit notes and write-offs at
-- their invoice's rate. yen: without sign; null without a rate.
DO $do$
DECLARE
    created text;
BEGIN
    FOREACH created IN ARRAY ARRAY['entry_yen WITH (security_invoker)', 'board_entry_yen'] LOOP
        EXECUTE 'CREATE OR REPLACE VIEW batch.' || created || ' AS ' || $view$
SELECT
    extra.tenant_id, date_trunc('month', extra.charged_on::timestamp)::date AS period_start, extra.entered_by,
    abs(extra.quantity * extra.unit_amount) * CASE extra.currency
        WHEN 'JPY' THEN 1
        ELSE (
            SELECT rate.yen_per_unit FROM batch.exchange_rate AS rate
            WHERE rate.currency = extra.currency
            ORDER BY rate.rate_date DESC
            LIMIT 1
        )
    END AS yen
FROM batch.extra_charge AS extra
WHERE
    extra.carries_invoice_id IS null
    AND batch.person_key(coalesce(extra.approved_by, extra.entered_by)) = batch.person_key(extra.entered_by)
UNION ALL
SELECT credit.tenant_id, credit.period_start, credit.entered_by, abs(credit.yen_total) AS yen
FROM batch.invoice AS credit
WHERE
    credit.kind = 'credit' AND credit.status <> 'void'
    AND batch.person_key(coalesce(credit.approved_by, credit.entered_by)) = batch.person_key(credit.entered_by)
UNION ALL
SELECT
    invoice.tenant_id, invoice.period_start, written.entered_by,
    (SELECT sum((parts.part ->> 'yen')::numeric) FROM jsonb_array_elements(written.content -> 'parts') AS parts (part)) AS yen
FROM batch.adjustment AS written
INNER JOIN batch.invoice ON written.invoice_id = invoice.invoice_id
WHERE
    -- A reversed write-off does not count, like a voided credit note.
    written.kind = 'write_off' AND written.amount > 0 AND invoice.written_off_total <> 0
    AND NOT EXISTS (
        SELECT FROM batch.waiting_write_off AS approved
        WHERE
            approved.invoice_id = written.invoice_id AND approved.decided_in = written.execution_id
            AND approved.approved_by IS NOT null
    )
$view$;
    END LOOP;
END;
$do$;

-- Subtotals without one-off lines, in yen at their own rates. yen: null without a rate, and for anything but a live final invoice
-- of days under a plan.
DO $do$
DECLARE
    created text;
BEGIN
    FOREACH created IN ARRAY ARRAY['recurring_yen WITH (security_invoker)', 'board_recurring_yen'] LOOP
        EXECUTE 'CREATE OR REPLACE VIEW batch.' || created || ' AS ' || $view$
SELECT
    invoice.tenant_id, invoice.period_start,
    CASE
        WHEN
            invoice.kind = 'invoice' AND invoice.status = 'finalized' AND NOT invoice.credited
            AND jsonb_array_length(invoice.inputs -> 'parts') > 0
            THEN (
                SELECT coalesce(sum((line.value ->> 'amount')::numeric), 0)
                FROM jsonb_array_elements(invoice.content -> 'lines') AS line
                WHERE line.value ->> 'kind' <> 'extra'
            ) * CASE invoice.currency
                WHEN 'JPY' THEN 1
                ELSE
                    coalesce(
                        invoice.content #>> '{yen_tax,yen_per_unit}', invoice.inputs #>> '{exchange_rate,yen_per_unit}'
                    )::numeric
            END
    END AS yen
FROM batch.invoice
$view$;
    END LOOP;
END;
$do$;

-- Invoices and credit notes as the documents that a payment names (Payable). A customer may have paid an earlier invoice
-- of the month, so the first possible payment day is the issue date of the month's first one. replaced_by: the month's valid
-- invoice, if that is another one.
DO $do$
DECLARE
    created text;
BEGIN
    FOREACH created IN ARRAY ARRAY['payable WITH (security_invoker)', 'board_payable'] LOOP
        EXECUTE 'CREATE OR REPLACE VIEW batch.' || created || ' AS ' || $view$
SELECT
    invoice.invoice_id, invoice.tenant_id, invoice.number, invoice.kind, invoice.status, invoice.currency, invoice.issued_on,
    invoice.open_amount,
    (
        SELECT min(past.issued_on) FROM batch.invoice AS past
        WHERE
            past.tenant_id = invoice.tenant_id AND past.period_start = invoice.period_start AND past.kind = 'invoice'
            AND past.number IS NOT null
    ) AS first_issued_on,
    (
        SELECT live.number FROM batch.invoice AS live
        WHERE
            live.tenant_id = invoice.tenant_id AND live.period_start = invoice.period_start AND live.kind = 'invoice'
            AND live.status = 'finalized' AND NOT live.credited AND live.number <> invoice.number
    ) AS replaced_by,
    invoice.written_off_total
FROM batch.invoice
$view$;
    END LOOP;
END;
$do$;
GRANT SELECT ON batch.entry_yen, batch.recurring_yen, batch.payable TO batch_tenant;
GRANT SELECT ON batch.payable TO batch_platform;

-- Invoices marked as paid by the application or a recorded payment. paid_on: the day in Japan, or null.
CREATE OR REPLACE VIEW batch.all_paid_billing AS
SELECT id, (batch.bounded(paid_date) AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS paid_on
FROM "HIS_TenantBilling"
WHERE upper(billing_status) = 'PAID';

-- Includes numbers of an earlier schema of the batches or another program.
CREATE OR REPLACE VIEW batch.all_invoice_number AS
SELECT invoice_number
FROM "HIS_TenantBilling"
WHERE invoice_number IS NOT null;

GRANT SELECT ON batch.all_paid_billing, batch.all_invoice_number TO batch_platform;

-- The application's reports. The batches add monthly reports under their own ids.
CREATE OR REPLACE VIEW batch.tenant_report WITH (security_barrier) AS
SELECT
    id, tenant_id, requested_by, report_title, report_category, output_format, generation_status, parameters,
    file_path, file_size, requested_at, started_at, completed_at, error_message, created_at, updated_at,
    is_deleted
FROM "HIS_ReportGeneration"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, INSERT, UPDATE (
    report_title, generation_status, file_path, file_size, completed_at, error_message, updated_at, is_deleted
) ON batch.tenant_report TO batch_tenant;

CREATE OR REPLACE VIEW batch.all_backup_history AS
SELECT
    id, backup_id, backup_type, backup_scope, target_objects, backup_start_time, backup_end_time,
    backup_status, backup_file_path, backup_file_size, compression_type, encryption_enabled, checksum,
    backup_trigger, executed_by, error_message, recovery_tested, recovery_test_date, is_deleted, updated_at
FROM "SYS_BackupHistory";

GRANT SELECT, INSERT, UPDATE ON batch.all_backup_history TO batch_platform;

-- Old rows to delete, found by age and deleted by key.
CREATE OR REPLACE VIEW batch.all_system_log AS
SELECT id, created_at AS created_at_utc
FROM "SYS_SystemLog";

CREATE OR REPLACE VIEW batch.all_token AS
SELECT id, expires_at AS expires_at_utc
FROM "SYS_TokenStore";

GRANT SELECT, DELETE ON batch.all_system_log, batch.all_token TO batch_platform;
