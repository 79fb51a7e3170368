-- Who logged in on the day, before the host overwrites it. Of two runs at once neither forgets whom the other one saw.
INSERT INTO batch.login_day AS kept (tenant_id, login_date, user_ids)
SELECT
    tenant_id,
    %(business_date)s AS login_date,
    login_user_ids AS user_ids
FROM batch.usage_signal
WHERE execution_id = %(execution_id)s AND login_user_ids <> '{}'
ORDER BY tenant_id
ON CONFLICT (tenant_id, login_date) DO UPDATE SET
    user_ids = (
        SELECT array_agg(DISTINCT login.user_id ORDER BY login.user_id)
        FROM unnest(kept.user_ids || excluded.user_ids) AS login (user_id) -- noqa: RF01
    )
WHERE kept.user_ids IS DISTINCT FROM excluded.user_ids;
