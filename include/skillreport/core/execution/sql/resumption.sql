-- name: find_tick
-- A run is repeated if it was opened before, or if a later tick has started and replaced its row. is_unconfirmed: messages of an
-- earlier run are held and not approved yet.
SELECT
    coalesce(bool_or(ticked_at = %(ticked_at)s), false) AS is_decided,
    max(CASE WHEN ticked_at = %(ticked_at)s THEN deferral_reason END) AS deferral_reason,
    max(CASE WHEN ticked_at < %(ticked_at)s THEN ticked_at END) AS last_tick,
    coalesce(bool_or(ticked_at > %(ticked_at)s), false) OR EXISTS (
        SELECT FROM batch.execution_log
        WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s
    ) AS is_repeated,
    exists(
        SELECT FROM batch.outbox
        WHERE deferred_for = %(batch_id)s
    ) AS is_unconfirmed
FROM batch.started_tick
WHERE batch_id = %(batch_id)s;

-- name: record_tick
-- Keep the batch's last tick, and for a year the ticks of runs with held messages, because a clear keeps the decision.
WITH outdated AS (
    DELETE FROM batch.started_tick
    WHERE
        batch_id = %(batch_id)s AND ticked_at < %(ticked_at)s
        AND (deferral_reason IS null OR ticked_at < %(ticked_at)s::timestamptz - interval '1 year')
)

INSERT INTO batch.started_tick (batch_id, ticked_at, run_id, deferral_reason)
VALUES (%(batch_id)s, %(ticked_at)s, %(run_id)s, %(deferral_reason)s)
ON CONFLICT DO NOTHING;
