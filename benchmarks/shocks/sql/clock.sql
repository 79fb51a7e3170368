-- name: sending
-- Messages in flight.
SELECT count(*)::integer FROM batch.outbox
WHERE status = 'sending';
