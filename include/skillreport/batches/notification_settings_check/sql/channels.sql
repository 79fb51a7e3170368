-- name: record_health
-- updated_at does not change: only a change of the settings themselves reopens a channel.
UPDATE batch.tenant_integration
SET
    health_status = %(health)s,
    last_health_check = %(now)s,
    is_enabled = CASE WHEN %(switch_off)s THEN false ELSE is_enabled END
WHERE id = %(integration_id)s;

-- name: reopen_channel
-- The check shows only that the credentials are accepted. Only a message shows whether posting is allowed, so channels closed by
-- other errors stay closed.
DELETE FROM batch.channel_circuit
WHERE
    tenant_id = %(tenant_id)s AND channel = %(channel)s
    AND error_code = any(%(error_codes)s);

-- name: reopen_mail
-- The mail channels of the transaction's tenants: their mail server has just accepted a login.
DELETE FROM batch.channel_circuit
WHERE channel = 'email';

-- name: probe_mail_server
-- The next run sends a letter as a probe, if the server is closed.
UPDATE batch.service_limit
SET blocked_until = clock_timestamp()
WHERE limit_key = %(limit_key)s AND closed_at IS NOT null AND blocked_until > clock_timestamp();

-- name: probe_with_refused_letters
-- A letter that was refused waits for hours, because the server may refuse only its recipient. Now it may be a probe again.
UPDATE batch.outbox
SET next_attempt_at = clock_timestamp()
WHERE
    channel = 'email' AND status IN ('pending', 'retry') AND error_code = any(%(codes)s)
    AND next_attempt_at > clock_timestamp();
