-- name: loop_user_count
-- getUserCount: distinct people of the tenant with any activity on the day, and their logins.
WITH person AS MATERIALIZED (
    SELECT person_id, person_key
    FROM loop_person_key
    WHERE tenant_id = %(tenant_id)s
),

activity AS (
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "SYS_SystemLog" AS request ON person.person_key = request.user_id
    WHERE
        request.created_at >= %(day_start)s AND request.created_at < %(day_end)s
        AND request.request_url IS NOT null AND NOT request.is_deleted
    UNION ALL
    SELECT
        person.person_id,
        login.is_login::integer AS audited_logins,
        login.is_login AS logged_in
    FROM person
    INNER JOIN "HIS_AuditLog" AS audit ON person.person_key = audit.user_id
    CROSS JOIN
        LATERAL (
            SELECT
                upper(audit.action_type) = 'LOGIN'
                AND coalesce(upper(audit.result_status), 'SUCCESS') NOT IN ('FAILURE', 'FAILED', 'ERROR', 'DENIED') AS is_login
        ) AS login
    WHERE audit.created_at >= %(day_start)s AND audit.created_at < %(day_end)s AND audit.is_deleted IS NOT true
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        true AS logged_in
    FROM person
    INNER JOIN "MST_UserAuth" AS account ON person.person_key = account.user_id
    WHERE account.last_login_at >= %(day_start)s AND account.last_login_at < %(day_end)s AND NOT account.is_deleted
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "TRN_EmployeeSkillGrade" AS edited ON person.person_key = edited.updated_by
    WHERE edited.updated_at >= %(day_start)s AND edited.updated_at < %(day_end)s
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "TRN_GoalProgress" AS edited ON person.person_key = edited.updated_by
    WHERE edited.updated_at >= %(day_start)s AND edited.updated_at < %(day_end)s
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "TRN_PDU" AS edited ON person.person_key = edited.updated_by
    WHERE edited.updated_at >= %(day_start)s AND edited.updated_at < %(day_end)s
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "TRN_ProjectRecord" AS edited ON person.person_key = edited.updated_by
    WHERE edited.updated_at >= %(day_start)s AND edited.updated_at < %(day_end)s
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "TRN_SkillEvidence" AS edited ON person.person_key = edited.updated_by
    WHERE edited.updated_at >= %(day_start)s AND edited.updated_at < %(day_end)s
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "TRN_SkillRecord" AS edited ON person.person_key = edited.updated_by
    WHERE edited.updated_at >= %(day_start)s AND edited.updated_at < %(day_end)s
    UNION ALL
    SELECT
        person.person_id,
        0 AS audited_logins,
        false AS logged_in
    FROM person
    INNER JOIN "TRN_TrainingHistory" AS edited ON person.person_key = edited.updated_by
    WHERE edited.updated_at >= %(day_start)s AND edited.updated_at < %(day_end)s
),

person_day AS (
    SELECT
        person_id,
        sum(audited_logins) AS audited_logins,
        bool_or(logged_in) AS logged_in
    FROM activity
    GROUP BY person_id
)

SELECT
    count(*) AS active_users,
    coalesce(sum(greatest(audited_logins, 1)) FILTER (WHERE logged_in), 0) AS total_logins
FROM person_day;
