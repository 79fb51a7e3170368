-- The run's messages as they are now, without those that an operator has requeued, and those whose notification has stayed.
SELECT
    message.message_id,
    (message.finished_at AT TIME ZONE 'UTC')::text AS finished_at,
    row_to_json(message)::text AS line
FROM batch.outbox AS message
WHERE
    message.message_id = any(%(ids)s) AND message.tenant_id = %(tenant_id)s
    AND message.finished_at AT TIME ZONE 'UTC' < %(cutoff)s AND message.dedupe_until <= %(today)s
    AND coalesce(
        message.host_log_id <> all(
            array(
                SELECT shown.id FROM batch.tenant_notification AS shown
                WHERE
                    shown.id = any(
                        array(
                            SELECT other.host_log_id FROM batch.outbox AS other
                            WHERE other.message_id = any(%(ids)s)
                        )
                    )
            )
        ),
        true
    )
ORDER BY message.message_id;
