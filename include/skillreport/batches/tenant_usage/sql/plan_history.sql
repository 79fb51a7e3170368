-- name: save_plan
-- The host keeps only the present plan, but billing needs its start date. plan_seen keeps the plan of the latest closed day. A
-- different plan is recorded as a change. It takes effect on the day of the row's last change, but not after the run's day. After
-- an outage, that day may be before the business date. A last change on or before the last closed day is another one, because
-- that day's run saw the former plan; then the plan takes effect on the business date. An old day tells nothing about the present
-- plan.
--
-- A new tenant has had its plan since its contract's start, or since its first closed day. A missing plan is not a change. A
-- user's entry for a day stays. A later reading of a day replaces an earlier one.
WITH shown AS (
    SELECT
        tenant.tenant_id,
        tenant.updated_on,
        coalesce(tenant.contract_start, tenant.created_on) AS began_on,
        CASE WHEN tenant.status = 'TRIAL' THEN 'TRIAL' ELSE tenant.subscription_plan END AS plan
    FROM batch.tenant
    WHERE
        NOT EXISTS (
            SELECT FROM batch.usage_day AS later
            WHERE later.tenant_id = tenant.tenant_id AND later.usage_date > %(business_date)s
        )
),

changed AS (
    SELECT shown.*, seen.plan IS null AS is_first
    FROM shown
    LEFT JOIN batch.plan_seen AS seen ON shown.tenant_id = seen.tenant_id
    WHERE shown.plan IS NOT null AND shown.plan IS DISTINCT FROM seen.plan
),

kept AS (
    INSERT INTO batch.plan_seen AS seen (tenant_id, plan, seen_on)
    SELECT tenant_id, plan, %(business_date)s AS seen_on
    FROM changed
    ON CONFLICT (tenant_id) DO UPDATE SET plan = excluded.plan, seen_on = excluded.seen_on
)

INSERT INTO batch.plan_change AS known (tenant_id, effective_from, plan, recorded_by)
SELECT
    changed.tenant_id,
    CASE
        WHEN changed.is_first
            THEN
                least(
                    changed.began_on,
                    (
                        SELECT min(day.usage_date) FROM batch.usage_day AS day
                        WHERE day.tenant_id = changed.tenant_id
                    ),
                    %(business_date)s::date
                )
        WHEN
            changed.updated_on > (
                SELECT max(day.usage_date) FROM batch.usage_day AS day
                WHERE day.tenant_id = changed.tenant_id AND day.usage_date < %(business_date)s
            )
            THEN least(changed.updated_on, %(run_date)s::date)
        ELSE greatest(%(business_date)s::date, least(changed.updated_on, %(run_date)s::date))
    END AS effective_from,
    changed.plan,
    %(execution_id)s AS recorded_by
FROM changed
WHERE
    NOT changed.is_first
    OR NOT EXISTS (
        SELECT FROM batch.plan_change AS recorded
        WHERE recorded.tenant_id = changed.tenant_id
    )
ORDER BY changed.tenant_id
ON CONFLICT (tenant_id, effective_from) DO UPDATE
    SET plan = excluded.plan, recorded_by = excluded.recorded_by, recorded_at = now()
    WHERE (known.tenant_id, known.plan) IN (SELECT seen.tenant_id, seen.plan FROM batch.plan_seen AS seen);
