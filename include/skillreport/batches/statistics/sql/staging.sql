-- name: collect_signals
-- Runs across tenants, as batch_platform: the statistics of the given tenants for one day. The statement reads each host table
-- once. day_start and day_end are UTC and enclose the Japanese day. The counts shared with BATCH-018-01 come from usage_signal,
-- which is filled first.
--
-- The application keeps no history of levels, goals and certificates. Rows that existed at the end of the day count with their
-- present values.
-- One row per key that the rows of a person use. People who have left do not count.
WITH person AS MATERIALIZED (
    SELECT known_person.person_key, known_person.employee_id, known_person.tenant_id
    FROM batch.person_key AS known_person
    INNER JOIN batch.all_employment AS employee USING (employee_id)
    WHERE known_person.is_decisive AND known_person.tenant_id = any(%(tenant_ids)s::text[]) AND employee.is_employed
),

employee AS MATERIALIZED (
    SELECT tenant_id, employee_id, department_code
    FROM batch.all_employment
    WHERE tenant_id = any(%(tenant_ids)s::text[]) AND is_employed
),

-- Rows of one person under different keys are merged; the higher level counts.
skill AS MATERIALIZED (
    SELECT
        person.tenant_id,
        person.employee_id,
        record.skill_item_id,
        max(record.skill_level) AS level,
        min(record.category_code) AS category_code
    FROM batch.all_skill_record AS record
    INNER JOIN person USING (person_key)
    WHERE record.created_at_utc < %(day_end)s
    GROUP BY person.tenant_id, person.employee_id, record.skill_item_id
),

skill_total AS (
    SELECT
        tenant_id,
        count(*) AS records,
        count(level) AS rated,
        count(DISTINCT employee_id) FILTER (WHERE level IS NOT null) AS rated_people,
        sum(level) AS level_sum
    FROM skill
    GROUP BY tenant_id
),

-- A skill that two job types of a person require counts once, at the higher level.
required AS (
    SELECT
        person.tenant_id,
        person.employee_id,
        skill.skill_item_id,
        max(skill.required_level) AS target
    FROM batch.all_employee_job_type AS job
    -- Assignments name the employee by id or code, and no screen writes them.
    INNER JOIN batch.person_key AS person ON job.employee_key = person.person_key AND person.named_by IN ('id', 'code')
    INNER JOIN employee ON person.employee_id = employee.employee_id
    INNER JOIN batch.all_required_skill AS skill ON job.job_type_id = skill.job_type_id
    WHERE
        person.tenant_id = any(%(tenant_ids)s::text[])
        AND coalesce(job.effective_from_utc < %(day_end)s, true) AND coalesce(job.effective_until_utc >= %(day_start)s, true)
        AND coalesce(skill.effective_from_utc < %(day_end)s, true) AND coalesce(skill.effective_until_utc >= %(day_start)s, true)
    GROUP BY person.tenant_id, person.employee_id, skill.skill_item_id
),

coverage AS (
    SELECT
        required.tenant_id,
        sum(least(greatest(coalesce(skill.level, 0), 0), required.target)) AS met,
        sum(required.target) AS target,
        count(DISTINCT required.employee_id) AS people
    FROM required
    LEFT JOIN skill USING (tenant_id, employee_id, skill_item_id)
    GROUP BY required.tenant_id
),

-- Count only skills with a level: if only one of five people had a level, the mean would reveal it.
membership AS MATERIALIZED (
    SELECT
        skill.tenant_id,
        'department' AS dimension,
        coalesce(employee.department_code, '') AS group_key,
        skill.employee_id,
        skill.level
    FROM skill
    INNER JOIN employee USING (tenant_id, employee_id)
    WHERE skill.level IS NOT null
    UNION ALL
    SELECT
        tenant_id,
        'category' AS dimension,
        coalesce(category_code, '') AS group_key,
        employee_id,
        level
    FROM skill
    WHERE level IS NOT null
),

-- The groups of a tenant, the smallest first.
sized AS MATERIALIZED (
    SELECT
        tenant_id, dimension, group_key, people,
        row_number() OVER (PARTITION BY tenant_id, dimension ORDER BY people, group_key) AS place,
        count(*) FILTER (WHERE people < %(smallest_group)s) OVER (PARTITION BY tenant_id, dimension) AS small_places
    FROM (
        SELECT tenant_id, dimension, group_key, count(DISTINCT employee_id) AS people
        FROM membership
        GROUP BY tenant_id, dimension, group_key
    ) AS counted
),

-- The number of different people in each group and all smaller ones. A person may be in several groups.
first_place AS (
    SELECT
        membership.tenant_id,
        membership.dimension,
        membership.employee_id,
        min(sized.place) AS place
    FROM membership
    INNER JOIN sized USING (tenant_id, dimension, group_key)
    GROUP BY membership.tenant_id, membership.dimension, membership.employee_id
),

united AS (
    SELECT
        sized.tenant_id, sized.dimension, sized.place, sized.small_places,
        sum(count(first_place.employee_id)) OVER (
            PARTITION BY sized.tenant_id, sized.dimension ORDER BY sized.place
        ) AS people_together
    FROM sized
    LEFT JOIN first_place USING (tenant_id, dimension, place)
    GROUP BY sized.tenant_id, sized.dimension, sized.place, sized.small_places
),

-- Groups up to rest_places are merged: all groups that are too small, and as many larger ones as are needed for enough people.
hidden AS (
    SELECT
        tenant_id,
        dimension,
        max(place) AS places,
        CASE
            WHEN min(small_places) = 0 THEN 0
            ELSE coalesce(
                min(place) FILTER (WHERE place >= small_places AND people_together >= %(smallest_group)s), max(place)
            )
        END AS rest_places
    FROM united
    GROUP BY tenant_id, dimension
),

skill_group AS (
    SELECT
        membership.tenant_id, membership.dimension, shown.is_rest, shown.group_key,
        count(DISTINCT membership.employee_id) AS people,
        count(*) AS records,
        sum(membership.level) AS level_sum,
        count(*) FILTER (WHERE membership.level = 1) AS level_1,
        count(*) FILTER (WHERE membership.level = 2) AS level_2,
        count(*) FILTER (WHERE membership.level = 3) AS level_3,
        count(*) FILTER (WHERE membership.level = 4) AS level_4,
        count(*) FILTER (WHERE membership.level >= 5) AS level_5
    FROM membership
    INNER JOIN sized USING (tenant_id, dimension, group_key)
    INNER JOIN hidden USING (tenant_id, dimension)
    CROSS JOIN
        LATERAL (
            SELECT
                sized.place <= hidden.rest_places AS is_rest,
                CASE WHEN sized.place > hidden.rest_places THEN membership.group_key ELSE '' END AS group_key
        ) AS shown
    -- If all groups are merged, the result would repeat the total.
    WHERE hidden.rest_places < hidden.places
    GROUP BY membership.tenant_id, membership.dimension, shown.is_rest, shown.group_key
),

skill_groups AS (
    SELECT
        skill_group.tenant_id,
        jsonb_agg(
            to_jsonb(skill_group)
            || jsonb_build_object('group_name', coalesce(department.department_name, category.category_name))
            ORDER BY skill_group.dimension, skill_group.is_rest, skill_group.group_key
        ) AS listed
    FROM skill_group
    LEFT JOIN batch.all_department AS department
        ON
            skill_group.dimension = 'department' AND NOT skill_group.is_rest
            AND skill_group.tenant_id = department.tenant_id AND skill_group.group_key = department.department_code
    LEFT JOIN batch.all_skill_category AS category
        ON skill_group.dimension = 'category' AND NOT skill_group.is_rest AND skill_group.group_key = category.category_code
    GROUP BY skill_group.tenant_id
),

workforce AS (
    SELECT tenant_id, count(*) AS employees
    FROM employee
    GROUP BY tenant_id
),

newcomer AS (
    SELECT known_person.tenant_id, count(*) AS users
    FROM batch.all_account AS account
    INNER JOIN batch.person_key AS known_person ON account.user_id = known_person.person_key AND known_person.named_by = 'user_id'
    WHERE
        known_person.tenant_id = any(%(tenant_ids)s::text[]) AND NOT account.is_deleted
        AND account.created_at_utc >= %(day_start)s AND account.created_at_utc < %(day_end)s
    GROUP BY known_person.tenant_id
),

goal AS (
    SELECT
        person.tenant_id,
        count(*) FILTER (WHERE goal.status = 'not_started') AS not_started,
        count(*) FILTER (WHERE goal.status = 'in_progress') AS in_progress,
        count(*) FILTER (WHERE goal.status = 'completed') AS completed,
        count(*) FILTER (WHERE goal.status = 'other') AS other
    FROM batch.all_goal AS goal
    INNER JOIN person USING (person_key)
    WHERE goal.created_at_utc < %(day_end)s
    GROUP BY person.tenant_id
),

certificate AS (
    SELECT
        person.tenant_id,
        count(*) FILTER (WHERE coalesce(held.expires_on >= %(business_date)s, true)) AS held,
        count(*) FILTER (WHERE held.expires_on BETWEEN %(business_date)s AND %(expiring_until)s) AS expiring,
        count(*) FILTER (WHERE held.expires_on < %(business_date)s) AS expired
    FROM batch.all_certificate AS held
    INNER JOIN person USING (person_key)
    WHERE held.created_at_utc < %(day_end)s
    GROUP BY person.tenant_id
),

training AS (
    SELECT person.tenant_id, count(*) AS completed, sum(training.duration_hours) AS hours
    FROM batch.all_completed_training AS training
    INNER JOIN person USING (person_key)
    WHERE training.ended_at_utc < %(day_end)s
    GROUP BY person.tenant_id
),

-- How the rows that exist were assigned, for the result of the run.
reconciled AS (
    INSERT INTO batch.reconciliation AS known (execution_id, source, placement, is_event, row_count)
    SELECT %(execution_id)s, kept.source, assigned.placement, false AS is_event, count(*)
    FROM (
        SELECT 'TRN_SkillRecord skills' AS source, person_key, stated_tenant_id FROM batch.all_skill_record
        UNION ALL
        SELECT 'TRN_GoalProgress goals' AS source, person_key, stated_tenant_id FROM batch.all_goal
        UNION ALL
        SELECT 'TRN_PDU certificates' AS source, person_key, stated_tenant_id FROM batch.all_certificate
        UNION ALL
        SELECT 'TRN_TrainingHistory trainings' AS source, person_key, stated_tenant_id FROM batch.all_completed_training
    ) AS kept
    LEFT JOIN batch.person_key AS known_person ON kept.person_key = known_person.person_key AND known_person.is_decisive
    LEFT JOIN batch.all_tenant AS stated ON kept.stated_tenant_id = stated.tenant_id
    CROSS JOIN
        LATERAL (
            SELECT
                batch.placement(
                    kept.person_key,
                    known_person.tenant_id,
                    known_person.reason,
                    kept.stated_tenant_id,
                    stated.status
                ) AS placement
        ) AS assigned
    GROUP BY kept.source, assigned.placement
    ON CONFLICT (execution_id, source, placement) DO UPDATE SET row_count = excluded.row_count
)

INSERT INTO batch.statistics_signal (
    execution_id, tenant_id, users_total, users_active, users_new, logins, api_calls, api_errors,
    reports_generated, skill_assessments, notifications_sent, storage_bytes, employees, skill_records,
    rated_records, rated_people, level_sum, coverage_met, coverage_target, required_people, goals_not_started,
    goals_in_progress, goals_completed, goals_other, certificates_held, certificates_expiring,
    certificates_expired, trainings_completed, training_hours, skill_groups, unplaced_accounts, unplaced_events
)

SELECT
    usage.execution_id,
    usage.tenant_id,
    usage.registered_users AS users_total,
    usage.active_users AS users_active,
    coalesce(newcomer.users, 0) AS users_new,
    usage.total_logins AS logins,
    usage.api_calls,
    usage.error_count AS api_errors,
    usage.reports_generated,
    usage.skill_assessments,
    usage.notifications_sent,
    (usage.report_bytes + usage.evidence_bytes)::bigint AS storage_bytes,
    coalesce(workforce.employees, 0) AS employees,
    coalesce(skill_total.records, 0) AS skill_records,
    coalesce(skill_total.rated, 0) AS rated_records,
    coalesce(skill_total.rated_people, 0) AS rated_people,
    coalesce(skill_total.level_sum, 0) AS level_sum,
    coalesce(coverage.met, 0) AS coverage_met,
    coalesce(coverage.target, 0) AS coverage_target,
    coalesce(coverage.people, 0) AS required_people,
    coalesce(goal.not_started, 0) AS goals_not_started,
    coalesce(goal.in_progress, 0) AS goals_in_progress,
    coalesce(goal.completed, 0) AS goals_completed,
    coalesce(goal.other, 0) AS goals_other,
    coalesce(certificate.held, 0) AS certificates_held,
    coalesce(certificate.expiring, 0) AS certificates_expiring,
    coalesce(certificate.expired, 0) AS certificates_expired,
    coalesce(training.completed, 0) AS trainings_completed,
    coalesce(training.hours, 0) AS training_hours,
    coalesce(skill_groups.listed, '[]') AS skill_groups,
    usage.unplaced_accounts,
    usage.unplaced_events
FROM batch.usage_signal AS usage
LEFT JOIN workforce USING (tenant_id)
LEFT JOIN newcomer USING (tenant_id)
LEFT JOIN skill_total USING (tenant_id)
LEFT JOIN coverage USING (tenant_id)
LEFT JOIN goal USING (tenant_id)
LEFT JOIN certificate USING (tenant_id)
LEFT JOIN training USING (tenant_id)
LEFT JOIN skill_groups USING (tenant_id)
WHERE usage.execution_id = %(execution_id)s AND usage.tenant_id = any(%(tenant_ids)s::text[])
-- Two attempts (a task believed dead, and its retry) may collect at the same time. Both use the rows of the first.
ON CONFLICT (execution_id, tenant_id) DO NOTHING;
