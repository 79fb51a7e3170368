-- name: tenants_found
-- A page of the tenants with this text in code, id or name, with their problems; "hits" counts all. A batch has failed for a
-- tenant if its newest ended run with an outcome for the tenant failed. Each tenant has its own newest run, because runs can be
-- limited to some tenants. The few failures are read first. Outcomes without a result are read only if the run's counts show
-- missing ones, as in failed_tenants.
WITH run AS MATERIALIZED (
    SELECT ended.execution_id, ended.batch_id, ended.dag_id, ended.run_id, ended.started_at, ended.status, ended.error_count
    FROM unnest(%(batch_ids)s::text[]) AS listed (batch_id)
    CROSS JOIN
        LATERAL (
            SELECT candidate.*
            FROM batch.board_run AS candidate
            WHERE candidate.batch_id = listed.batch_id AND candidate.status <> 'running' AND NOT candidate.dry_run
            ORDER BY candidate.started_at DESC
            LIMIT %(last_runs)s
        ) AS ended
),

failed AS (
    SELECT outcome.execution_id, outcome.tenant_id, outcome.part
    FROM run
    INNER JOIN batch.board_outcome AS outcome ON run.execution_id = outcome.execution_id
    WHERE run.status <> 'completed' AND outcome.status = 'failed'
),

unclear AS (
    SELECT run.execution_id
    FROM run
    LEFT JOIN failed ON run.execution_id = failed.execution_id
    WHERE run.status <> 'completed'
    GROUP BY run.execution_id, run.error_count
    HAVING coalesce(run.error_count > count(DISTINCT failed.tenant_id), true) OR coalesce(bool_or(failed.part <> ''), false)
),

bad AS (
    SELECT failed.execution_id, failed.tenant_id
    FROM failed
    UNION
    SELECT unclear.execution_id, missing.tenant_id
    FROM unclear
    CROSS JOIN
        LATERAL (
            SELECT outcome.tenant_id
            FROM batch.board_outcome AS outcome
            WHERE outcome.execution_id = unclear.execution_id AND outcome.status = 'pending'
            -- Otherwise the planner reads the outcomes of all runs.
            LIMIT ALL OFFSET 0 -- noqa: AM09
        ) AS missing
),

newest AS (
    SELECT DISTINCT ON (run.batch_id, bad.tenant_id)
        bad.tenant_id, run.batch_id, run.dag_id, run.run_id, run.started_at
    FROM bad
    INNER JOIN run ON bad.execution_id = run.execution_id
    ORDER BY run.batch_id ASC, bad.tenant_id ASC, run.started_at DESC
),

failure AS (
    SELECT
        newest.tenant_id, count(*) AS batches,
        jsonb_agg(
            jsonb_build_object('batch_id', newest.batch_id, 'dag_id', newest.dag_id, 'run_id', newest.run_id)
            ORDER BY newest.batch_id
        ) AS failed
    FROM newest
    WHERE
        NOT EXISTS (
            SELECT FROM run AS later
            CROSS JOIN
                LATERAL (
                    SELECT FROM batch.board_outcome AS outcome
                    WHERE outcome.execution_id = later.execution_id AND outcome.tenant_id = newest.tenant_id
                    -- As above: by the key, not by all outcomes of the later runs.
                    LIMIT ALL OFFSET 0 -- noqa: AM09
                ) AS known
            WHERE later.batch_id = newest.batch_id AND later.started_at > newest.started_at
        )
    GROUP BY newest.tenant_id
),

incident AS (
    SELECT
        tenant_id, count(*) FILTER (WHERE severity = 'critical') AS critical,
        count(*) FILTER (WHERE severity = 'warning') AS warning
    FROM batch.board_incident
    WHERE %(sees_incidents)s AND closed_at IS null
    GROUP BY tenant_id
),

undelivered AS (
    SELECT tenant_id, count(*) AS messages
    FROM batch.board_message
    WHERE
        %(sees_messages)s AND status IN ('dead', 'expired', 'ambiguous')
        AND (NOT is_unwanted OR template_key = any(%(contract_letters)s))
    GROUP BY tenant_id
),

listed AS (
    SELECT
        tenant.tenant_id, tenant.tenant_code, tenant.tenant_name, tenant.status,
        coalesce(contract.terms ->> 'plan', tenant.subscription_plan) AS subscription_plan,
        coalesce(failure.failed, '[]') AS failed, coalesce(failure.batches, 0) AS batches,
        coalesce(incident.critical, 0) AS critical, coalesce(incident.warning, 0) AS warning,
        coalesce(undelivered.messages, 0) AS undelivered, stop.tenant_id IS NOT null AS is_stopped
    FROM batch.board_tenant AS tenant
    -- As in the block tenant_of.
    LEFT JOIN batch.board_contract_term AS contract
        ON
            tenant.tenant_id = contract.tenant_id AND contract.kind = 'plan' AND contract.valid_from <= %(today)s
            AND coalesce(contract.valid_to >= %(today)s, true)
    LEFT JOIN failure ON tenant.tenant_id = failure.tenant_id
    LEFT JOIN incident ON tenant.tenant_id = incident.tenant_id
    LEFT JOIN undelivered ON tenant.tenant_id = undelivered.tenant_id
    LEFT JOIN batch.board_message_stop AS stop ON %(sees_messages)s AND tenant.tenant_id = stop.tenant_id
    WHERE
        %(text)s = ''
        OR strpos(batch.folded(tenant.tenant_code), batch.folded(%(text)s)) > 0
        OR strpos(batch.folded(tenant.tenant_id), batch.folded(%(text)s)) > 0
        OR strpos(batch.folded(tenant.tenant_name), batch.folded(%(text)s)) > 0
),

judged AS (
    SELECT
        listed.*,
        listed.batches + listed.critical + listed.warning + listed.undelivered > 0 OR listed.is_stopped AS has_signs
    FROM listed
)

SELECT judged.*, count(*) OVER () AS hits
FROM judged
WHERE
    CASE %(problem)s
        WHEN 'any' THEN judged.has_signs
        WHEN 'failed' THEN judged.batches > 0
        WHEN 'incident' THEN judged.critical + judged.warning > 0
        WHEN 'message' THEN judged.undelivered > 0
        WHEN 'stopped' THEN judged.is_stopped
        ELSE true
    END
ORDER BY
    CASE
        WHEN %(sort)s = 'problems'
            THEN ARRAY[judged.batches, judged.critical, judged.undelivered, judged.warning, judged.is_stopped::integer]
    END DESC,
    CASE WHEN %(sort)s = 'name' THEN judged.tenant_name END ASC,
    judged.tenant_code ASC, judged.tenant_id ASC
LIMIT %(most)s OFFSET %(skipped)s;

-- name: tenants_vanished
-- The tenant, if the application has deleted it and rows of the batches still contain it.
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
WHERE
    tenant_id = %(tenant_id)s
    AND tenant_id NOT IN (SELECT known.tenant_id FROM batch.board_tenant AS known)
ORDER BY tenant_id
LIMIT 1;
