-- name: lock_requests
-- A run must see the requests of concurrent runs.
SELECT pg_advisory_xact_lock(%(lock)s);

-- name: open_items
-- Runs across tenants, as batch_platform. The items that wait for an answer.
SELECT
    item.request_id, request.asked_by, item.tenant_id, item.item_id, item.fingerprint
FROM batch.approval_item AS item
INNER JOIN batch.approval_request AS request ON item.request_id = request.request_id
WHERE request.kind = %(kind)s AND request.closed_at IS null AND item.superseded_by IS null
ORDER BY request.asked_at, item.request_id, item.tenant_id, item.item_id;

-- name: count_requests
SELECT count(*)
FROM batch.approval_request
WHERE asked_by = %(asked_by)s;

-- name: record_request
INSERT INTO batch.approval_request (request_id, kind, business_date, asked_by, dag_id, run_id)
VALUES (%(request_id)s, %(kind)s, %(business_date)s, %(asked_by)s, %(dag_id)s, %(run_id)s);

-- name: record_items
INSERT INTO batch.approval_item (
    request_id, tenant_id, item_id, tenant_code, tenant_name, held_by, fingerprint, figures, reason
)
SELECT
    %(request_id)s,
    item.tenant_id, item.item_id, item.tenant_code, item.tenant_name, item.held_by, item.fingerprint, item.figures, item.reason
FROM
    jsonb_to_recordset(%(items)s) AS item (
        tenant_id text, item_id text, tenant_code text, tenant_name text, held_by text, fingerprint text, figures jsonb,
        reason text
    );

-- name: supersede
-- Close older items that this request contains again, and requests without another open item.
WITH outdated AS (
    UPDATE batch.approval_item AS older
    SET superseded_by = %(request_id)s
    FROM batch.approval_item AS item, batch.approval_request AS request, batch.approval_request AS newer
    WHERE
        item.request_id = %(request_id)s AND older.tenant_id = item.tenant_id AND older.item_id = item.item_id
        AND older.request_id <> item.request_id AND older.answer IS null AND older.superseded_by IS null
        AND request.request_id = older.request_id AND newer.request_id = item.request_id
        AND request.kind = newer.kind AND request.asked_at < newer.asked_at
    RETURNING older.request_id, older.tenant_id, older.item_id
)

UPDATE batch.approval_request AS request
SET closed_at = now(), close_reason = 'superseded'
WHERE
    request.closed_at IS null AND request.request_id IN (SELECT outdated.request_id FROM outdated)
    AND NOT EXISTS (
        SELECT FROM batch.approval_item AS other
        WHERE
            other.request_id = request.request_id AND other.superseded_by IS null
            AND (other.request_id, other.tenant_id, other.item_id) NOT IN (
                SELECT
                    outdated.request_id,
                    outdated.tenant_id,
                    outdated.item_id
                FROM outdated
            )
    );

-- name: close_request
UPDATE batch.approval_request
SET closed_at = now(), close_reason = %(close_reason)s
WHERE request_id = %(request_id)s AND closed_at IS null;

-- name: open_requests
SELECT request_id, kind, business_date, asked_by, dag_id, run_id, asked_at, close_reason
FROM batch.approval_request
WHERE closed_at IS null AND asked_at < %(asked_before)s
ORDER BY asked_at, request_id;

-- name: move_request
UPDATE batch.approval_request
SET run_id = %(run_id)s
WHERE request_id = %(request_id)s AND closed_at IS null;

-- name: find_request
SELECT request_id, kind, business_date, asked_by, dag_id, run_id, asked_at, close_reason
FROM batch.approval_request
WHERE request_id = %(request_id)s OR (dag_id = %(dag_id)s AND run_id = %(run_id)s);

-- name: request_items
SELECT tenant_id, item_id, tenant_code, tenant_name, held_by, fingerprint, figures, reason
FROM batch.approval_item
WHERE request_id = %(request_id)s
ORDER BY tenant_code, tenant_id, item_id;

-- name: record_answer
-- An applied answer stays. A new answer (after a clear) replaces one that approved nothing.
UPDATE batch.approval_item
SET
    answer = CASE WHEN tenant_id = any(%(approved)s::text[]) THEN 'approve' ELSE 'hold' END,
    answered_by = %(answered_by)s,
    answered_at = %(answered_at)s,
    note = %(note)s,
    result = CASE WHEN tenant_id = any(%(approved)s::text[]) THEN null ELSE 'held' END,
    result_text = null,
    execution_id = null,
    decided_at = CASE WHEN tenant_id = any(%(approved)s::text[]) THEN null::timestamptz ELSE clock_timestamp() END
WHERE
    request_id = %(request_id)s AND result IS DISTINCT FROM 'approved'
    AND (answered_by, answered_at) IS DISTINCT FROM (%(answered_by)s, %(answered_at)s);

-- name: lock_item
-- Runs in the tenant's transaction.
SELECT item_id, fingerprint, figures, reason, superseded_by, answer, answered_by, result
FROM batch.approval_item
WHERE request_id = %(request_id)s AND tenant_id = %(tenant_id)s AND item_id = %(item_id)s
FOR UPDATE;

-- name: items_of_tenant
SELECT item_id
FROM batch.approval_item
WHERE request_id = %(request_id)s AND tenant_id = %(tenant_id)s
ORDER BY item_id;

-- name: record_result
UPDATE batch.approval_item
SET
    result = %(result)s,
    result_text = %(result_text)s,
    execution_id = %(execution_id)s,
    decided_at = clock_timestamp()
WHERE request_id = %(request_id)s AND tenant_id = %(tenant_id)s AND item_id = %(item_id)s;

-- name: unconfirmed
-- Runs across tenants, as batch_platform. The open requests of first runs after a pause: for messages, with their present number,
-- and for the drafts of a billing run.
SELECT
    request.request_id, request.dag_id, request.run_id, request.asked_at, request.kind,
    CASE request.kind WHEN 'resumption' THEN array_agg(item.item_id ORDER BY item.item_id) END AS batch_ids,
    min(item.reason) AS reason,
    CASE request.kind
        WHEN 'resumption'
            THEN (
                SELECT count(*) FROM batch.outbox AS message
                WHERE message.deferred_for = any(array_agg(item.item_id))
            )
        ELSE count(*)
    END AS waiting
FROM batch.approval_request AS request
INNER JOIN batch.approval_item AS item ON request.request_id = item.request_id
WHERE
    request.closed_at IS null AND item.superseded_by IS null
    AND (
        request.kind = 'resumption'
        OR (
            request.kind = 'invoices' AND EXISTS (
                SELECT FROM batch.execution_log AS log
                INNER JOIN batch.started_tick AS tick ON log.batch_id = tick.batch_id AND log.run_id = tick.run_id
                WHERE log.execution_id = request.asked_by AND tick.deferral_reason IS NOT null
            )
        )
    )
GROUP BY request.request_id
ORDER BY request.asked_at, request.request_id;
