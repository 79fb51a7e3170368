-- One notification per invoice, whoever asks for it again; BATCH-019-01 sends it.
INSERT INTO batch.tenant_notification (
    id,
    tenant_id,
    notification_type,
    recipient_type,
    recipient_address,
    subject,
    message_body,
    message_format,
    send_status,
    send_attempts,
    scheduled_at,
    priority_level,
    is_deleted,
    created_at,
    updated_at
)
SELECT
    letter.notification_id AS id,
    letter.tenant_id,
    'EMAIL' AS notification_type,
    'BILLING_CONTACT' AS recipient_type,
    letter.recipient_address,
    letter.subject,
    letter.message_body,
    'TEXT' AS message_format,
    'PENDING' AS send_status,
    0 AS send_attempts,
    %(scheduled_at)s,
    'HIGH' AS priority_level,
    false AS is_deleted,
    now() AT TIME ZONE 'UTC' AS created_at,
    now() AT TIME ZONE 'UTC' AS updated_at
FROM
    unnest(
        %(notification_ids)s::text[],
        %(tenant_ids)s::text[],
        %(addresses)s::text[],
        %(subjects)s::text[],
        %(bodies)s::text[]
    ) AS letter (notification_id, tenant_id, recipient_address, subject, message_body)
ON CONFLICT (id) DO NOTHING;
