-- name: row_placements
-- Assign all rows with a user to tenants, by the user's column. Listed keys (from the settings) count as in batch.known_key,
-- which is empty before the first run. Rows are summed per key first. Returns rows of unknown users and of accounts without an
-- employee, with their three most frequent keys, and rows with listed keys.
WITH listed AS (
    SELECT
        key.person_key,
        key.kind
    FROM unnest(%(person_keys)s::text[], %(kinds)s::text[]) AS key (person_key, kind)
),

person AS MATERIALIZED (
    SELECT person_key, tenant_id, reason
    FROM batch.all_person_key
    WHERE is_decisive
),

tenant AS MATERIALIZED (
    SELECT tenant_id, status
    FROM batch.all_tenant
),

named AS (
    SELECT 'SYS_SystemLog.user_id' AS source, person_key, null AS stated_tenant_id, count(*) AS row_count
    FROM batch.all_api_request
    WHERE person_key IS NOT null
    GROUP BY person_key
    UNION ALL
    SELECT
        source || CASE source WHEN 'HIS_AuditLog' THEN '.user_id' ELSE '.updated_by' END AS source, person_key, stated_tenant_id,
        count(*) AS row_count
    FROM batch.all_user_action
    GROUP BY all_user_action.source, person_key, stated_tenant_id
    UNION ALL
    SELECT 'HIS_ReportGeneration.requested_by' AS source, person_key, stated_tenant_id, count(*) AS row_count
    FROM batch.all_report
    GROUP BY person_key, stated_tenant_id
    UNION ALL
    SELECT 'TRN_SkillEvidence.employee_id' AS source, person_key, stated_tenant_id, count(*) AS row_count
    FROM batch.all_skill_evidence
    GROUP BY person_key, stated_tenant_id
    UNION ALL
    SELECT 'TRN_SkillRecord.employee_id' AS source, person_key, stated_tenant_id, count(*) AS row_count
    FROM batch.all_skill_record
    GROUP BY person_key, stated_tenant_id
    UNION ALL
    SELECT 'TRN_GoalProgress.employee_id' AS source, person_key, stated_tenant_id, count(*) AS row_count
    FROM batch.all_goal
    GROUP BY person_key, stated_tenant_id
    UNION ALL
    SELECT 'TRN_PDU.employee_id' AS source, person_key, stated_tenant_id, count(*) AS row_count
    FROM batch.all_certificate
    GROUP BY person_key, stated_tenant_id
    UNION ALL
    SELECT 'TRN_TrainingHistory.employee_id' AS source, person_key, stated_tenant_id, count(*) AS row_count
    FROM batch.all_completed_training
    GROUP BY person_key, stated_tenant_id
),

placed AS (
    SELECT
        named.source,
        named.person_key,
        named.row_count,
        listed.kind,
        batch.placement(
            named.person_key,
            CASE WHEN coalesce(listed.kind, 'watched') = 'watched' THEN person.tenant_id END,
            CASE listed.kind WHEN 'placeholder' THEN 'placeholder' WHEN 'system' THEN 'nobody' ELSE person.reason END,
            named.stated_tenant_id,
            tenant.status
        ) AS placement
    FROM named
    LEFT JOIN listed ON named.person_key = listed.person_key
    LEFT JOIN person ON named.person_key = person.person_key
    LEFT JOIN tenant ON named.stated_tenant_id = tenant.tenant_id
),

found AS (
    SELECT
        source,
        person_key,
        CASE WHEN kind IN ('placeholder', 'watched') THEN kind ELSE placement END AS placement,
        CASE WHEN kind IN ('placeholder', 'watched') THEN person_key END AS listed_key,
        sum(row_count) AS row_count
    FROM placed
    WHERE kind IN ('placeholder', 'watched') OR placement IN ('unknown_person', 'no_employee')
    GROUP BY source, person_key, kind, placement
)

SELECT
    source,
    placement,
    listed_key,
    sum(row_count)::bigint AS row_count,
    (array_agg(person_key ORDER BY row_count DESC, person_key ASC))[1:3] AS person_keys
FROM found
GROUP BY source, placement, listed_key
ORDER BY source, placement, listed_key;

-- name: accounts_without_employee
-- Accounts without an employee or an existing tenant, with three examples.
SELECT
    count(*) AS accounts,
    (array_agg(account.user_id ORDER BY account.user_id))[1:3] AS user_ids
FROM batch.all_account AS account
INNER JOIN batch.all_person_key AS person ON account.user_id = person.person_key
WHERE person.named_by = 'user_id' AND person.reason = 'no_employee' AND NOT account.is_deleted
HAVING count(*) > 0;

-- name: shared_codes
-- Employee codes of several employees, with three examples. Such a code identifies no user.
SELECT
    count(*) AS codes,
    sum(employees)::bigint AS employees,
    (array_agg(employee_code ORDER BY employee_code))[1:3] AS examples
FROM (
    SELECT
        employee_code,
        count(*) AS employees
    FROM batch.all_employee
    WHERE employee_code IS NOT null
    GROUP BY employee_code
    HAVING count(*) > 1
) AS shared
HAVING count(*) > 0;

-- name: empty_sources
SELECT source
FROM batch.all_host_source
WHERE NOT has_rows
ORDER BY source;
