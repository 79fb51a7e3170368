-- name: record_health
-- updated_at does not change: only a change of the settings themselves reopens a channel.
UPDATE batch.tenant_integration
SET
    health_status = %(health)s,
    last_health_check = %(now)s,
    is_enabled = CASE WHEN %(switch_off)s THEN false ELSE is_enabled END
WHERE id = %(integration_id)s;

-- name: reopen_channel
-- The check shows only that the service accepts the credentials, not that posting is allowed. So channels closed by other errors
-- stay closed.
DELETE FROM batch.channel_circuit
WHERE
    tenant_id = %(tenant_id)s AND channel = %(channel)s
    AND error_code = any(%(error_codes)s);

-- name: reopen_mail
-- The mail channels of the transaction's tenants, because their mail server has just accepted a login.
DELETE FROM batch.channel_circuit
WHERE channel = 'email';

-- name: probe_mail_server
-- If the server is closed, the next run sends an e-mail as a probe.
UPDATE batch.service_limit
SET blocked_until = clock_timestamp()
WHERE limit_key = %(limit_key)s AND closed_at IS NOT null AND blocked_until > clock_timestamp();

-- name: probe_with_refused_letters
-- A rejected e-mail waits for hours, because the server may reject only its recipient. This lets it be a probe again.
UPDATE batch.outbox
SET next_attempt_at = clock_timestamp()
WHERE
    channel = 'email' AND status IN ('pending', 'retry') AND error_code = any(%(codes)s)
    AND next_attempt_at > clock_timestamp();
