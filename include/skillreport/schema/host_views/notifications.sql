-- The application's notifications. The batches add their own, send waiting ones, and record the results.
CREATE OR REPLACE VIEW batch.tenant_notification WITH (security_barrier) AS
SELECT
    id, tenant_id, notification_id, setting_id, template_id, notification_type, recipient_type,
    recipient_address, subject, message_body, message_format, send_status, send_attempts, max_retry_count,
    scheduled_at, sent_at, delivered_at, opened_at, response_code, response_message, error_details,
    integration_config_id, priority_level, is_deleted, created_at, updated_at
FROM "HIS_NotificationLog"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, INSERT, DELETE, UPDATE (
    recipient_address, send_status, send_attempts, scheduled_at, sent_at, response_code, error_details, is_deleted, updated_at
) ON batch.tenant_notification TO batch_tenant;

-- Invoices whose letter is stopped: a correction waits or the newest decision is a stop, and the invoice is neither void nor
-- fully credited. corrected_by: the authors of waiting corrections.
CREATE OR REPLACE VIEW batch.letter_stop AS
SELECT DISTINCT ON (stopped.invoice_id)
    stopped.invoice_id, stopped.tenant_id, stopped.reason, stopped.entered_by, stopped.entered_at,
    array(
        SELECT DISTINCT waiting.entered_by FROM batch.invoice_revision AS waiting
        WHERE waiting.invoice_id = stopped.invoice_id AND waiting.approved_by IS null
        ORDER BY waiting.entered_by
    ) AS corrected_by
FROM (
    SELECT invoice_id, tenant_id, reason, entered_by, entered_at
    FROM batch.letter_decision AS decision
    WHERE
        kind = 'stop' AND NOT EXISTS (
            SELECT FROM batch.letter_decision AS sent
            WHERE sent.invoice_id = decision.invoice_id AND sent.kind = 'send' AND sent.entered_at > decision.entered_at
        )
    UNION ALL
    SELECT invoice_id, tenant_id, reason, entered_by, entered_at
    FROM batch.invoice_revision
    WHERE approved_by IS null
) AS stopped
INNER JOIN batch.invoice ON stopped.invoice_id = invoice.invoice_id
WHERE invoice.status = 'finalized' AND NOT invoice.credited
ORDER BY stopped.invoice_id ASC, stopped.entered_at DESC;
GRANT SELECT ON batch.letter_stop TO batch_platform;

-- Entries for approval by another user, and held drafts. A draft that waits only for a line is listed as the line. amount: below
-- 0 for a credit note. entered_at: the start of the wait.
CREATE OR REPLACE VIEW batch.all_waiting_entry AS
SELECT
    extra.tenant_id, 'line' AS kind, extra.extra_charge_id AS entry_id,
    date_trunc('month', extra.charged_on::timestamp)::date AS period_start, extra.description AS entry_text,
    extra.quantity * extra.unit_amount AS amount, extra.currency, extra.entered_by, extra.entered_at
FROM batch.extra_charge AS extra
WHERE extra.waits AND extra.approved_by IS null
UNION ALL
SELECT
    draft.tenant_id, CASE draft.kind WHEN 'credit' THEN 'credit' ELSE 'draft' END AS kind, draft.invoice_id AS entry_id,
    draft.period_start, coalesce(draft.credit_reason, draft.hold_reason) AS entry_text, draft.total AS amount, draft.currency,
    coalesce(draft.entered_by, draft.execution_id) AS entered_by, draft.created_at AS entered_at
FROM batch.invoice AS draft
WHERE
    draft.status = 'draft'
    AND (
        draft.kind = 'credit'
        OR (
            draft.hold_reason IS NOT null
            AND NOT EXISTS (
                SELECT FROM batch.extra_charge AS line
                WHERE
                    line.tenant_id = draft.tenant_id AND line.charged_on BETWEEN draft.period_start AND draft.period_end
                    AND line.waits AND line.approved_by IS null
            )
        )
    )
UNION ALL
SELECT
    corrected.tenant_id, 'correction' AS kind, corrected.invoice_id AS entry_id, invoice.period_start,
    corrected.reason AS entry_text, null AS amount, null AS currency, corrected.entered_by, corrected.entered_at
FROM batch.invoice_revision AS corrected
INNER JOIN batch.invoice ON corrected.invoice_id = invoice.invoice_id
WHERE corrected.approved_by IS null AND invoice.status = 'finalized' AND NOT invoice.credited
UNION ALL
SELECT
    written.tenant_id, 'write_off' AS kind, written.write_off_id AS entry_id, invoice.period_start,
    concat_ws(' ', invoice.number, written.evidence) AS entry_text, written.amount, invoice.currency, written.entered_by,
    written.entered_at
FROM batch.waiting_write_off AS written
INNER JOIN batch.invoice ON written.invoice_id = invoice.invoice_id
WHERE written.decided_in IS null
UNION ALL
SELECT
    change.tenant_id, 'contract' AS kind, change.change_id AS entry_id, null AS period_start, change.kind AS entry_text,
    null AS amount, null AS currency, change.entered_by, change.entered_at
FROM batch.contract_change AS change
WHERE change.status = 'waiting';
GRANT SELECT ON batch.all_waiting_entry TO batch_platform;
COMMENT ON VIEW batch.all_waiting_entry IS 'Entries of all tenants that wait for another user''s approval';

-- Notifications in a final state: sent, given up, or withdrawn by the application.
CREATE OR REPLACE VIEW batch.all_finished_notification AS
SELECT
    id,
    tenant_id,
    batch.bounded(coalesce(sent_at, updated_at, created_at)) AS finished_at_utc,
    sent_at AS sent_at_utc
FROM "HIS_NotificationLog"
WHERE
    tenant_id IS NOT null
    AND (
        is_deleted OR upper(btrim(send_status)) IN (
            'SUCCESS', 'SENT', 'DELIVERED', 'OPENED', 'FAILED', 'BOUNCED', 'EXPIRED', 'CANCELLED', 'CANCELED', 'SKIPPED'
        )
    );

-- The current state of the application's notifications. The type is the channel in several spellings; unknown ones are null.
-- is_withdrawn: the application took it back, or it is a reminder of an invoice paid in the meantime. is_switched_off: its
-- notification setting is off. is_letter: BATCH-018-02 wrote it about an invoice; a tenant's switches do not apply.
CREATE OR REPLACE VIEW batch.all_notification AS
SELECT
    notification.id,
    notification.tenant_id,
    notification.send_status,
    (
        SELECT known.channel FROM batch.channel AS known
        WHERE regexp_replace(lower(notification.notification_type), '[^a-z]', '', 'g') = any(known.spellings)
    ) AS channel,
    coalesce(batch.trimmed_address(notification.recipient_address), '') AS destination,
    coalesce(btrim(notification.subject), '') AS subject,
    coalesce(notification.message_body, '') AS body,
    upper(btrim(coalesce(notification.message_format, ''))) = 'HTML' AS is_html,
    CASE upper(btrim(notification.priority_level))
        WHEN 'HIGH' THEN 1
        WHEN 'URGENT' THEN 1
        WHEN 'LOW' THEN 3
        ELSE 2
    END AS priority,
    batch.bounded(notification.scheduled_at) AS scheduled_at_utc,
    -- The first attempt is not a retry.
    CASE WHEN notification.max_retry_count BETWEEN 0 AND 99 THEN 1 + notification.max_retry_count END::integer AS most_attempts,
    notification.is_deleted
    OR coalesce(upper(btrim(notification.send_status)) IN ('CANCELLED', 'CANCELED'), false)
    -- CASE, so that only reminders look up the application's invoices.
    OR CASE
        WHEN notification.recipient_type = 'BILLING_CONTACT' AND notification.id LIKE 'reminder-%'
            THEN
                EXISTS (
                    SELECT FROM "HIS_TenantBilling" AS billing
                    WHERE
                        billing.id = substring(
                            split_part(notification.id, '-copy-', 1) FROM '^reminder-(.*)-[0-9]+(?:-r[0-9]+)?$'
                        )
                        AND upper(billing.billing_status) = 'PAID'
                )
        ELSE false
    END AS is_withdrawn,
    exists(
        SELECT FROM "MST_NotificationSettings" AS setting
        WHERE
            notification.recipient_type IS DISTINCT FROM 'BILLING_CONTACT'
            AND setting.id = notification.setting_id AND setting.tenant_id = notification.tenant_id
            AND (setting.is_deleted OR NOT setting.is_enabled)
    ) AS is_switched_off,
    coalesce(notification.recipient_type = 'BILLING_CONTACT', false) AS is_letter
FROM "HIS_NotificationLog" AS notification;

-- all_notification for the transaction's tenants. Read-only.
CREATE OR REPLACE VIEW batch.tenant_notification_now WITH (security_barrier) AS
SELECT
    id, tenant_id, channel, destination, subject, body, is_html, scheduled_at_utc, most_attempts, is_withdrawn, is_switched_off
FROM batch.all_notification
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant_notification_now TO batch_tenant;

-- Notifications that wait to be sent. The status may be in any case, but without blanks, so that an index on the application's
-- column finds it.
CREATE OR REPLACE VIEW batch.all_waiting_notification AS
SELECT
    id, tenant_id, channel, destination, subject, body, is_html, priority, scheduled_at_utc, most_attempts, is_switched_off,
    is_letter
FROM batch.all_notification
WHERE
    send_status = any(batch.spellings('PENDING')) AND NOT is_withdrawn AND scheduled_at_utc IS NOT null AND tenant_id IS NOT null;

-- A tenant's channels. Credentials are secret JSON texts.
CREATE OR REPLACE VIEW batch.tenant_integration WITH (security_barrier) AS
SELECT
    id, tenant_id, integration_key, integration_type, endpoint_url, auth_config, connection_config,
    CASE WHEN rate_limit_per_minute <= 2147483647 THEN rate_limit_per_minute END::integer AS rate_limit_per_minute,
    is_enabled, health_status, last_health_check, is_deleted,
    batch.bounded(updated_at) AS updated_at
FROM "SYS_IntegrationConfig"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, UPDATE (health_status, last_health_check, is_enabled) ON batch.tenant_integration TO batch_tenant;

-- The services that tenants use. Only tenant_integration contains their credentials.
CREATE OR REPLACE VIEW batch.all_integration AS
SELECT tenant_id, integration_key, integration_type
FROM "SYS_IntegrationConfig"
WHERE coalesce(is_enabled, true) AND NOT is_deleted;

CREATE OR REPLACE VIEW batch.tenant_template WITH (security_barrier) AS
SELECT
    id, tenant_id, template_key, notification_type, language_code, subject_template, body_template,
    format_type, sample_data, is_active, is_deleted
FROM "MST_NotificationTemplate"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant_template TO batch_tenant;

CREATE OR REPLACE VIEW batch.tenant_notification_setting WITH (security_barrier) AS
SELECT
    id, tenant_id, setting_key, notification_type, target_audience, trigger_event, template_id,
    channel_config, is_enabled, is_deleted, updated_at
FROM "MST_NotificationSettings"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT, UPDATE (is_enabled, updated_at) ON batch.tenant_notification_setting TO batch_tenant;

GRANT SELECT ON
batch.all_finished_notification,
batch.all_waiting_notification,
batch.all_integration
TO batch_platform;
