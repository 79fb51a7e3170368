-- name: tenants_found
-- The tenants with this text in their code, id or name, by code; "hits" is the number of all of them.
SELECT
    tenant_id, tenant_code, tenant_name, status, subscription_plan, contract_end,
    count(*) OVER () AS hits
FROM batch.board_tenant
WHERE
    %(text)s = ''
    OR strpos(lower(tenant_code), lower(%(text)s)) > 0
    OR strpos(lower(tenant_id), lower(%(text)s)) > 0
    OR strpos(lower(tenant_name), lower(%(text)s)) > 0
ORDER BY tenant_code, tenant_id
LIMIT %(most)s;

-- name: tenants_failed
-- The batches whose latest ended run with an outcome for the tenant failed for it. Runs can be limited to some tenants, so each
-- tenant has its own latest run, as in the block tenant_outcomes.
SELECT chosen.tenant_id, run.batch_id, run.dag_id, run.run_id
FROM unnest(%(tenant_ids)s::text[]) AS chosen (tenant_id)
CROSS JOIN unnest(%(batch_ids)s::text[]) AS listed (batch_id)
CROSS JOIN
    LATERAL (
        SELECT candidate.execution_id, candidate.batch_id, candidate.dag_id, candidate.run_id
        FROM (
            SELECT ended.execution_id, ended.batch_id, ended.dag_id, ended.run_id, ended.started_at
            FROM batch.board_run AS ended
            WHERE ended.batch_id = listed.batch_id AND ended.status <> 'running' AND NOT ended.dry_run
            ORDER BY ended.started_at DESC
            LIMIT %(last_runs)s
        ) AS candidate
        WHERE
            EXISTS (
                SELECT FROM batch.board_outcome AS known
                WHERE known.execution_id = candidate.execution_id AND known.tenant_id = chosen.tenant_id
            )
        ORDER BY candidate.started_at DESC
        LIMIT 1
    ) AS run
WHERE
    EXISTS (
        SELECT FROM batch.board_outcome AS outcome
        WHERE
            outcome.execution_id = run.execution_id AND outcome.tenant_id = chosen.tenant_id
            AND outcome.status <> 'success'
    )
ORDER BY chosen.tenant_id, run.batch_id;

-- name: tenants_incidents
SELECT
    tenant_id, count(*) FILTER (WHERE severity = 'critical') AS critical,
    count(*) FILTER (WHERE severity = 'warning') AS warning
FROM batch.board_incident
WHERE closed_at IS null AND tenant_id = any(%(tenant_ids)s::text[])
GROUP BY tenant_id;

-- name: tenants_unfinished
SELECT tenant_id, count(*) AS messages
FROM batch.board_message
WHERE finished_at IS null AND tenant_id = any(%(tenant_ids)s::text[])
GROUP BY tenant_id;

-- name: tenants_vanished
-- The tenant, if the application has deleted it and rows of the batches contain it.
WITH kept AS (
    SELECT tenant_id FROM batch.board_usage_day
    UNION ALL
    SELECT tenant_id FROM batch.board_invoice
    UNION ALL
    SELECT tenant_id FROM batch.board_message
    UNION ALL
    SELECT tenant_id FROM batch.board_incident
    UNION ALL
    SELECT tenant_id FROM batch.board_inactivity
    UNION ALL
    SELECT tenant_id FROM batch.board_report
    UNION ALL
    SELECT tenant_id FROM batch.board_directory_sync
    UNION ALL
    SELECT tenant_id FROM batch.board_setting_change
)

SELECT tenant_id
FROM kept
WHERE tenant_id = %(tenant_id)s
ORDER BY tenant_id
LIMIT 1;
