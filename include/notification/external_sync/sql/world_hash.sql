-- All that a plan is made from, in one figure. Taken before the rows are read: what changes in between shows when it is taken
-- again.
SELECT encode(sha256(convert_to(string_agg(part.content, '|' ORDER BY part.name), 'UTF8')), 'hex')
FROM (
    SELECT
        'accounts' AS name,
        coalesce(
            string_agg(
                jsonb_build_array(
                    external_id, email, is_email_verified, employee_code, display_name, kind, state
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
                jsonb_build_array(external_id, parent_id, name, kind, is_archived, absent_on)::text,
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
