-- name: earlier_remarks
SELECT recorded_at, problem IS NOT null AS has_problem, is_reported
FROM batch.run_remark
WHERE step = %(step)s AND execution_id <> %(execution_id)s
ORDER BY recorded_at DESC
LIMIT %(count)s;

-- name: record_remark
INSERT INTO batch.run_remark (execution_id, step, details, problem, is_reported, recorded_at)
VALUES (%(execution_id)s, %(step)s, %(details)s, %(problem)s, %(is_reported)s, %(recorded_at)s)
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
