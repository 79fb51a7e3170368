-- What the check can tell: that the credentials are taken. Whether posting is allowed, only a message would show.
DELETE FROM batch.channel_circuit
WHERE
    tenant_id = %(tenant_id)s AND channel = %(channel)s
    AND error_code IN (
        'invalid_auth',
        'not_authed',
        'account_inactive',
        'token_revoked',
        'token_expired',
        'token_refused',
        'UNAUTHORIZED',
        'http_401',
        'not_configured',
        'refused_address'
    );
