-- The groups of the tenant's last day of the month that has statistics; a day without groups has none to show.
SELECT
    skill_group.dimension,
    skill_group.group_key,
    skill_group.is_rest,
    skill_group.group_name,
    skill_group.people,
    skill_group.records,
    skill_group.level_sum,
    skill_group.level_1,
    skill_group.level_2,
    skill_group.level_3,
    skill_group.level_4,
    skill_group.level_5
FROM batch.statistics_group AS skill_group
WHERE
    skill_group.tenant_id = %(tenant_id)s
    AND skill_group.statistics_date = (
        SELECT max(day.statistics_date)
        FROM batch.statistics_day AS day
        WHERE day.tenant_id = %(tenant_id)s AND day.statistics_date BETWEEN %(month)s AND %(last_day)s
    )
ORDER BY skill_group.dimension, skill_group.group_key;
