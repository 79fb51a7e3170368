-- name: old_login_day
-- The latest day with a login stays: BATCH-018-04 counts a tenant's inactivity from it.
SELECT login_day.tenant_id, login_day.login_date
FROM batch.login_day
WHERE
    login_day.login_date < (%(before)s::timestamptz AT TIME ZONE 'Asia/Tokyo')::date
    AND login_day.login_date < (
        SELECT max(newest.login_date) FROM batch.login_day AS newest
        WHERE newest.tenant_id = login_day.tenant_id AND newest.user_ids <> '{}'
    );

-- name: delete_login_day
DELETE FROM batch.login_day
USING unnest(%(ids)s::text[], %(ids2)s::date[]) AS old (tenant_id, login_date)
WHERE login_day.tenant_id = old.tenant_id AND login_day.login_date = old.login_date;

-- name: old_mid_month_group
-- A monthly report shows the groups of the month's last day with statistics, and reads no others. The first condition matches an
-- index.
SELECT
    skill_group.tenant_id, skill_group.statistics_date, skill_group.dimension, skill_group.group_key, skill_group.is_rest
FROM batch.statistics_group AS skill_group
WHERE
    extract(DAY FROM skill_group.statistics_date + 1) <> 1
    AND skill_group.statistics_date < (%(before)s::timestamptz AT TIME ZONE 'Asia/Tokyo')::date
    AND skill_group.statistics_date < (
        SELECT max(last_day.statistics_date) FROM batch.statistics_day AS last_day
        WHERE
            last_day.tenant_id = skill_group.tenant_id
            AND last_day.statistics_date >= skill_group.statistics_date
            AND last_day.statistics_date
            < (date_trunc('month', skill_group.statistics_date::timestamp) + interval '1 month')::date
    );

-- name: delete_mid_month_group
DELETE FROM batch.statistics_group AS skill_group
USING
    unnest(%(ids)s::text[], %(ids2)s::date[], %(ids3)s::text[], %(ids4)s::text[], %(ids5)s::boolean[]) AS old (
        tenant_id, statistics_date, dimension, group_key, is_rest
    )
WHERE
    skill_group.tenant_id = old.tenant_id
    AND skill_group.statistics_date = old.statistics_date
    AND skill_group.dimension = old.dimension
    AND skill_group.group_key = old.group_key
    AND skill_group.is_rest = old.is_rest;

-- name: old_statistics_group
SELECT tenant_id, statistics_date, dimension, group_key, is_rest
FROM batch.statistics_group
WHERE statistics_date < (%(before)s::timestamptz AT TIME ZONE 'Asia/Tokyo')::date;

-- name: delete_statistics_group
DELETE FROM batch.statistics_group AS skill_group
USING
    unnest(%(ids)s::text[], %(ids2)s::date[], %(ids3)s::text[], %(ids4)s::text[], %(ids5)s::boolean[]) AS old (
        tenant_id, statistics_date, dimension, group_key, is_rest
    )
WHERE
    skill_group.tenant_id = old.tenant_id
    AND skill_group.statistics_date = old.statistics_date
    AND skill_group.dimension = old.dimension
    AND skill_group.group_key = old.group_key
    AND skill_group.is_rest = old.is_rest;

-- name: old_statistics_day
SELECT tenant_id, statistics_date
FROM batch.statistics_day
WHERE statistics_date < (%(before)s::timestamptz AT TIME ZONE 'Asia/Tokyo')::date;

-- name: delete_statistics_day
DELETE FROM batch.statistics_day
USING unnest(%(ids)s::text[], %(ids2)s::date[]) AS old (tenant_id, statistics_date)
WHERE statistics_day.tenant_id = old.tenant_id AND statistics_day.statistics_date = old.statistics_date;

-- name: old_usage_warning
SELECT tenant_id, kind, metric, threshold_percent, window_start
FROM batch.usage_warning
WHERE raised_at < %(before)s;

-- name: delete_usage_warning
DELETE FROM batch.usage_warning AS warning
USING
    unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::text[], %(ids4)s::numeric[], %(ids5)s::date[]) AS old (
        tenant_id, kind, metric, threshold_percent, window_start
    )
WHERE
    warning.tenant_id = old.tenant_id
    AND warning.kind = old.kind
    AND warning.metric = old.metric
    AND warning.threshold_percent = old.threshold_percent
    AND warning.window_start = old.window_start;

-- name: old_inactivity_change
-- A stage that no digest has reported yet stays.
SELECT tenant_id, changed_on, from_stage, to_stage
FROM batch.inactivity_change
WHERE recorded_at < %(before)s AND (told_at IS NOT null OR reason <> 'inactivity');

-- name: delete_inactivity_change
DELETE FROM batch.inactivity_change AS change
USING
    unnest(%(ids)s::text[], %(ids2)s::date[], %(ids3)s::text[], %(ids4)s::text[]) AS old (
        tenant_id, changed_on, from_stage, to_stage
    )
WHERE
    change.tenant_id = old.tenant_id
    AND change.changed_on = old.changed_on
    AND change.from_stage = old.from_stage
    AND change.to_stage = old.to_stage;

-- name: old_setting_change
-- The latest change of each setting stays, so that BATCH-018-05 does not apply a value again that a person has undone.
SELECT change.tenant_id, change.setting_key, change.changed_at
FROM batch.setting_change AS change
WHERE
    change.changed_at < %(before)s
    AND change.changed_at < (
        SELECT max(newest.changed_at) FROM batch.setting_change AS newest
        WHERE newest.tenant_id = change.tenant_id AND newest.setting_key = change.setting_key
    );

-- name: delete_setting_change
DELETE FROM batch.setting_change AS change
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::timestamptz[]) AS old (tenant_id, setting_key, changed_at)
WHERE
    change.tenant_id = old.tenant_id
    AND change.setting_key = old.setting_key
    AND change.changed_at = old.changed_at;

-- name: old_directory_change
SELECT tenant_id, change_id
FROM batch.directory_change
WHERE changed_at < %(before)s;

-- name: delete_directory_change
DELETE FROM batch.directory_change AS change
USING unnest(%(ids)s::text[], %(ids2)s::bigint[]) AS old (tenant_id, change_id)
WHERE change.tenant_id = old.tenant_id AND change.change_id = old.change_id;

-- name: old_ended_suppression
-- A permanent suppression has no end.
SELECT tenant_id, address
FROM batch.suppressed_address
WHERE suppressed_until < %(before)s;

-- name: delete_ended_suppression
DELETE FROM batch.suppressed_address AS suppressed
USING unnest(%(ids)s::text[], %(ids2)s::text[]) AS old (tenant_id, address)
WHERE
    suppressed.tenant_id = old.tenant_id
    AND suppressed.address = old.address
    AND suppressed.suppressed_until < %(before)s;

-- name: old_service_limit
-- A sender uses the limits that were learnt within a week.
SELECT limit_key
FROM batch.service_limit
WHERE learnt_at < %(before)s;

-- name: delete_service_limit
DELETE FROM batch.service_limit
WHERE limit_key = any(%(ids)s) AND learnt_at < %(before)s;
