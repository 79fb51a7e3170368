SELECT message_id
FROM batch.outbox
WHERE host_log_id IS NOT null AND mirrored_status <> status AND status <> 'sending';
