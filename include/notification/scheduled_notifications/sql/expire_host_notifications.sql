UPDATE batch.tenant_notification
SET
    send_status = 'FAILED',
    response_code = %(code)s,
    error_details = %(reason)s,
    updated_at = now() AT TIME ZONE 'UTC'
WHERE id = any(%(ids)s) AND upper(btrim(send_status)) = 'PENDING';
