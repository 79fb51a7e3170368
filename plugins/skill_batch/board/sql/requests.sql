-- name: open_requests
-- The unanswered requests of a kind, with the numbers of items, and of items no longer held as shown.
SELECT
    request.business_date, request.dag_id, request.run_id, request.asked_at, count(*) AS items,
    count(*) FILTER (WHERE NOT item.is_current) AS outdated, count(*) OVER () AS hits
FROM batch.board_approval_request AS request
INNER JOIN batch.board_approval_item AS item ON request.request_id = item.request_id
WHERE request.kind = %(kind)s AND request.closed_at IS null AND item.answer IS null AND item.superseded_by IS null
GROUP BY request.request_id, request.business_date, request.dag_id, request.run_id, request.asked_at
ORDER BY request.asked_at DESC
LIMIT %(most)s;

-- name: open_resumptions
-- The batches whose messages wait after a pause, with the present number of messages.
SELECT
    request.dag_id, request.run_id, request.asked_at, item.item_id AS batch_id, item.reason,
    (
        SELECT count(*) FROM batch.board_message AS message
        WHERE message.deferred_for = item.item_id
    ) AS messages
FROM batch.board_approval_request AS request
INNER JOIN batch.board_approval_item AS item ON request.request_id = item.request_id
WHERE request.kind = 'resumption' AND request.closed_at IS null AND item.answer IS null AND item.superseded_by IS null
ORDER BY request.asked_at, item.item_id;
