-- The host keeps the present plan only, and billing needs to know since when. So a plan that differs from the last one recorded
-- is recorded from this day on, but only while no later day is closed: the plan that the host shows now says nothing about an
-- old day. A tenant seen for the first time has had its plan since its contract began, or since its first closed day. A missing
-- plan is no end of the plan, and an end that somebody recorded is not undone.
INSERT INTO batch.plan_change AS change (tenant_id, effective_from, plan, recorded_by)
SELECT
    tenant.tenant_id,
    CASE
        WHEN last.tenant_id IS null
            THEN least(
                coalesce(tenant.contract_start, tenant.created_on),
                (
                    SELECT min(day.usage_date) FROM batch.usage_day AS day
                    WHERE day.tenant_id = tenant.tenant_id
                ),
                %(business_date)s::date
            )
        ELSE %(business_date)s::date
    END AS effective_from,
    shown.plan,
    %(execution_id)s AS recorded_by
FROM batch.tenant
CROSS JOIN
    LATERAL (
        SELECT CASE WHEN tenant.status = 'TRIAL' THEN 'TRIAL' ELSE tenant.subscription_plan END AS plan
    ) AS shown
LEFT JOIN LATERAL (
    SELECT
        past.tenant_id,
        past.plan
    FROM batch.plan_change AS past
    WHERE past.tenant_id = tenant.tenant_id AND past.effective_from <= %(business_date)s
    ORDER BY past.effective_from DESC
    LIMIT 1
) AS last ON true
WHERE
    shown.plan IS NOT null
    AND (last.tenant_id IS null OR last.plan <> shown.plan)
    AND NOT EXISTS (
        SELECT FROM batch.usage_day AS later
        WHERE later.tenant_id = tenant.tenant_id AND later.usage_date > %(business_date)s
    )
ORDER BY tenant.tenant_id
ON CONFLICT (tenant_id, effective_from) DO UPDATE SET
    plan = excluded.plan,
    recorded_by = excluded.recorded_by,
    recorded_at = now();
