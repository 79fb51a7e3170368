-- The views of the operators' board, the only relations that batch_board may read. They contain no credentials, message texts or
-- setting values, and only parts of addresses, except in contracts. Times are timestamptz; days are Asia/Tokyo.

CREATE OR REPLACE VIEW batch.board_deployment AS
SELECT revision, oldest_code, with_deletion
FROM batch.deployment;

-- Tenants without addresses. A deleted tenant (is_gone) has its former code and name.
CREATE OR REPLACE VIEW batch.board_tenant AS
SELECT
    tenant.tenant_id,
    coalesce(former.tenant_code, tenant.tenant_code) AS tenant_code,
    coalesce(former.tenant_name, tenant.tenant_name) AS tenant_name,
    tenant.status, tenant.subscription_plan, tenant.max_users, tenant.max_storage_gb, tenant.contract_start,
    tenant.contract_end, tenant.created_on, former.tenant_id IS NOT null AS is_gone
FROM batch.all_tenant AS tenant
LEFT JOIN batch.all_former_tenant AS former ON tenant.tenant_id = former.tenant_id;

-- One row per run of a batch or operation. Forms may contain addresses, so only four fields are shown. shown: the items that the
-- dialog showed.
CREATE OR REPLACE VIEW batch.board_run AS
SELECT
    log.execution_id, log.batch_id, log.dag_id, log.run_id, log.business_date, log.dry_run,
    log.parameters ->> 'operation' AS operation,
    log.parameters -> 'tenants' AS chosen_tenants,
    log.parameters -> 'shown' AS shown,
    regexp_replace(log.parameters ->> 'reason', '[^[:space:]<>"'',;:()]+@[^[:space:]<>"'',;:()]+', '***', 'g') AS reason,
    log.status, log.started_at, log.ended_at, log.total_tenants, log.success_count, log.error_count,
    log.result, log.error_message, log.attempt, log.reopened_at, log.triggered_by, log.version,
    log.parameters ->> 'backup' AS backup
FROM batch.execution_log AS log;

CREATE OR REPLACE VIEW batch.board_outcome AS
SELECT
    execution_id, tenant_id, part, status, details, notes, records, error_code, error_message, attempts, recorded_at, shard
FROM batch.tenant_outcome;

CREATE OR REPLACE VIEW batch.board_task AS
SELECT execution_id, task_id, map_index, wall_seconds, cpu_seconds, peak_memory_bytes
FROM batch.task_metric;

CREATE OR REPLACE VIEW batch.board_performance AS
SELECT
    execution_id, batch_id, run_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes, records_processed,
    is_comparable, recorded_at
FROM batch.performance_metric;

CREATE OR REPLACE VIEW batch.board_remark AS
SELECT execution_id, step, details, problem, is_reported, recorded_at
FROM batch.run_remark;

CREATE OR REPLACE VIEW batch.board_reconciliation AS
SELECT execution_id, source, placement, is_event, row_count, since
FROM batch.reconciliation;

-- Alerts. triggering_user: Airflow's name of the recipient of a personal alert. message is a skill_batch.notifiers.alert.Alert,
-- or {"result": …} for a result, which is not an alert.
CREATE OR REPLACE VIEW batch.board_alert AS
SELECT
    alert_key, channel, severity, message ->> 'title' AS title, message -> 'lines' AS lines,
    message ->> 'triggering_user' AS triggering_user, message -> 'kinds' AS kinds,
    substring(message ->> 'links' FROM '/skill-batch-board/(runs/[^"]+)"') AS page, created_at, due_at, attempts, in_doubt,
    delivered_at,
    regexp_replace(last_error, '[^[:space:]<>"'',;:()]+@[^[:space:]<>"'',;:()]+', '***', 'g') AS last_error
FROM batch.operator_alert
WHERE NOT message ? 'result';

CREATE OR REPLACE VIEW batch.board_orphan AS
SELECT execution_id, detail, noticed_at, told_at
FROM batch.orphan_notice;

CREATE OR REPLACE VIEW batch.board_incident AS
SELECT
    tenant_id, check_name, opened_at, severity, evidence, breached_at, reopened, closed_at, closed_because, told, told_at,
    is_part_of_platform, opened_by
FROM batch.incident;

CREATE OR REPLACE VIEW batch.board_platform_incident AS
SELECT check_name, opened_at, evidence, breached_at, reopened, closed_at, told, told_at
FROM batch.platform_incident;

CREATE OR REPLACE VIEW batch.board_inactivity AS
SELECT tenant_id, stage, last_activity_on, inactive_since, judged_on, entered_on, entered_by
FROM batch.tenant_inactivity;

CREATE OR REPLACE VIEW batch.board_inactivity_change AS
SELECT
    tenant_id, changed_on, from_stage, to_stage, reason, inactive_days, inactive_since, last_activity_on, recorded_by,
    recorded_at
FROM batch.inactivity_change;

CREATE OR REPLACE VIEW batch.board_usage_day AS
SELECT
    tenant_id, usage_date, registered_users, active_users, total_logins, api_calls, error_count, response_time_avg_ms,
    peak_concurrent_users, storage_bytes, reports_generated, skill_assessments, notifications_sent, unplaced_accounts,
    read_events, unplaced_events, revision, closed_by, closed_at
FROM batch.usage_day;

CREATE OR REPLACE VIEW batch.board_usage_warning AS
SELECT
    tenant_id, kind, metric, threshold_percent, window_start, business_date, observed, reference, raised_by, raised_at
FROM batch.usage_warning;

-- Invoices and credit notes with their printed content, without the recipient's address and the inputs. tenant_code: as printed.
-- is_paid: a payment is recorded, or the application says PAID. is_of_plan: for days under a plan, not only one-off lines.
-- is_carried: one-off lines carry a difference into later months. is_closed: the month has no invoice or draft left and is billed
-- again only for named tenants. content, leaves_on and letter_id belong to the newest revision, counterparty to the first
-- document.
CREATE OR REPLACE VIEW batch.board_invoice AS
SELECT
    invoice.invoice_id, invoice.tenant_id, invoice.kind, invoice.period_start, invoice.period_end, invoice.status,
    CASE
        WHEN invoice.status = 'void' THEN 'void'
        WHEN invoice.kind = 'credit' AND invoice.status = 'draft' THEN 'waiting_credit'
        WHEN invoice.kind = 'credit' THEN 'credit_note'
        WHEN invoice.credited THEN 'credited'
        WHEN invoice.status = 'draft' AND invoice.hold_reason IS NOT null THEN 'held'
        WHEN invoice.status = 'draft' THEN 'draft'
        WHEN invoice.total = 0 THEN 'zero'
        ELSE 'finalized'
    END AS state,
    invoice.number, invoice.issued_on,
    CASE
        WHEN
            EXISTS (
                SELECT FROM batch.invoice_revision AS corrected
                WHERE corrected.invoice_id = invoice.invoice_id
            )
            THEN (
                SELECT newest.leaves_on FROM batch.invoice_revision AS newest
                WHERE newest.invoice_id = invoice.invoice_id
                ORDER BY newest.revision DESC
                LIMIT 1
            )
        ELSE invoice.leaves_on
    END AS leaves_on,
    'invoice-' || invoice.invoice_id || coalesce((
        SELECT '-r' || max(corrected.revision) FROM batch.invoice_revision AS corrected
        WHERE corrected.invoice_id = invoice.invoice_id
    ), '') AS letter_id,
    invoice.due_on, invoice.booked_on, invoice.currency, invoice.total,
    invoice.yen_total, invoice.counterparty COLLATE "C" AS counterparty, -- noqa: RF03
    invoice.content ->> 'tenant_code' AS tenant_code,
    coalesce(
        (
            SELECT newest.content FROM batch.invoice_revision AS newest
            WHERE newest.invoice_id = invoice.invoice_id
            ORDER BY newest.revision DESC
            LIMIT 1
        ),
        invoice.content
    ) AS content,
    jsonb_array_length(invoice.inputs -> 'parts') > 0 AS is_of_plan,
    invoice.input_hash, invoice.hold_reason, invoice.approved_by,
    invoice.credits_invoice_id, invoice.credit_reason, invoice.credited, invoice.credited_total, invoice.paid_total,
    invoice.fee_total, invoice.written_off_total, invoice.open_amount, invoice.marked_paid, invoice.execution_id,
    invoice.created_at, invoice.finalized_at, invoice.voided_at, invoice.void_reason, invoice.voided_by,
    invoice.paid_total > 0 OR EXISTS (
        SELECT FROM batch.all_paid_billing AS paid
        WHERE paid.id = invoice.invoice_id
    ) AS is_paid,
    exists(
        SELECT FROM batch.extra_charge AS carried
        WHERE carried.carries_invoice_id = invoice.invoice_id
    ) AS is_carried,
    exists(
        SELECT FROM batch.letter_stop AS stop
        WHERE stop.invoice_id = invoice.invoice_id
    ) AS is_stopped,
    coalesce((
        SELECT stop.corrected_by FROM batch.letter_stop AS stop
        WHERE stop.invoice_id = invoice.invoice_id
    ), '{}') AS corrected_by,
    invoice.closes_month AND NOT EXISTS (
        SELECT FROM batch.invoice AS live
        WHERE
            live.tenant_id = invoice.tenant_id AND live.period_start = invoice.period_start
            AND live.kind = 'invoice' AND live.status <> 'void' AND NOT live.credited
    ) AS is_closed
FROM batch.invoice;

-- The inputs of each invoice's calculation, for the days on its page.
CREATE OR REPLACE VIEW batch.board_calculation AS
SELECT invoice_id, tenant_id, inputs
FROM batch.invoice
WHERE kind = 'invoice';

-- One-off lines. amount: with or without tax, like the price list.
CREATE OR REPLACE VIEW batch.board_extra_charge AS
SELECT extra_charge_id, tenant_id, charged_on, description, quantity * unit_amount AS amount, currency
FROM batch.extra_charge;

CREATE OR REPLACE VIEW batch.board_waiting_entry AS
SELECT tenant_id, kind, entry_id, period_start, entry_text, amount, currency, entered_by, entered_at
FROM batch.all_waiting_entry;

CREATE OR REPLACE VIEW batch.board_document AS
SELECT invoice_id, tenant_id, revision, format, location, sha256, bytes, written_at
FROM batch.invoice_document;

CREATE OR REPLACE VIEW batch.board_invoice_revision AS
SELECT
    tenant_id, invoice_id, revision, counterparty COLLATE "C" AS counterparty, due_on, corrected_on, reason, entered_by,
    entered_at, execution_id
FROM batch.invoice_revision;

-- The current state of each letter to a billing contact, in the terms of batch.outbox. Without a message, the application's row
-- decides. planned: BATCH-019-01 creates the message on its day. may_leave: the letter can be stopped or sent (statements
-- withdraw_letters and release_letters of billing). copy_of: the original letter of a copy to a further address (shown in part).
CREATE OR REPLACE VIEW batch.board_letter AS
SELECT
    letter.id AS letter_id, letter.tenant_id,
    CASE WHEN copy.place > 0 THEN copy.letter_id END AS copy_of,
    left(copy.address, 1) || '***@' || split_part(copy.address, '@', -1) AS recipient,
    CASE
        WHEN message.status NOT IN ('pending', 'retry', 'withdrawn') THEN message.status
        WHEN letter.is_withdrawn OR message.status = 'withdrawn' THEN 'withdrawn'
        WHEN letter.is_unsent THEN coalesce(message.status, 'planned')
        WHEN upper(letter.send_status) IN ('SUCCESS', 'SENT', 'DELIVERED', 'OPENED') THEN 'sent'
        WHEN upper(letter.send_status) = 'SKIPPED' THEN 'withdrawn'
        ELSE 'dead'
    END AS state,
    letter.is_unsent AND coalesce(message.status IN ('pending', 'retry', 'withdrawn'), true) AS may_leave,
    (letter.scheduled_at_utc AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS leaves_on,
    message.finished_at
FROM (
    SELECT
        id, tenant_id, send_status, scheduled_at_utc, is_withdrawn,
        coalesce(upper(send_status) IN ('PENDING', 'RETRY'), false) AS is_unsent
    FROM batch.all_notification
    WHERE is_letter
) AS letter
LEFT JOIN batch.outbox AS message
    ON letter.tenant_id = message.tenant_id AND message.dedupe_key = 'host:' || letter.id
LEFT JOIN batch.letter_copy AS copy
    ON letter.tenant_id = copy.tenant_id AND letter.id = copy.notification_id;

CREATE OR REPLACE VIEW batch.board_letter_stop AS
SELECT tenant_id, invoice_id, reason, entered_by, entered_at, corrected_by
FROM batch.letter_stop;

CREATE OR REPLACE VIEW batch.board_letter_decision AS
SELECT tenant_id, invoice_id, kind, reason, entered_by, entered_at, execution_id
FROM batch.letter_decision
UNION ALL
SELECT tenant_id, invoice_id, 'correct' AS kind, reason, entered_by, entered_at, execution_id
FROM batch.invoice_revision;

CREATE OR REPLACE VIEW batch.board_payment AS
SELECT
    payment_id, tenant_id, invoice_id, kind, paid_on, amount, currency, method, reference, reason, entered_by, entered_at,
    reversed_at, reversed_by, reversal_reason,
    (
        SELECT coalesce(sum(adjustment.amount), 0) FROM batch.adjustment
        WHERE adjustment.payment_id = payment.payment_id
    ) AS adjusted
FROM batch.payment;

-- Transfers of bank files belong to no tenant. The board shows them only to users who may confirm them.
CREATE OR REPLACE VIEW batch.board_bank_file AS
SELECT sha256, name, form, transfers, new_transfers, first_day, last_day, total, imported_at, imported_by
FROM batch.bank_file;

-- first_due_on: the earliest due date of invoices that a waiting transfer may have paid.
CREATE OR REPLACE VIEW batch.board_transfer AS
SELECT
    transfer_id, sha256, line, account, booked_on, amount, amount - settled AS rest, payer_name, payer_code, reference, details,
    is_cancellation, doubt, set_aside_reason, set_aside_by, set_aside_at,
    settled < amount AND cancelled_by IS null AND set_aside_at IS null AS is_open,
    (
        SELECT min(invoice.due_on) FROM batch.invoice
        WHERE
            invoice.number IN (
                SELECT choice.number FROM batch.transfer_choice AS choice
                WHERE choice.transfer_id = bank_transfer.transfer_id
                UNION ALL
                SELECT hold.number FROM batch.reminder_hold AS hold
                WHERE hold.transfers @> ARRAY[bank_transfer.transfer_id]
            )
    ) AS first_due_on
FROM batch.bank_transfer;

CREATE OR REPLACE VIEW batch.board_transfer_choice AS
SELECT transfer_id, choice, part, tenant_id, number, amount, fee, payment_id, is_automatic
FROM batch.transfer_choice;

CREATE OR REPLACE VIEW batch.board_payer AS
SELECT payer_id, tenant_id, payer_key, payer_code, payer_name, confirmed_by, confirmed_at
FROM batch.payer;

-- Contracts: inputs of an invoice other than the price list. They contain names and full addresses for the approving user. The
-- board shows them only to users who may change contracts.

-- profile: the entered values, null without a row. stated: the values in documents and letters for empty fields. Neither contains
-- values from the settings.
CREATE OR REPLACE VIEW batch.board_billing_profile AS
SELECT
    tenant.tenant_id, to_jsonb(profile) - 'tenant_id' AS profile,
    jsonb_build_object(
        'recipient_name',
        coalesce(CASE WHEN profile.language = 'en' THEN tenant.tenant_name_en END, tenant.tenant_name),
        'postal_code', tenant.postal_code, 'address', tenant.address, 'country', tenant.country,
        'email', coalesce(tenant.contact_email, tenant.admin_email), 'language', 'ja',
        'currency', tenant.currency_code, 'partner_code', tenant.tenant_code
    ) AS stated
FROM batch.all_tenant AS tenant
LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id;

-- The distinct addresses of a tenant's letters, and their suppressions. column_name: the column of the profile.
CREATE OR REPLACE VIEW batch.board_billing_address AS
SELECT
    listed.tenant_id, listed.address, listed.column_name, listed.place, suppressed.reason, suppressed.error_code,
    suppressed.bounces, suppressed.suppressed_at, suppressed.suppressed_until, suppressed.bounced_until
FROM (
    SELECT DISTINCT ON (tenant.tenant_id, entered.address)
        tenant.tenant_id, entered.address, entered.column_name, entered.place
    FROM batch.all_tenant AS tenant
    LEFT JOIN batch.billing_profile AS profile ON tenant.tenant_id = profile.tenant_id
    CROSS JOIN
        LATERAL (
            SELECT
                coalesce(profile.email, tenant.contact_email, tenant.admin_email) AS address,
                'email'::text AS column_name,
                0::bigint AS place
            UNION ALL
            SELECT further.address, 'further_emails'::text AS column_name, further.place
            FROM unnest(profile.further_emails) WITH ORDINALITY AS further (address, place)
            UNION ALL
            SELECT copied.address, 'cc_emails'::text AS column_name, 10 + copied.place AS place
            FROM unnest(profile.cc_emails) WITH ORDINALITY AS copied (address, place)
        ) AS entered
    WHERE entered.address IS NOT null
    ORDER BY tenant.tenant_id, entered.address, entered.place
) AS listed
LEFT JOIN batch.suppressed_address AS suppressed
    ON listed.tenant_id = suppressed.tenant_id AND listed.address = suppressed.address;

CREATE OR REPLACE VIEW batch.board_billing_mail AS
SELECT
    listed.tenant_id, listed.address, message.message_id, message.status, message.error_code, message.created_at,
    message.finished_at
FROM batch.board_billing_address AS listed
INNER JOIN batch.outbox AS message
    ON listed.tenant_id = message.tenant_id AND listed.address = message.destination
WHERE message.channel = 'email';

-- Terms with a first and a last day. terms: columns as in batch.contract_change, with numbers as texts.
CREATE OR REPLACE VIEW batch.board_contract_term AS
SELECT
    tenant_id, 'discount' AS kind, valid_from, valid_to,
    jsonb_build_object(
        'name', name, 'kind', kind, 'value', trim_scale(value)::text, 'currency', currency, 'metric', metric
    ) AS terms
FROM batch.discount
UNION ALL
SELECT
    tenant_id, 'commitment' AS kind, valid_from, valid_to,
    jsonb_build_object('amount', trim_scale(amount)::text, 'currency', currency) AS terms
FROM batch.commitment
UNION ALL
SELECT
    tenant_id, 'order_number' AS kind, valid_from, valid_to, jsonb_build_object('order_number', order_number) AS terms
FROM batch.order_number
UNION ALL
SELECT
    tenant_id, 'plan' AS kind, effective_from AS valid_from,
    lead(effective_from) OVER (PARTITION BY tenant_id ORDER BY effective_from) - 1 AS valid_to,
    jsonb_build_object('plan', plan) AS terms
FROM batch.plan_change;

CREATE OR REPLACE VIEW batch.board_exchange_rate AS
SELECT currency, rate_date, yen_per_unit
FROM batch.exchange_rate;

-- Changes without the rows of a waiting file. imported: the number of these rows.
CREATE OR REPLACE VIEW batch.board_contract_change AS
SELECT
    change_id, tenant_id, kind, before, CASE WHEN kind <> 'import' THEN after END AS after,
    CASE WHEN kind = 'import' AND status = 'waiting' THEN jsonb_array_length(after) END AS imported,
    changed, reason, entered_by, entered_at, status, decided_by, decided_at
FROM batch.contract_change;

-- The rows of a waiting file. tenant_id: empty for an exchange rate.
CREATE OR REPLACE VIEW batch.board_imported_change AS
SELECT
    change.change_id, part.place,
    CASE WHEN part.value ->> 'kind' = 'exchange_rate' THEN '' ELSE part.value ->> 'owner' END AS tenant_id,
    part.value ->> 'owner' AS owner, part.value ->> 'kind' AS kind, part.value -> 'before' AS before,
    part.value -> 'after' AS after, part.value ->> 'reason' AS reason
FROM batch.contract_change AS change
CROSS JOIN LATERAL jsonb_array_elements(change.after) WITH ORDINALITY AS part (value, place)
WHERE change.status = 'waiting' AND change.kind = 'import';

CREATE OR REPLACE VIEW batch.board_adjustment AS
SELECT
    adjustment_id, tenant_id, invoice_id, kind, accrued_on, booked_on, amount, currency, fact, reason, entered_by, entered_at
FROM batch.adjustment;

CREATE OR REPLACE VIEW batch.board_reminder AS
SELECT tenant_id, invoice_id, days, revision, queued_on, open_amount
FROM batch.overdue_reminder;

CREATE OR REPLACE VIEW batch.board_reminder_stop AS
SELECT tenant_id, invoice_id, reason, entered_by, entered_at
FROM batch.reminder_stop;

-- Like batch.receivable, which uses the reader's privileges. Looks up each open invoice by id in the application's table, because
-- a join may read the entire table.
CREATE OR REPLACE VIEW batch.board_receivable AS
SELECT
    invoice.invoice_id, invoice.tenant_id,
    invoice.counterparty COLLATE "C" AS counterparty, -- noqa: RF03
    invoice.number, invoice.period_start, invoice.issued_on, invoice.due_on, invoice.currency, invoice.total,
    invoice.open_amount
FROM batch.invoice
WHERE
    invoice.kind = 'invoice' AND invoice.number IS NOT null AND invoice.status = 'finalized'
    AND invoice.open_amount <> 0
    AND (
        invoice.open_amount < 0 OR invoice.marked_paid
        OR (
            SELECT paid.id FROM batch.all_paid_billing AS paid
            WHERE paid.id = invoice.invoice_id
            LIMIT 1 -- noqa: AM09
        ) IS null
    );

-- Messages without texts. Chat destinations are secret; mail addresses are shown in part. An error may quote an address.
-- is_unwanted: the recipient has unsubscribed, so only a contract letter needs a decision, as in take_final_failures of
-- BATCH-019-02.
CREATE OR REPLACE VIEW batch.board_message AS
SELECT
    message_id, tenant_id, channel, status, priority, attempts, due_at, next_attempt_at, lease_until, host_log_id,
    template_key,
    CASE channel WHEN 'email' THEN left(destination, 1) || '***@' || split_part(destination, '@', -1) END AS recipient,
    error_code, error_class,
    regexp_replace(error_detail, '[^[:space:]<>"'',;:()]+@[^[:space:]<>"'',;:()]+', '***', 'g') AS error_detail,
    decided_by, created_by, created_at, finished_at, deferred_for,
    coalesce(error_code = 'suppressed', false)
    AND EXISTS (
        SELECT FROM batch.suppressed_address AS known
        WHERE
            known.tenant_id = outbox.tenant_id AND known.address = lower(outbox.destination)
            AND known.reason IN ('complaint', 'unsubscribe')
    ) AS is_unwanted
FROM batch.outbox;

CREATE OR REPLACE VIEW batch.board_channel_circuit AS
SELECT tenant_id, channel, error_code, reason, opened_at
FROM batch.channel_circuit;

CREATE OR REPLACE VIEW batch.board_message_stop AS
SELECT tenant_id, still_sent, reason, entered_by, entered_at
FROM batch.message_stop;

CREATE OR REPLACE VIEW batch.board_service_limit AS
SELECT limit_key, per_minute, at_once, blocked_until, learnt_at, closed_at, closed_reason
FROM batch.service_limit;

-- The id identifies an address without revealing it.
CREATE OR REPLACE VIEW batch.board_suppressed_address AS
SELECT
    tenant_id,
    encode(sha256(convert_to(tenant_id || chr(31) || address, 'UTF8')), 'hex') AS suppression_id,
    left(address, 1) || '***@' || split_part(address, '@', -1) AS recipient,
    reason, error_code, bounces, suppressed_at, suppressed_until, bounced_until
FROM batch.suppressed_address;

CREATE OR REPLACE VIEW batch.board_setting_finding AS
SELECT tenant_id, subject, code, detail, found_on
FROM batch.setting_finding;

CREATE OR REPLACE VIEW batch.board_setting_change AS
SELECT tenant_id, setting_key, changed_at, execution_id, kind, reason, changed_by, undone_by, undone_at
FROM batch.setting_change;

-- Personal data are omitted.
CREATE OR REPLACE VIEW batch.board_sync_plan AS
SELECT tenant_id, provider, execution_id, status, plan_hash, counts, reason, planned_at
FROM batch.sync_plan;

-- Requests to approve held items (docs/operate/board.md).
CREATE OR REPLACE VIEW batch.board_approval_request AS
SELECT request_id, kind, business_date, asked_by, dag_id, run_id, asked_at, closed_at, close_reason
FROM batch.approval_request;

-- is_current: the item is still held with the request's figures or reason, or the contract change or message still waits.
CREATE OR REPLACE VIEW batch.board_approval_item AS
SELECT
    item.request_id, item.tenant_id, item.item_id, item.tenant_code, item.tenant_name, item.figures, item.reason,
    item.superseded_by, item.answer, item.answered_by, item.answered_at, item.note, item.result, item.result_text,
    item.execution_id, item.decided_at,
    CASE request.kind
        WHEN 'invoices'
            THEN
                EXISTS (
                    SELECT FROM batch.invoice AS draft
                    WHERE
                        draft.invoice_id = item.item_id AND draft.status = 'draft' AND draft.input_hash = item.fingerprint
                        AND draft.total = (item.figures ->> 'total')::numeric
                )
        WHEN 'contracts'
            THEN
                EXISTS (
                    SELECT FROM batch.contract_change AS change
                    WHERE change.change_id = item.item_id AND change.status = 'waiting'
                )
        WHEN 'resumption'
            THEN
                EXISTS (
                    SELECT FROM batch.outbox AS message
                    WHERE message.deferred_for = item.item_id
                )
        ELSE coalesce((
            SELECT plan.status = 'held' AND plan.reason = item.reason
            FROM batch.sync_plan AS plan
            WHERE
                plan.tenant_id = item.tenant_id AND plan.provider = item.item_id AND plan.status IN ('held', 'applied')
            ORDER BY plan.planned_at DESC
            LIMIT 1
        ), false)
    END AS is_current
FROM batch.approval_item AS item
INNER JOIN batch.approval_request AS request ON item.request_id = request.request_id;

CREATE OR REPLACE VIEW batch.board_directory_sync AS
SELECT tenant_id, provider, synced_on, synced_by
FROM batch.directory_sync;

CREATE OR REPLACE VIEW batch.board_backup AS
SELECT
    backup.backup_id, backup.execution_id, backup.business_date, backup.status, backup.snapshot_at, backup.dump_bytes,
    backup.total_bytes, backup.verified_at, backup.deleted_at
FROM batch.backup AS backup;

CREATE OR REPLACE VIEW batch.board_report AS
SELECT
    report.tenant_id, report.report_month, report.missing_days, report.revision, report.made_by, report.made_at,
    file.format, file.location, file.size_bytes, file.sha256
FROM batch.monthly_report AS report
LEFT JOIN batch.monthly_report_file AS file
    ON report.tenant_id = file.tenant_id AND report.report_month = file.report_month;

-- Each tenant's open items, which must be decided when it leaves. The start of an offboarding reads it too.
CREATE OR REPLACE VIEW batch.board_open_item AS
SELECT
    tenant.tenant_id,
    (
        SELECT count(*) FROM batch.invoice AS unpaid
        WHERE
            unpaid.tenant_id = tenant.tenant_id AND unpaid.kind = 'invoice' AND unpaid.status = 'finalized'
            AND unpaid.open_amount > 0 AND NOT unpaid.marked_paid
    ) AS open_invoices,
    (
        SELECT count(*) FROM batch.invoice AS draft
        WHERE draft.tenant_id = tenant.tenant_id AND draft.status = 'draft'
    ) AS held_drafts,
    (
        SELECT count(*) FROM batch.usage_day AS usage
        WHERE
            usage.tenant_id = tenant.tenant_id AND NOT EXISTS (
                SELECT FROM batch.invoice AS billed
                WHERE
                    billed.tenant_id = usage.tenant_id AND billed.kind = 'invoice' AND billed.finalized_at IS NOT null
                    AND usage.usage_date BETWEEN billed.period_start AND billed.period_end
            )
    ) AS unbilled_days,
    (
        SELECT count(*) FROM batch.outbox AS message
        WHERE message.tenant_id = tenant.tenant_id AND message.finished_at IS null
    ) AS waiting_messages,
    (
        SELECT count(*) FROM batch.account_link AS link
        WHERE link.tenant_id = tenant.tenant_id AND link.status = 'active'
    ) AS directory_links
FROM batch.all_tenant AS tenant;

-- Leaving tenants, with the row counts of the newest export and of deleted or blanked rows.
CREATE OR REPLACE VIEW batch.board_offboarding AS
SELECT
    leaving.offboarding_id, leaving.tenant_id, leaving.tenant_code, leaving.tenant_name, leaving.stage, leaving.reason,
    leaving.begun_by, leaving.begun_at,
    leaving.exported_by, leaving.exported_at, leaving.customer_file, leaving.waits_until,
    leaving.asked_by, leaving.asked_at, leaving.approved_by, leaving.approved_at, leaving.deleting_since, leaving.problem,
    leaving.deleted_at, leaving.cancelled_by, leaving.cancelled_at,
    coalesce(counted.rows_to_change, 0)::bigint AS rows_to_change,
    coalesce(counted.rows_done, 0)::bigint AS rows_done
FROM batch.offboarding AS leaving
LEFT JOIN (
    SELECT offboarding_id, sum(exported) AS rows_to_change, sum(done) AS rows_done
    FROM batch.offboarding_table
    WHERE rule <> 'keep'
    GROUP BY offboarding_id
) AS counted ON leaving.offboarding_id = counted.offboarding_id;

-- The view has one row per file.
CREATE OR REPLACE VIEW batch.board_accounting_file AS
SELECT
    closed.month, closed.handed_over_at, closed.handed_over_by, closed.execution_id, file.key, file.sha256, file.bytes, file.rows,
    file.yen
FROM batch.accounting_month AS closed
CROSS JOIN LATERAL jsonb_to_recordset(closed.files) AS file (key text, sha256 text, bytes bigint, rows integer, yen bigint);

CREATE OR REPLACE VIEW batch.board_provisional_file AS
SELECT key, month, sha256, bytes
FROM batch.provisional_file;

GRANT SELECT ON
batch.board_deployment,
batch.board_tenant,
batch.board_run,
batch.board_outcome,
batch.board_task,
batch.board_performance,
batch.board_remark,
batch.board_reconciliation,
batch.board_alert,
batch.board_orphan,
batch.board_incident,
batch.board_platform_incident,
batch.board_inactivity,
batch.board_inactivity_change,
batch.board_usage_day,
batch.board_usage_warning,
batch.board_invoice,
batch.board_calculation,
batch.board_extra_charge,
-- The views of results.sql that foresee what a user's entry does.
batch.board_entry_yen,
batch.board_recurring_yen,
batch.board_payable,
batch.board_waiting_entry,
batch.board_document,
batch.board_accounting_file,
batch.board_provisional_file,
batch.board_invoice_revision,
batch.board_payment,
batch.board_bank_file,
batch.board_transfer,
batch.board_transfer_choice,
batch.board_payer,
batch.board_billing_profile,
batch.board_billing_address,
batch.board_billing_mail,
batch.board_contract_term,
batch.board_exchange_rate,
batch.board_contract_change,
batch.board_imported_change,
batch.board_adjustment,
batch.board_reminder,
batch.board_letter,
batch.board_letter_stop,
batch.board_letter_decision,
batch.board_reminder_stop,
batch.board_receivable,
batch.board_message,
batch.board_channel_circuit,
batch.board_message_stop,
batch.board_service_limit,
batch.board_suppressed_address,
batch.board_setting_finding,
batch.board_setting_change,
batch.board_sync_plan,
batch.board_approval_request,
batch.board_approval_item,
batch.board_directory_sync,
batch.board_backup,
batch.board_report,
batch.board_open_item,
batch.board_offboarding
TO batch_board;
GRANT SELECT ON batch.board_open_item TO batch_platform;
