-- name: old_notifications
-- Old notifications of each tenant, and as many that stay. A part of every text is random, so that it does not compress well.
INSERT INTO "HIS_NotificationLog" (
    id,
    tenant_id,
    notification_type,
    recipient_address,
    subject,
    message_body,
    send_status,
    send_attempts,
    sent_at,
    created_at,
    updated_at
)
SELECT
    gen_random_uuid()::text AS id,
    tenant.tenant_id,
    'EMAIL' AS notification_type,
    'member' || log.number || '@example.jp' AS recipient_address,
    'スキル更新のお知らせ ' || log.number AS subject,
    repeat('資格の更新期限が近づいています。お早めにお手続きください。', 5) || gen_random_uuid() || gen_random_uuid() AS message_body,
    'SUCCESS' AS send_status,
    1 AS send_attempts,
    age.at AS sent_at,
    age.at AS created_at,
    age.at AS updated_at
FROM batch.all_tenant AS tenant
CROSS JOIN generate_series(1, 2 * %(notifications)s) AS log (number)
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN log.number <= %(notifications)s THEN timestamp '2026-05-01' ELSE timestamp '2026-10-01' END
        + log.number * interval '1 second' AS at
) AS age;
