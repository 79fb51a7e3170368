-- name: incidents
-- Open incidents, and those closed since a time. Open and critical ones first.
SELECT
    incident.tenant_id, coalesce(tenant.tenant_code, incident.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, incident.check_name, incident.opened_at, incident.severity,
    incident.evidence, incident.breached_at, incident.reopened, incident.closed_at, incident.closed_because, incident.told,
    incident.told_at, incident.is_part_of_platform, incident.opened_by, count(*) OVER () AS hits
FROM batch.board_incident AS incident
LEFT JOIN batch.board_tenant AS tenant ON incident.tenant_id = tenant.tenant_id
WHERE incident.closed_at IS null OR incident.closed_at > %(since)s
ORDER BY (incident.closed_at IS NOT null) ASC, incident.severity ASC, incident.opened_at DESC
LIMIT %(most)s;

-- name: platform_incidents
SELECT check_name, opened_at, evidence, breached_at, reopened, closed_at, told, told_at, count(*) OVER () AS hits
FROM batch.board_platform_incident
WHERE closed_at IS null OR closed_at > %(since)s
ORDER BY (closed_at IS NOT null) ASC, opened_at DESC
LIMIT %(most)s;

-- name: orphans
SELECT execution_id, detail, noticed_at, count(*) OVER () AS hits
FROM batch.board_orphan
WHERE noticed_at > %(since)s
ORDER BY noticed_at DESC
LIMIT %(most)s;

-- name: directory_plans
-- The directories whose latest held or applied plan is held, regardless of its age: a run that skips a directory does not end the
-- hold. Then the directories whose latest plan skips them since a given time. No run works on a deleted tenant. The lateral
-- queries use a directory's key.
WITH directories AS (
    SELECT tenant_id, provider
    FROM batch.board_sync_plan
    WHERE status = 'held'
    UNION DISTINCT
    SELECT tenant_id, provider
    FROM batch.board_sync_plan
    WHERE status = 'skipped' AND planned_at > %(since)s
)

SELECT
    plan.tenant_id, tenant.tenant_code, tenant.tenant_name, plan.provider, plan.execution_id, plan.status, plan.counts,
    plan.reason, plan.planned_at, sync.synced_on, count(*) OVER () AS hits
FROM directories
INNER JOIN batch.board_tenant AS tenant ON directories.tenant_id = tenant.tenant_id
LEFT JOIN
    LATERAL (
        SELECT done.status, done.planned_at
        FROM batch.board_sync_plan AS done
        WHERE
            done.tenant_id = directories.tenant_id AND done.provider = directories.provider
            AND done.status IN ('held', 'applied')
        ORDER BY done.planned_at DESC
        LIMIT 1
    ) AS decided
    ON true
CROSS JOIN
    LATERAL (
        SELECT shown.*
        FROM batch.board_sync_plan AS shown
        WHERE
            shown.tenant_id = directories.tenant_id AND shown.provider = directories.provider
            AND CASE
                WHEN decided.status = 'held' THEN shown.status = 'held'
                ELSE
                    shown.status = 'skipped' AND shown.planned_at > %(since)s
                    AND (decided.planned_at IS null OR shown.planned_at > decided.planned_at)
            END
        ORDER BY shown.planned_at DESC
        LIMIT 1
    ) AS plan
LEFT JOIN batch.board_directory_sync AS sync ON plan.tenant_id = sync.tenant_id AND plan.provider = sync.provider
WHERE tenant.status <> 'DELETED'
ORDER BY plan.status ASC, plan.planned_at DESC
LIMIT %(most)s;

-- name: setting_findings
SELECT
    finding.tenant_id, coalesce(tenant.tenant_code, finding.tenant_id) AS tenant_code, finding.subject, finding.code,
    finding.detail, finding.found_on, count(*) OVER () AS hits
FROM batch.board_setting_finding AS finding
LEFT JOIN batch.board_tenant AS tenant ON finding.tenant_id = tenant.tenant_id
ORDER BY finding.found_on DESC, tenant_code ASC, finding.subject ASC
LIMIT %(most)s;

-- name: inactive_tenants
SELECT
    inactivity.tenant_id, coalesce(tenant.tenant_code, inactivity.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, '') AS tenant_name, inactivity.stage, inactivity.last_activity_on, inactivity.inactive_since,
    inactivity.entered_on, count(*) OVER () AS hits
FROM batch.board_inactivity AS inactivity
LEFT JOIN batch.board_tenant AS tenant ON inactivity.tenant_id = tenant.tenant_id
WHERE inactivity.stage <> 'none'
ORDER BY inactivity.inactive_since
LIMIT %(most)s;

-- name: setting_changes
-- The changes of the latest run that changed a setting. "in_force" counts the changes that were not undone.
SELECT
    change.tenant_id, coalesce(tenant.tenant_code, change.tenant_id) AS tenant_code, change.setting_key, change.changed_at,
    change.execution_id, change.kind, change.reason, change.undone_at, count(*) OVER () AS hits,
    count(*) FILTER (WHERE change.undone_at IS null) OVER () AS in_force
FROM batch.board_setting_change AS change
LEFT JOIN batch.board_tenant AS tenant ON change.tenant_id = tenant.tenant_id
WHERE
    change.execution_id = (
        SELECT run.execution_id
        FROM batch.board_run AS run
        WHERE
            run.batch_id = 'BATCH-018-05' AND NOT run.dry_run
            AND EXISTS (
                SELECT FROM batch.board_setting_change AS made
                WHERE made.execution_id = run.execution_id
            )
        ORDER BY run.started_at DESC
        LIMIT 1
    )
ORDER BY tenant_code, change.setting_key
LIMIT %(most)s;

-- name: backups
SELECT
    backup_id, execution_id, business_date, status, snapshot_at, dump_bytes, total_bytes, verified_at, deleted_at,
    count(*) OVER () AS hits
FROM batch.board_backup
ORDER BY snapshot_at DESC
LIMIT %(most)s;
