-- name: session_limits
-- The limits that an administrator has set on these logins or on a member of them: true for a role, its name or the database's,
-- the object for ALTER, name and value. The empty login stands for settings of this database or of all roles.
SELECT
    setting.setrole <> 0 OR setting.setdatabase = 0 AS is_of_role,
    coalesce(role.rolname, database.datname, 'ALL') AS subject,
    concat_ws(
        ' IN ',
        CASE
            WHEN setting.setrole <> 0 THEN format('ROLE %%I', role.rolname)
            WHEN setting.setdatabase = 0 THEN 'ROLE ALL'
        END,
        CASE WHEN setting.setdatabase <> 0 THEN format('DATABASE %%I', database.datname) END
    ) AS altered,
    split_part(assignment.name_and_value, '=', 1) AS limit_name,
    substr(assignment.name_and_value, strpos(assignment.name_and_value, '=') + 1) AS limit_value
FROM pg_db_role_setting AS setting
LEFT JOIN pg_roles AS role ON setting.setrole = role.oid
LEFT JOIN pg_database AS database ON setting.setdatabase = database.oid
CROSS JOIN unnest(setting.setconfig) AS assignment (name_and_value)
WHERE
    (setting.setdatabase = 0 OR database.datname = current_database())
    AND (
        coalesce(role.rolname, '') = any(%(logins)s)
        OR EXISTS (
            SELECT FROM pg_auth_members AS membership
            INNER JOIN pg_roles AS granted ON membership.roleid = granted.oid
            WHERE membership.member = role.oid AND granted.rolname = any(%(logins)s)
        )
    )
    AND split_part(assignment.name_and_value, '=', 1) = any(%(limits)s)
    AND substr(assignment.name_and_value, strpos(assignment.name_and_value, '=') + 1) !~ '^0+[a-z]*$'
ORDER BY subject, altered, limit_name;

-- name: lock_wait
-- The relation that this session waits for, and the sessions for which it waits. No row if it does not wait.
SELECT
    coalesce(waiting.relation::regclass::text, '') AS relation,
    array_agg(
        format(
            '%%s (%%s, pid %%s)',
            coalesce(nullif(holder.application_name, ''), holder.backend_type, '?'), holder.usename, holder.pid
        )
        ORDER BY holder.pid
    ) AS holders
FROM pg_locks AS waiting
CROSS JOIN unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
INNER JOIN pg_stat_activity AS holder ON blocking.pid = holder.pid
WHERE waiting.pid = %(pid)s AND NOT waiting.granted
GROUP BY waiting.relation;
