-- name: collect_signals
-- Acts as batch_platform. The given tenants' statistics of one day. Reads each host table once. day_start and day_end are UTC and
-- enclose the Japanese day. The counts shared with BATCH-018-01 come from usage_signal, which is filled first.
--
-- The application has no history of levels, goals and certificates: a row that existed at the end of the day counts with the
-- values of today.
WITH employee AS MATERIALIZED (
    -- Without former employees.
    SELECT tenant_id, employee_id, department_code
    FROM batch.all_employment
    WHERE tenant_id = any(%(tenant_ids)s::text[]) AND is_employed
),

-- Skills, goals, certificates and trainings, with the person of each row. is_held: the row existed (the training had ended) at
-- the day's end.
assigned AS MATERIALIZED (
    SELECT kept.*, known_person.tenant_id, known_person.employee_id, known_person.reason
    FROM (
        SELECT
            'TRN_SkillRecord skills' AS source,
            person_key, stated_tenant_id,
            created_at_utc < %(day_end)s AS is_held,
            skill_item_id, skill_level, category_code,
            null AS goal_status,
            null::date AS expires_on,
            null::numeric AS training_hours
        FROM batch.all_skill_record
        UNION ALL
        SELECT
            'TRN_GoalProgress goals' AS source,
            person_key, stated_tenant_id,
            created_at_utc < %(day_end)s AS is_held,
            null AS skill_item_id,
            null AS skill_level,
            null AS category_code,
            status AS goal_status,
            null AS expires_on,
            null AS training_hours
        FROM batch.all_goal
        UNION ALL
        SELECT
            'TRN_PDU certificates' AS source,
            person_key, stated_tenant_id,
            created_at_utc < %(day_end)s AS is_held,
            null AS skill_item_id,
            null AS skill_level,
            null AS category_code,
            null AS goal_status,
            expires_on,
            null AS training_hours
        FROM batch.all_certificate
        UNION ALL
        SELECT
            'TRN_TrainingHistory trainings' AS source,
            person_key, stated_tenant_id,
            ended_at_utc < %(day_end)s AS is_held,
            null AS skill_item_id,
            null AS skill_level,
            null AS category_code,
            null AS goal_status,
            null AS expires_on,
            duration_hours AS training_hours
        FROM batch.all_completed_training
    ) AS kept
    LEFT JOIN batch.person_key AS known_person ON kept.person_key = known_person.person_key AND known_person.is_decisive
),

-- Rows of one person under different keys are merged. The highest level counts.
skill AS MATERIALIZED (
    SELECT
        assigned.tenant_id,
        assigned.employee_id,
        coalesce(employee.department_code, '') AS department_code,
        assigned.skill_item_id,
        max(assigned.skill_level) AS level,
        coalesce(min(assigned.category_code), '') AS category_code
    FROM assigned
    INNER JOIN employee USING (tenant_id, employee_id)
    WHERE assigned.source = 'TRN_SkillRecord skills' AND assigned.is_held
    GROUP BY assigned.tenant_id, assigned.employee_id, employee.department_code, assigned.skill_item_id
),

-- A skill that several job types of a person require counts once, at the highest level.
required AS (
    SELECT
        person.tenant_id,
        person.employee_id,
        skill.skill_item_id,
        max(skill.required_level) AS target
    FROM batch.all_employee_job_type AS job
    -- Assignments contain the employee's id or code, and no screen writes them.
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

-- A person's skills in each group: one department, and several categories.
member AS MATERIALIZED (
    SELECT
        tenant_id,
        CASE WHEN grouping(department_code) = 0 THEN 'department' ELSE 'category' END AS dimension,
        coalesce(department_code, category_code) AS group_key,
        employee_id,
        count(*) AS records,
        count(level) AS rated,
        sum(level) AS level_sum,
        count(*) FILTER (WHERE level = 1) AS level_1,
        count(*) FILTER (WHERE level = 2) AS level_2,
        count(*) FILTER (WHERE level = 3) AS level_3,
        count(*) FILTER (WHERE level = 4) AS level_4,
        count(*) FILTER (WHERE level >= 5) AS level_5
    FROM skill
    GROUP BY GROUPING SETS ((tenant_id, employee_id, department_code), (tenant_id, employee_id, category_code))
),

skill_total AS (
    SELECT
        tenant_id,
        sum(records) AS records,
        sum(rated) AS rated,
        count(*) FILTER (WHERE rated > 0) AS rated_people,
        sum(level_sum) AS level_sum
    FROM member
    WHERE dimension = 'department'
    GROUP BY tenant_id
),

-- A tenant's groups, smallest first. Only skills with a level count: if only one of five people had a level, the mean would
-- reveal it.
sized AS MATERIALIZED (
    SELECT
        *,
        row_number() OVER (PARTITION BY tenant_id, dimension ORDER BY people, group_key) AS place,
        count(*) OVER (PARTITION BY tenant_id, dimension) AS places,
        count(*) FILTER (WHERE people < %(smallest_group)s) OVER (PARTITION BY tenant_id, dimension) AS small_places
    FROM (
        SELECT
            tenant_id, dimension, group_key,
            count(*) AS people,
            sum(rated) AS records,
            sum(level_sum) AS level_sum,
            sum(level_1) AS level_1,
            sum(level_2) AS level_2,
            sum(level_3) AS level_3,
            sum(level_4) AS level_4,
            sum(level_5) AS level_5
        FROM member
        WHERE rated > 0
        GROUP BY tenant_id, dimension, group_key
    ) AS counted
),

-- The number of different people in each group and all smaller ones, if there are small groups. People may be in several groups.
first_place AS (
    SELECT
        member.tenant_id,
        member.dimension,
        member.employee_id,
        min(sized.place) AS place
    FROM member
    INNER JOIN sized USING (tenant_id, dimension, group_key)
    WHERE member.rated > 0 AND sized.small_places > 0
    GROUP BY member.tenant_id, member.dimension, member.employee_id
),

united AS (
    SELECT
        sized.tenant_id, sized.dimension, sized.place, sized.small_places,
        sum(count(first_place.employee_id)) OVER (
            PARTITION BY sized.tenant_id, sized.dimension ORDER BY sized.place
        ) AS people_together
    FROM sized
    LEFT JOIN first_place USING (tenant_id, dimension, place)
    WHERE sized.small_places > 0
    GROUP BY sized.tenant_id, sized.dimension, sized.place, sized.small_places
),

-- Groups up to rest_places are merged: all small groups, and as many larger ones as are needed for enough people.
hidden AS (
    SELECT
        tenant_id,
        dimension,
        coalesce(min(place) FILTER (WHERE is_enough), max(place)) AS rest_places,
        coalesce(min(people_together) FILTER (WHERE is_enough), max(people_together)) AS people
    FROM (
        SELECT *, place >= small_places AND people_together >= %(smallest_group)s AS is_enough
        FROM united
    ) AS judged
    GROUP BY tenant_id, dimension
),

skill_group AS (
    SELECT
        sized.tenant_id, sized.dimension, shown.is_rest, shown.group_key,
        coalesce(min(shown.people_together), sum(sized.people)) AS people,
        sum(sized.records) AS records,
        sum(sized.level_sum) AS level_sum,
        sum(sized.level_1) AS level_1,
        sum(sized.level_2) AS level_2,
        sum(sized.level_3) AS level_3,
        sum(sized.level_4) AS level_4,
        sum(sized.level_5) AS level_5
    FROM sized
    LEFT JOIN hidden USING (tenant_id, dimension)
    CROSS JOIN
        LATERAL (
            SELECT
                coalesce(sized.place <= hidden.rest_places, false) AS is_rest,
                CASE WHEN sized.place <= hidden.rest_places THEN '' ELSE sized.group_key END AS group_key,
                CASE WHEN sized.place <= hidden.rest_places THEN hidden.people END AS people_together
        ) AS shown
    -- A merger of all groups would repeat the total.
    WHERE coalesce(hidden.rest_places < sized.places, true)
    GROUP BY sized.tenant_id, sized.dimension, shown.is_rest, shown.group_key
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

holding AS (
    SELECT
        assigned.tenant_id,
        count(*) FILTER (WHERE assigned.goal_status = 'not_started') AS not_started,
        count(*) FILTER (WHERE assigned.goal_status = 'in_progress') AS in_progress,
        count(*) FILTER (WHERE assigned.goal_status = 'completed') AS completed,
        count(*) FILTER (WHERE assigned.goal_status = 'other') AS other,
        count(*) FILTER (
            WHERE assigned.source = 'TRN_PDU certificates' AND coalesce(assigned.expires_on >= %(business_date)s, true)
        ) AS held,
        count(*) FILTER (WHERE assigned.expires_on BETWEEN %(business_date)s AND %(expiring_until)s) AS expiring,
        count(*) FILTER (WHERE assigned.expires_on < %(business_date)s) AS expired,
        count(assigned.training_hours) AS trainings,
        sum(assigned.training_hours) AS training_hours
    FROM assigned
    INNER JOIN employee USING (tenant_id, employee_id)
    WHERE assigned.source <> 'TRN_SkillRecord skills' AND assigned.is_held
    GROUP BY assigned.tenant_id
),

-- The assignment of the rows, for the result of the run.
reconciled AS (
    INSERT INTO batch.reconciliation AS known (execution_id, source, placement, is_event, row_count)
    SELECT %(execution_id)s, assigned.source, placed.placement, false AS is_event, count(*)
    FROM assigned
    LEFT JOIN batch.all_tenant AS stated ON assigned.stated_tenant_id = stated.tenant_id
    CROSS JOIN
        LATERAL (
            SELECT
                batch.placement(
                    assigned.person_key,
                    assigned.tenant_id,
                    assigned.reason,
                    assigned.stated_tenant_id,
                    stated.status
                ) AS placement
        ) AS placed
    GROUP BY assigned.source, placed.placement
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
    coalesce(holding.not_started, 0) AS goals_not_started,
    coalesce(holding.in_progress, 0) AS goals_in_progress,
    coalesce(holding.completed, 0) AS goals_completed,
    coalesce(holding.other, 0) AS goals_other,
    coalesce(holding.held, 0) AS certificates_held,
    coalesce(holding.expiring, 0) AS certificates_expiring,
    coalesce(holding.expired, 0) AS certificates_expired,
    coalesce(holding.trainings, 0) AS trainings_completed,
    coalesce(holding.training_hours, 0) AS training_hours,
    coalesce(skill_groups.listed, '[]') AS skill_groups,
    usage.unplaced_accounts,
    usage.unplaced_events
FROM batch.usage_signal AS usage
LEFT JOIN workforce USING (tenant_id)
LEFT JOIN newcomer USING (tenant_id)
LEFT JOIN skill_total USING (tenant_id)
LEFT JOIN coverage USING (tenant_id)
LEFT JOIN holding USING (tenant_id)
LEFT JOIN skill_groups USING (tenant_id)
WHERE usage.execution_id = %(execution_id)s AND usage.tenant_id = any(%(tenant_ids)s::text[])
-- Two attempts (a task believed dead, and its retry) may collect concurrently. Both use the rows of the first.
ON CONFLICT (execution_id, tenant_id) DO NOTHING;
