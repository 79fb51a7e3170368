-- name: earlier_remarks
SELECT recorded_at, problem IS NOT null AS has_problem, is_reported
FROM batch.run_remark
WHERE step = %(step)s AND execution_id <> %(execution_id)s
ORDER BY recorded_at DESC
LIMIT %(count)s;

-- name: record_remark
-- The effects of the run's earlier attempts of this step, also of its earlier executions, are in the last note.
WITH earlier AS (
    SELECT remark.details
    FROM batch.attempts_of(%(execution_id)s) AS attempt (execution_id)
    INNER JOIN batch.run_remark AS remark ON attempt.execution_id = remark.execution_id AND remark.step = %(step)s
    ORDER BY remark.recorded_at DESC
    LIMIT 1
),

effect AS (
    SELECT figure.key AS name, sum(figure.value::numeric) AS total
    FROM (
        SELECT details FROM earlier
        UNION ALL
        SELECT %(details)s::jsonb
    ) AS note
    CROSS JOIN LATERAL jsonb_each(note.details) AS figure
    WHERE figure.key = any(%(effects)s)
    GROUP BY figure.key
)

INSERT INTO batch.run_remark (execution_id, step, details, problem, is_reported, recorded_at)
SELECT
    %(execution_id)s,
    %(step)s,
    %(details)s::jsonb || (SELECT coalesce(jsonb_object_agg(effect.name, effect.total), '{}') FROM effect),
    %(problem)s,
    %(is_reported)s,
    %(recorded_at)s
ON CONFLICT (execution_id, step) DO UPDATE
    SET
        details = excluded.details,
        problem = excluded.problem,
        is_reported = excluded.is_reported,
        recorded_at = excluded.recorded_at;

-- name: load_remarks
SELECT step, details, problem, is_reported
FROM batch.run_remark
WHERE execution_id = %(execution_id)s
ORDER BY step;

-- name: record_digest
UPDATE batch.execution_log
SET result = result || jsonb_build_object('digest', %(lines)s::jsonb)
WHERE execution_id = %(execution_id)s;
