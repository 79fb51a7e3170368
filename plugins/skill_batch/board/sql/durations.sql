-- name: durations
-- Each batch's ended runs in a period, without dry runs: numbers, figures, the longest run, and the average duration of the
-- previous period.
WITH run AS (
    SELECT
        run.batch_id, run.dag_id, run.run_id, run.started_at, run.status, run.error_count, metric.records_processed,
        coalesce(metric.execution_seconds, extract(EPOCH FROM run.ended_at - run.started_at)) AS seconds,
        run.started_at >= %(since)s AS is_in_period
    FROM batch.board_run AS run
    LEFT JOIN batch.board_performance AS metric ON run.execution_id = metric.execution_id
    WHERE
        run.started_at >= %(earlier)s AND run.started_at < %(until)s AND run.batch_id = any(%(batch_ids)s)
        AND run.status <> 'running' AND NOT run.dry_run
)

SELECT
    batch_id,
    count(*) FILTER (WHERE is_in_period) AS runs,
    sum(seconds) FILTER (WHERE is_in_period) AS seconds,
    avg(seconds) FILTER (WHERE is_in_period) AS average_seconds,
    max(seconds) FILTER (WHERE is_in_period) AS longest_seconds,
    (array_agg(dag_id ORDER BY seconds DESC, started_at ASC) FILTER (WHERE is_in_period))[1] AS longest_dag_id,
    (array_agg(run_id ORDER BY seconds DESC, started_at ASC) FILTER (WHERE is_in_period))[1] AS longest_run_id,
    avg(seconds) FILTER (WHERE NOT is_in_period) AS earlier_seconds,
    coalesce(sum(records_processed) FILTER (WHERE is_in_period), 0) AS records,
    count(*) FILTER (WHERE is_in_period AND status <> 'completed') AS failed_runs,
    coalesce(sum(error_count) FILTER (WHERE is_in_period), 0) AS failed_tenants
FROM run
GROUP BY batch_id
HAVING bool_or(is_in_period)
ORDER BY batch_id;

-- name: slowest_instances
SELECT task_id, map_index, wall_seconds, cpu_seconds, peak_memory_bytes
FROM batch.board_task
WHERE execution_id = %(execution_id)s
ORDER BY wall_seconds DESC, task_id ASC, map_index ASC
LIMIT %(most)s;

-- name: units_of_shards
-- The tenants of some shards of a run. A shard's number is its instance's index.
SELECT
    outcome.shard, outcome.tenant_id, outcome.part, tenant.tenant_code, coalesce(tenant.tenant_name, '') AS tenant_name
FROM batch.board_outcome AS outcome
INNER JOIN batch.board_tenant AS tenant ON outcome.tenant_id = tenant.tenant_id
WHERE outcome.execution_id = %(execution_id)s AND outcome.shard = any(%(shards)s::integer[])
ORDER BY outcome.tenant_id, outcome.part;
