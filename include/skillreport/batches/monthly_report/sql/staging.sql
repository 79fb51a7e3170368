-- name: collect_people
-- Acts as batch_platform. The given tenants' current employees, and their last login by the end of the month. month_end is UTC,
-- exclusive. The application keeps only the last login, or none if it only audits logins. A login after the month hides earlier
-- ones, and the deletion of the account hides all, but login_day contains them.
--
-- login_day covers years. All of it is read only for tenants with a person whose login is hidden and not in the month. The logins
-- are aggregated before their person is looked up, because people log in on many days.
INSERT INTO batch.report_person (
    execution_id, tenant_id, employee_id, employee_code, full_name, department_name, has_account,
    last_login_on
)
WITH employee AS MATERIALIZED (
    SELECT tenant_id, employee_id, employee_code, full_name, department_code
    FROM batch.all_employment
    WHERE tenant_id = any(%(tenant_ids)s::text[]) AND is_employed
),

login AS (
    SELECT
        known_person.employee_id,
        CASE
            WHEN NOT account.is_deleted AND account.last_login_at_utc < %(month_end)s
                THEN (account.last_login_at_utc AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date
        END AS login_date,
        NOT account.is_deleted AS is_account,
        account.is_deleted OR (account.last_login_at_utc < %(month_end)s) IS NOT true AS is_hidden
    FROM batch.all_account AS account
    INNER JOIN batch.person_key AS known_person
        ON account.user_id = known_person.person_key AND known_person.named_by = 'user_id'
    WHERE known_person.employee_id IS NOT null
    UNION ALL
    SELECT known_person.employee_id, login_day.login_date, false AS is_account, false AS is_hidden
    FROM batch.login_day
    CROSS JOIN LATERAL unnest(login_day.user_ids) AS kept (user_id)
    INNER JOIN batch.person_key AS known_person
        ON
            kept.user_id = known_person.person_key AND known_person.named_by IN ('id', 'user_id')
            AND login_day.tenant_id = known_person.tenant_id
    WHERE
        login_day.tenant_id = any(%(tenant_ids)s::text[])
        AND login_day.login_date BETWEEN %(first_day)s AND %(last_day)s AND known_person.employee_id IS NOT null
),

person AS (
    SELECT
        employee_id, max(login_date) AS last_login_on, bool_or(is_account) AS has_account, bool_or(is_hidden) AS is_hidden
    FROM login
    GROUP BY employee_id
),

earlier AS (
    SELECT known_person.employee_id, max(seen.login_date) AS last_login_on
    FROM (
        SELECT login_day.tenant_id, kept.user_id, max(login_day.login_date) AS login_date
        FROM batch.login_day
        CROSS JOIN LATERAL unnest(login_day.user_ids) AS kept (user_id)
        WHERE
            login_day.tenant_id = any(array(
                SELECT DISTINCT employee.tenant_id
                FROM employee
                INNER JOIN person USING (employee_id)
                WHERE person.is_hidden AND person.last_login_on IS null
            ))
            AND login_day.login_date < %(first_day)s
        GROUP BY login_day.tenant_id, kept.user_id
    ) AS seen
    INNER JOIN batch.person_key AS known_person
        ON
            seen.user_id = known_person.person_key AND known_person.named_by IN ('id', 'user_id')
            AND seen.tenant_id = known_person.tenant_id
    WHERE known_person.employee_id IS NOT null
    GROUP BY known_person.employee_id
)

SELECT
    %(execution_id)s,
    employee.tenant_id, employee.employee_id, employee.employee_code, employee.full_name,
    coalesce(department.department_name, employee.department_code) AS department_name,
    coalesce(person.has_account, false) AS has_account,
    coalesce(person.last_login_on, earlier.last_login_on) AS last_login_on
FROM employee
LEFT JOIN person USING (employee_id)
LEFT JOIN earlier USING (employee_id)
LEFT JOIN batch.all_department AS department
    ON employee.tenant_id = department.tenant_id AND employee.department_code = department.department_code
ON CONFLICT (execution_id, tenant_id, employee_id) DO NOTHING;

-- name: collect_settings
-- Acts as batch_platform. Each tenant's settings for its reports. month_end is UTC, exclusive.
INSERT INTO batch.report_signal (execution_id, tenant_id, setting_overrides)
SELECT
    %(execution_id)s,
    scope.tenant_id,
    coalesce(setting.overrides, '{}') AS setting_overrides
FROM unnest(%(tenant_ids)s::text[]) AS scope (tenant_id)
LEFT JOIN batch.setting_overrides('monthly_report', %(tenant_ids)s, %(month_end)s) AS setting USING (tenant_id)
ON CONFLICT (execution_id, tenant_id) DO NOTHING;

-- name: load_tenants
SELECT
    tenant.tenant_id, tenant.tenant_code, tenant.tenant_name, tenant.tenant_name_en, tenant.language,
    signal.setting_overrides
FROM batch.report_signal AS signal
INNER JOIN batch.tenant AS tenant USING (tenant_id)
WHERE signal.execution_id = %(execution_id)s
ORDER BY tenant.tenant_id;

-- name: load_people
SELECT
    employee_code AS code, full_name AS name, department_name AS department, has_account, last_login_on
FROM batch.report_person
WHERE execution_id = %(execution_id)s
ORDER BY employee_code COLLATE "C", employee_id COLLATE "C";

-- name: delete_people
DELETE FROM batch.report_person
WHERE execution_id = %(execution_id)s;
