INSERT INTO batch.statistics_group (
    tenant_id,
    statistics_date,
    dimension,
    group_key,
    is_rest,
    group_name,
    people,
    records,
    level_sum,
    level_1,
    level_2,
    level_3,
    level_4,
    level_5
)
SELECT
    signal.tenant_id,
    %(business_date)s AS statistics_date,
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
FROM batch.statistics_signal AS signal
CROSS JOIN
    jsonb_to_recordset(signal.skill_groups) AS skill_group (
        dimension text,
        group_key text,
        is_rest boolean,
        group_name text,
        people bigint,
        records bigint,
        level_sum bigint,
        level_1 bigint,
        level_2 bigint,
        level_3 bigint,
        level_4 bigint,
        level_5 bigint
    )
WHERE signal.execution_id = %(execution_id)s
ORDER BY signal.tenant_id;
