-- name: list_tenants
-- A deleted tenant has its former code and name.
SELECT
    tenant.tenant_id,
    coalesce(former.tenant_code, tenant.tenant_code) AS tenant_code,
    coalesce(former.tenant_name, tenant.tenant_name) AS tenant_name,
    tenant.status, differing.tenant_status
FROM batch.all_tenant AS tenant
LEFT JOIN batch.all_former_tenant AS former ON tenant.tenant_id = former.tenant_id
LEFT JOIN batch.all_differing_status AS differing ON tenant.tenant_id = differing.tenant_id
ORDER BY tenant.tenant_id;

-- name: last_records
SELECT tenant_id, sum(records)::bigint AS records
FROM batch.tenant_outcome
WHERE
    records > 0
    AND execution_id = (
        SELECT log.execution_id FROM batch.execution_log AS log
        WHERE
            log.batch_id = %(batch_id)s AND log.status IN ('completed', 'partial') AND NOT log.dry_run
            AND log.total_tenants >= %(least_tenants)s
        ORDER BY log.started_at DESC
        LIMIT 1
    )
GROUP BY tenant_id;

-- name: past_work
-- The median of the mapped instances' seconds per tenant (wall time) in the last three comparable runs, and the newest run's
-- number of instances. Mapped tasks are found by index, because a family's DAG adds a prefix to task ids.
WITH latest AS (
    SELECT log.execution_id, log.started_at, log.total_tenants
    FROM batch.performance_metric AS performance
    INNER JOIN batch.execution_log AS log ON performance.execution_id = log.execution_id
    WHERE
        performance.batch_id = %(batch_id)s AND performance.is_comparable
        AND log.total_tenants >= greatest(1, %(least_tenants)s)
    ORDER BY log.started_at DESC
    LIMIT 3
),

worked AS (
    SELECT
        latest.started_at,
        count(*) AS shards,
        sum(metric.wall_seconds) / max(latest.total_tenants) AS seconds_per_tenant
    FROM latest
    INNER JOIN batch.task_metric AS metric
        ON latest.execution_id = metric.execution_id AND metric.map_index >= 0
    GROUP BY latest.execution_id, latest.started_at
)

SELECT
    percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds_per_tenant::double precision) AS seconds_per_tenant,
    coalesce((array_agg(shards ORDER BY started_at DESC))[1], 0) AS shards
FROM worked;

-- name: assigned_shards
-- A cleared run has an earlier execution.
SELECT tenant_id, part, shard
FROM batch.tenant_outcome
WHERE
    shard IS NOT null
    AND execution_id = (
        SELECT log.execution_id FROM batch.execution_log AS log
        WHERE log.dag_id = %(dag_id)s AND log.run_id = %(run_id)s AND log.batch_id = %(batch_id)s
        ORDER BY log.started_at DESC
        LIMIT 1
    );

-- name: expect_tenants
-- A cleared run goes on with what its earlier execution has done and found, and with the size of its work.
WITH earlier AS (
    SELECT tenant_id, part, details, effects, records
    FROM batch.tenant_outcome
    WHERE
        execution_id = (
            SELECT log.execution_id FROM batch.execution_log AS log
            WHERE
                log.dag_id = %(dag_id)s AND log.run_id = %(run_id)s AND log.batch_id = %(batch_id)s
                AND log.execution_id <> %(execution_id)s
            ORDER BY log.started_at DESC
            LIMIT 1
        )
)

INSERT INTO batch.tenant_outcome (execution_id, tenant_id, part, shard, status, details, effects, records)
SELECT
    %(execution_id)s, expected.tenant_id, expected.part, expected.shard, 'pending' AS status,
    coalesce(earlier.details, '{}') AS details,
    coalesce(earlier.effects, '{}') AS effects,
    coalesce(earlier.records, 0) AS records
FROM unnest(%(tenant_ids)s::text[], %(parts)s::text[], %(shards)s::integer[]) AS expected (tenant_id, part, shard)
LEFT JOIN earlier ON expected.tenant_id = earlier.tenant_id AND expected.part = earlier.part
ORDER BY expected.tenant_id, expected.part;

-- name: add_effects
UPDATE batch.tenant_outcome
SET effects = batch.add_figures(effects, %(effects)s)
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND part = %(part)s;

-- name: tenants_of_run
SELECT DISTINCT tenant_id
FROM batch.tenant_outcome
WHERE execution_id = %(execution_id)s
ORDER BY tenant_id;

-- name: begin_shard
-- All tenants of the shard, and whether this attempt works on them. The statuses are those before the update.
WITH listed AS (
    SELECT
        tenant_id,
        part,
        CASE %(scope)s
            WHEN 'unfinished' THEN status <> 'success'
            WHEN 'interrupted' THEN status = 'pending' OR coalesce(error_code = any(%(interrupted)s), false)
            ELSE true
        END AS is_in_scope
    FROM batch.tenant_outcome
    WHERE execution_id = %(execution_id)s AND shard = %(shard)s
),

begun AS (
    UPDATE batch.tenant_outcome AS outcome
    SET status = 'pending', error_code = null, error_message = null, recorded_at = clock_timestamp()
    FROM listed
    WHERE
        outcome.execution_id = %(execution_id)s AND outcome.tenant_id = listed.tenant_id AND outcome.part = listed.part
        AND listed.is_in_scope AND outcome.status <> 'pending'
)

SELECT tenant_id, is_in_scope
FROM listed
ORDER BY tenant_id;

-- name: record_outcomes
-- effects: what the caller's transaction has done. The figures of all attempts replace those of this one in the details. An
-- attempt without details failed, or found its work done: it keeps the earlier ones. The records are the size of the work, which
-- is smaller for an attempt that goes on after another.
INSERT INTO batch.tenant_outcome AS recorded (
    execution_id, tenant_id, part, status, details, effects, notes, records, error_code, error_message, attempts, has_worked
)
SELECT
    %(execution_id)s,
    outcome.tenant_id,
    %(part)s,
    outcome.status, outcome.details, outcome.effects, outcome.notes, outcome.records, outcome.error_code,
    outcome.error_message,
    (outcome.status <> 'pending')::integer AS attempts,
    outcome.status <> 'failed' AS has_worked
FROM
    jsonb_to_recordset(%(outcomes)s) AS outcome (
        tenant_id text, status text, details jsonb, effects jsonb, notes text[], records bigint, error_code text,
        error_message text
    )
ORDER BY outcome.tenant_id
ON CONFLICT (execution_id, tenant_id, part) DO UPDATE SET
    status = excluded.status,
    effects = batch.add_figures(recorded.effects, excluded.effects),
    details
    = CASE excluded.details WHEN '{}' THEN recorded.details ELSE excluded.details END
    || batch.add_figures(recorded.effects, excluded.effects),
    notes = excluded.notes,
    records = greatest(recorded.records, excluded.records),
    error_code = excluded.error_code, error_message = excluded.error_message,
    attempts = recorded.attempts + excluded.attempts,
    has_worked = recorded.has_worked OR excluded.has_worked,
    recorded_at = clock_timestamp();

-- name: unworked_tenants
-- The listed tenants whose work no attempt of the run has committed.
SELECT listed.tenant_id
FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
WHERE
    NOT EXISTS (
        SELECT FROM batch.tenant_outcome AS recorded
        WHERE
            recorded.execution_id = %(execution_id)s AND recorded.tenant_id = listed.tenant_id AND recorded.has_worked
    )
ORDER BY listed.tenant_id;

-- name: fail_unfinished
UPDATE batch.tenant_outcome
SET
    status = 'failed',
    details = details || effects,
    error_code = %(error_code)s,
    error_message = %(error_message)s,
    recorded_at = clock_timestamp()
WHERE execution_id = %(execution_id)s AND status = 'pending';

-- name: fail_shard
UPDATE batch.tenant_outcome
SET
    status = 'failed',
    details = details || effects,
    error_code = %(error_code)s,
    error_message = %(error_message)s,
    recorded_at = clock_timestamp()
WHERE execution_id = %(execution_id)s AND shard = %(shard)s AND status = 'pending';

-- name: note_differing_statuses
UPDATE batch.tenant_outcome AS outcome
SET notes = outcome.notes || noted.note
FROM (
    SELECT
        tenant_id,
        format('tenant_status は %%s ですが、status の %%s に従いました', tenant_status, status) AS note
    FROM batch.all_differing_status
) AS noted
WHERE
    outcome.execution_id = %(execution_id)s AND outcome.tenant_id = noted.tenant_id
    AND noted.note <> all(outcome.notes);

-- name: failed_tenants
-- Unsuccessful tenants, for operators. A tenant with several parts is listed once. Without a name in the host, the id is shown.
SELECT
    coalesce(tenant.tenant_code, outcome.tenant_id) AS tenant_code,
    coalesce(tenant.tenant_name, outcome.tenant_id) AS tenant_name,
    outcome.reason,
    outcome.error_codes
FROM (
    SELECT
        tenant_id,
        string_agg(
            concat_ws(': ', nullif(part, ''), coalesce(error_message, '処理されませんでした')), '、' ORDER BY part
        ) AS reason,
        array_remove(array_agg(DISTINCT error_code), null) AS error_codes
    FROM batch.tenant_outcome
    WHERE execution_id = %(execution_id)s AND status <> 'success'
    GROUP BY tenant_id
) AS outcome
LEFT JOIN batch.all_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
ORDER BY outcome.tenant_id;
