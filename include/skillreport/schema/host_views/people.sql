-- The tenant of each row. Only this file defines the keys that identify users in host rows.
--
-- Rows identify a user by MST_Employee.id, employee code, user id, login id or e-mail address. The employee decides the tenant. A
-- code or address of several employees identifies no user. batch.placement() defines the other kinds of rows.

-- One row per user key, and one per account. If two users share a key, id precedes code, e-mail address, user id and login id.
-- The account's own row is kept (is_decisive is false). person_id is the employee id, or the user id of an account without an
-- employee (its employee_id is null). If tenant_id is null, `reason` says why.
--
-- The common table expressions are read several times. Batches read the stored result in batch.person_key. A transaction that
-- reads this view calls plan_for_scans (include/skillreport/core/database.py): the planner does not expect almost every key to be
-- unique.
CREATE OR REPLACE VIEW batch.all_person_key AS
WITH employee AS MATERIALIZED (
    SELECT
        employee.employee_id,
        employee.employee_code,
        employee.email,
        CASE WHEN tenant.status <> 'DELETED' THEN employee.tenant_id END AS tenant_id,
        CASE WHEN tenant.tenant_id IS null THEN 'unknown_tenant' WHEN tenant.status = 'DELETED' THEN 'nobody' END AS reason
    FROM batch.all_employee AS employee
    LEFT JOIN batch.all_tenant AS tenant ON employee.tenant_id = tenant.tenant_id
),

employee_name AS MATERIALIZED (
    SELECT DISTINCT ON (person_key COLLATE "C") person_key, named_by, employee_id, tenant_id, reason
    FROM (
        SELECT
            person_key, priority, named_by, employee_id, tenant_id, reason,
            count(*) OVER (PARTITION BY person_key COLLATE "C", priority) AS employees
        FROM (
            SELECT employee_id AS person_key, 1 AS priority, 'id' AS named_by, employee_id, tenant_id, reason
            FROM employee
            UNION ALL
            SELECT employee_code AS person_key, 2 AS priority, 'code' AS named_by, employee_id, tenant_id, reason
            FROM employee
            WHERE employee_code IS NOT null
            UNION ALL
            SELECT lower(email) AS person_key, 3 AS priority, 'email' AS named_by, employee_id, tenant_id, reason
            FROM employee
            WHERE email IS NOT null
            UNION ALL
            -- The address as written, if it is another key.
            SELECT email AS person_key, 4 AS priority, 'email' AS named_by, employee_id, tenant_id, reason
            FROM employee
            WHERE email <> lower(email)
        ) AS candidate
    ) AS counted
    WHERE employees = 1
    ORDER BY person_key COLLATE "C", priority
),

account AS MATERIALIZED (
    SELECT
        account.user_id,
        account.login_id,
        coalesce(employed.employee_id, known.employee_id, account.user_id) AS person_id,
        coalesce(employed.employee_id, known.employee_id) AS employee_id,
        CASE
            WHEN coalesce(employed.employee_id, known.employee_id) IS NOT null THEN coalesce(employed.tenant_id, known.tenant_id)
            WHEN stated.status <> 'DELETED' THEN stated.tenant_id
        END AS tenant_id,
        CASE
            WHEN coalesce(employed.employee_id, known.employee_id) IS NOT null THEN coalesce(employed.reason, known.reason)
            WHEN stated.status = 'DELETED' THEN 'nobody'
            WHEN stated.tenant_id IS null THEN 'no_employee'
        END AS reason
    FROM batch.all_account AS account
    LEFT JOIN employee_name AS employed ON account.employee_key = employed.person_key
    -- The login id is often the code or address.
    LEFT JOIN employee_name AS known
        ON
            CASE
                WHEN employed.person_key IS null
                    THEN CASE WHEN position('@' IN account.login_id) > 0 THEN lower(account.login_id) ELSE account.login_id END
            END = known.person_key
    LEFT JOIN batch.all_tenant AS stated ON account.stated_tenant_id = stated.tenant_id
),

named AS (
    SELECT
        person_key, named_by,
        true AS is_decisive,
        employee_id AS person_id,
        employee_id,
        tenant_id,
        reason
    FROM employee_name
    UNION ALL
    SELECT
        account.user_id AS person_key,
        'user_id' AS named_by,
        taken.person_key IS null AS is_decisive,
        account.person_id,
        account.employee_id,
        account.tenant_id,
        account.reason
    FROM account
    LEFT JOIN employee_name AS taken ON account.user_id = taken.person_key
    UNION ALL
    SELECT
        account.login_id AS person_key,
        'login_id' AS named_by,
        true AS is_decisive,
        account.person_id,
        account.employee_id,
        account.tenant_id,
        account.reason
    FROM (
        -- Login ids that differ only in blanks identify no user.
        SELECT *, count(*) OVER (PARTITION BY login_id) AS accounts FROM account
        WHERE login_id IS NOT null
    ) AS account
    LEFT JOIN employee_name AS taken ON account.login_id = taken.person_key
    LEFT JOIN account AS other ON account.login_id = other.user_id
    WHERE account.accounts = 1 AND taken.person_key IS null AND other.user_id IS null
)

SELECT
    person_key, named_by,
    -- The settings about a key apply to rows, not to accounts.
    is_decisive AND person_key <> all(array(
        SELECT known_key.person_key FROM batch.known_key
        WHERE known_key.kind <> 'watched'
    )) AS is_decisive,
    person_id, employee_id, tenant_id, reason
FROM named
UNION ALL
SELECT
    person_key,
    'setting' AS named_by,
    true AS is_decisive,
    null AS person_id,
    null AS employee_id,
    null AS tenant_id,
    CASE kind WHEN 'placeholder' THEN 'placeholder' ELSE 'nobody' END AS reason
FROM batch.known_key
WHERE kind <> 'watched';

-- Changes if batch.all_person_key may change: after a change of users, or with another version of the rule.
CREATE OR REPLACE VIEW batch.all_people_fingerprint AS
SELECT coalesce(sum(fingerprint), 0) AS fingerprint
FROM (
    SELECT sum(hash_record_extended(row(employee_id, employee_code, email, tenant_id), 1)::numeric) AS fingerprint
    FROM batch.all_employee
    UNION ALL
    SELECT sum(hash_record_extended(row(user_id, login_id, employee_key, stated_tenant_id), 2)::numeric) AS fingerprint
    FROM batch.all_account
    UNION ALL
    SELECT sum(hash_record_extended(row(tenant_id, status), 3)::numeric) AS fingerprint
    FROM batch.all_tenant
    UNION ALL
    SELECT sum(hash_record_extended(row(person_key, kind), 4)::numeric) AS fingerprint
    FROM batch.known_key
    UNION ALL
    SELECT hashtextextended(pg_get_viewdef(rule.oid), 5)::numeric AS fingerprint
    FROM pg_class AS rule
    WHERE
        rule.relnamespace = 'batch'::regnamespace
        AND rule.relname IN ('all_person_key', 'all_account', 'all_employee', 'all_tenant')
) AS parts;

GRANT SELECT ON
batch.all_account,
batch.all_employee,
batch.all_department,
batch.all_person_key,
batch.all_people_fingerprint
TO batch_platform;
