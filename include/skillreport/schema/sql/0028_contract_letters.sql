-- A mail server that refuses the installation is closed for all tenants that use it. Contract letters are known by their kind.

ALTER TABLE batch.service_limit
ADD COLUMN closed_at timestamptz,
ADD COLUMN closed_reason text,
ADD CHECK ((closed_at IS null) = (closed_reason IS null));
COMMENT ON COLUMN batch.service_limit.closed_at IS
'Since when the service refuses the installation (relay, sender, a login that is missing, network address). After blocked_until '
'one message is sent as a probe.';
COMMENT ON COLUMN batch.service_limit.closed_reason IS 'The service''s answer, in Japanese for operators; nothing of a tenant';

COMMENT ON COLUMN batch.outbox.template_key IS
'The kind of a reminder, which the tenant''s settings can switch off, or of a contract letter; null: another message';

-- Forced row-level security shows the owner no row that an UPDATE could find.
ALTER TABLE batch.outbox NO FORCE ROW LEVEL SECURITY;
-- Letters that wait, or that an operator may send again.
UPDATE batch.outbox
SET
    template_key = CASE
        WHEN host_log_id IS null THEN split_part(dedupe_key, ':', 1)
        WHEN starts_with(host_log_id, 'void-') THEN 'invoice_void'
        WHEN starts_with(host_log_id, 'reminder-') THEN 'payment_reminder'
        ELSE 'invoice'
    END
WHERE
    template_key IS null AND status NOT IN ('sent', 'merged', 'discarded')
    AND (
        host_log_id ~ '^(invoice|void|reminder)-'
        OR (
            host_log_id IS null
            AND split_part(dedupe_key, ':', 1) IN (
                'usage_warning', 'inactivity_warning', 'inactivity_critical', 'notification_settings_broken',
                'notification_channels_gone'
            )
        )
    );
ALTER TABLE batch.outbox FORCE ROW LEVEL SECURITY;
