-- name: forget_activity
-- The state after the run of the day before: the people's last actions and the judgements are a day older. No hour is counted.
UPDATE batch.last_action SET last_at_utc = last_at_utc - interval '1 day';
UPDATE batch.tenant_inactivity
SET judged_on = judged_on - 1, last_activity_on = last_activity_on - 1, inactive_since = inactive_since - 1;
TRUNCATE batch.activity_hour, batch.activity_reading;

-- name: floor_inactivity
-- The last actions of people since the last run, and the last activity of each tenant. read_from and day_end are UTC.
CREATE UNLOGGED TABLE floor_action AS
SELECT user_id, tenant_id, max(created_at) AS last_at_utc
FROM "HIS_AuditLog"
WHERE created_at >= %(read_from)s AND created_at < %(day_end)s AND is_deleted IS NOT true
GROUP BY user_id, tenant_id
UNION ALL
SELECT updated_by AS user_id, tenant_id, max(updated_at) AS last_at_utc
FROM (
    SELECT updated_by, tenant_id, updated_at FROM "TRN_SkillEvidence"
    UNION ALL
    SELECT updated_by, tenant_id, updated_at FROM "TRN_SkillRecord"
) AS edit
WHERE updated_at >= %(read_from)s AND updated_at < %(day_end)s
GROUP BY updated_by, tenant_id;

INSERT INTO batch.last_action AS known (person_key, stated_tenant_id, last_at_utc)
SELECT user_id, tenant_id, last_at_utc
FROM floor_action
ON CONFLICT (
    person_key, stated_tenant_id) DO UPDATE SET last_at_utc = excluded.last_at_utc
WHERE excluded.last_at_utc > known.last_at_utc;

CREATE UNLOGGED TABLE floor_active_on AS
SELECT
    tenant_id, (max(last_at_utc) AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS active_on
FROM (
    SELECT account.tenant_id, action.last_at_utc
    FROM floor_action AS action
    INNER JOIN "MST_UserAuth" AS account USING (user_id)
    UNION ALL
    SELECT tenant_id, last_login_at AS last_at_utc
    FROM "MST_UserAuth"
    WHERE last_login_at < %(day_end)s AND NOT is_deleted
) AS sign
GROUP BY tenant_id;

UPDATE batch.tenant_inactivity AS known
SET
    judged_on = %(business_date)s,
    last_activity_on = greatest(known.last_activity_on, active.active_on),
    inactive_since = greatest(known.last_activity_on, active.active_on)
FROM floor_active_on AS active
WHERE known.tenant_id = active.tenant_id;

-- name: floor_inactivity_rows
SELECT 'tenant' AS part, to_jsonb(known) - 'entered_by' AS row
FROM batch.tenant_inactivity AS known
UNION ALL
SELECT 'action' AS part, to_jsonb(action) AS row
FROM batch.last_action AS action
UNION ALL
SELECT 'change' AS part, to_jsonb(change) - 'recorded_by' AS row
FROM batch.inactivity_change AS change
ORDER BY part, row;
