-- name: world_hash
-- A hash of all inputs of a plan. It is calculated before the rows are read, so a second hash shows a change in between.
SELECT encode(sha256(convert_to(string_agg(part.content, '|' ORDER BY part.name), 'UTF8')), 'hex')
FROM (
    SELECT
        'accounts' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(
                    external_id, email, is_email_verified, employee_code, display_name, kind, state, is_contradictory
                )::text, '' ORDER BY external_id COLLATE "C"
            ), ''
        ) AS content
    FROM batch.listed_account
    WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
    UNION ALL
    SELECT
        'channels' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(external_id, parent_id, name, kind, is_archived)::text,
                '' ORDER BY external_id COLLATE "C"
            ), ''
        ) AS content
    FROM batch.listed_channel
    WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
    UNION ALL
    SELECT
        'employees' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(employee_id, employee_code, email)::text, '' ORDER BY employee_id COLLATE "C"
            ), ''
        ) AS content
    FROM batch.tenant_employee
    WHERE tenant_id = %(tenant_id)s AND is_employed
    UNION ALL
    SELECT
        'known accounts' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(
                    external_id, email, is_email_verified, employee_code, display_name, kind, state
                )::text, '' ORDER BY external_id COLLATE "C"
            ), ''
        ) AS content
    FROM batch.directory_account
    WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s
    UNION ALL
    SELECT
        'known channels' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(
                    external_id, parent_id, name, kind, is_archived, absent_on, is_absence_doubtful
                )::text,
                '' ORDER BY external_id COLLATE "C"
            ), ''
        ) AS content
    FROM batch.directory_channel
    WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s
    UNION ALL
    SELECT
        'links' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(external_id, employee_id, status, absent_on, is_absence_doubtful)::text,
                '' ORDER BY external_id COLLATE "C"
            ), ''
        ) AS content
    FROM batch.account_link
    WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s
    UNION ALL
    SELECT
        'settings' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(id, setting_key, notification_type, channel_config)::text,
                '' ORDER BY id COLLATE "C"
            ), ''
        ) AS content
    FROM batch.tenant_notification_setting
    WHERE tenant_id = %(tenant_id)s AND coalesce(is_enabled, true) AND NOT is_deleted
) AS part;

-- name: load_accounts
SELECT external_id, email, is_email_verified, employee_code, display_name, kind, state, is_contradictory
FROM batch.listed_account
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
ORDER BY external_id COLLATE "C";

-- name: load_channels
SELECT external_id, name, kind, is_archived, parent_id
FROM batch.listed_channel
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
ORDER BY external_id COLLATE "C";

-- name: load_employees
SELECT employee_id, employee_code, email
FROM batch.tenant_employee
WHERE tenant_id = %(tenant_id)s AND is_employed
ORDER BY employee_id COLLATE "C";

-- name: load_links
-- Links with the last known state of each account. kind is null if no applied listing contained the account.
SELECT
    link.external_id,
    link.employee_id,
    link.status = 'active' AS is_active,
    link.absent_on, link.is_absence_doubtful, account.email, account.is_email_verified, account.employee_code,
    account.display_name, account.kind, account.state
FROM batch.account_link AS link
LEFT JOIN batch.directory_account AS account
    ON
        link.tenant_id = account.tenant_id AND link.provider = account.provider
        AND link.external_id = account.external_id
WHERE link.tenant_id = %(tenant_id)s AND link.provider = %(provider)s
ORDER BY link.external_id COLLATE "C";

-- name: load_known_channels
SELECT external_id, name, kind, is_archived, parent_id, absent_on, is_absence_doubtful
FROM batch.directory_channel
WHERE tenant_id = %(tenant_id)s AND provider = %(provider)s
ORDER BY external_id COLLATE "C";

-- name: load_settings
SELECT id, setting_key, notification_type, channel_config
FROM batch.tenant_notification_setting
WHERE tenant_id = %(tenant_id)s AND coalesce(is_enabled, true) AND NOT is_deleted
ORDER BY id COLLATE "C";
