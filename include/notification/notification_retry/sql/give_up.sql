-- What kept a message so long (a closed channel, quiet hours, an outage) does not matter: nobody wants it any more.
UPDATE batch.outbox AS message
SET
    status = 'expired',
    finished_at = %(now)s,
    error_code = 'expired',
    error_detail = concat(
        '予定から ', tenant.give_up_hours::text, ' 時間を過ぎたため送信をやめました', '（' || message.error_detail || '）'
    )
FROM
    unnest(%(tenant_ids)s::text[], %(give_up_hours)s::integer[]) AS tenant (tenant_id, give_up_hours)
WHERE
    message.tenant_id = tenant.tenant_id AND message.status IN ('pending', 'retry')
    AND message.due_at < %(until)s::timestamptz - tenant.give_up_hours * interval '1 hour'
RETURNING message.message_id;
