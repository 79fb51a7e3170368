-- name: loop_user_count
-- getUserCount: distinct accounts of the tenant with any activity on the day, and their logins.
WITH account AS (
    SELECT
        user_id,
        last_login_at
    FROM "MST_UserAuth"
    WHERE tenant_id = %(tenant_id)s AND tenant_id <> 'default-tenant' AND NOT is_deleted
    UNION ALL
    SELECT
        at_default.user_id,
        at_default.last_login_at
    FROM "MST_Employee" AS employee
    INNER JOIN "MST_UserAuth" AS at_default ON employee.id = at_default.employee_id
    WHERE employee.tenant_id = %(tenant_id)s AND at_default.tenant_id = 'default-tenant' AND NOT at_default.is_deleted
    UNION ALL
    SELECT
        homeless.user_id,
        homeless.last_login_at
    FROM "MST_UserAuth" AS homeless
    WHERE
        %(tenant_id)s = 'default-tenant' AND homeless.tenant_id = 'default-tenant' AND NOT homeless.is_deleted
        AND NOT EXISTS (
            SELECT FROM "MST_Employee" AS employee
            WHERE employee.id = homeless.employee_id
        )
),

activity AS (
    SELECT
        request.user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM account
    INNER JOIN "SYS_SystemLog" AS request USING (user_id)
    WHERE
        request.created_at >= %(day_start)s AND request.created_at < %(day_end)s
        AND request.request_url IS NOT null AND NOT request.is_deleted
    UNION ALL
    SELECT
        audit.user_id,
        is_login::integer AS audited_logins,
        is_login AS logged_in
    FROM account
    INNER JOIN "HIS_AuditLog" AS audit USING (user_id)
    CROSS JOIN
        LATERAL (
            SELECT
                upper(audit.action_type) = 'LOGIN'
                AND coalesce(upper(audit.result_status), 'SUCCESS') NOT IN ('FAILURE', 'FAILED', 'ERROR', 'DENIED') AS is_login
        ) AS login
    WHERE audit.created_at >= %(day_start)s AND audit.created_at < %(day_end)s AND audit.is_deleted IS NOT true
    UNION ALL
    SELECT
        user_id,
        0 AS audited_logins,
        true AS logged_in
    FROM account
    WHERE last_login_at >= %(day_start)s AND last_login_at < %(day_end)s
    UNION ALL
    SELECT
        updated_by AS user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM "TRN_EmployeeSkillGrade"
    WHERE tenant_id = %(tenant_id)s AND updated_at >= %(day_start)s AND updated_at < %(day_end)s
    UNION ALL
    SELECT
        updated_by AS user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM "TRN_GoalProgress"
    WHERE tenant_id = %(tenant_id)s AND updated_at >= %(day_start)s AND updated_at < %(day_end)s
    UNION ALL
    SELECT
        updated_by AS user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM "TRN_PDU"
    WHERE tenant_id = %(tenant_id)s AND updated_at >= %(day_start)s AND updated_at < %(day_end)s
    UNION ALL
    SELECT
        updated_by AS user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM "TRN_ProjectRecord"
    WHERE tenant_id = %(tenant_id)s AND updated_at >= %(day_start)s AND updated_at < %(day_end)s
    UNION ALL
    SELECT
        updated_by AS user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM "TRN_SkillEvidence"
    WHERE tenant_id = %(tenant_id)s AND updated_at >= %(day_start)s AND updated_at < %(day_end)s
    UNION ALL
    SELECT
        updated_by AS user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM "TRN_SkillRecord"
    WHERE tenant_id = %(tenant_id)s AND updated_at >= %(day_start)s AND updated_at < %(day_end)s
    UNION ALL
    SELECT
        updated_by AS user_id,
        0 AS audited_logins,
        false AS logged_in
    FROM "TRN_TrainingHistory"
    WHERE tenant_id = %(tenant_id)s AND updated_at >= %(day_start)s AND updated_at < %(day_end)s
),

person_day AS (
    SELECT
        user_id,
        sum(audited_logins) AS audited_logins,
        bool_or(logged_in) AS logged_in
    FROM activity
    INNER JOIN account USING (user_id)
    GROUP BY user_id
)

SELECT
    count(*) AS active_users,
    coalesce(sum(greatest(audited_logins, 1)) FILTER (WHERE logged_in), 0) AS total_logins
FROM person_day;
