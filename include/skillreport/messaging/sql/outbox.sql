-- name: enqueue
-- A message is stored once: a second request finds the existing key.
INSERT INTO batch.outbox (
    message_id, tenant_id, dedupe_key, channel, destination, subject, body, rich, priority, host_log_id,
    template_key, language, status, finished_at, due_at, next_attempt_at, dedupe_until, created_by
)
SELECT
    gen_random_uuid()::text AS message_id,
    message.tenant_id, message.dedupe_key, message.channel, message.destination, message.subject,
    message.body, message.rich, message.priority, message.host_log_id, message.template_key, message.language,
    CASE WHEN message.is_merged THEN 'merged' ELSE 'pending' END AS status,
    CASE WHEN message.is_merged THEN message.due_at END AS finished_at,
    message.due_at,
    message.due_at AS next_attempt_at,
    message.dedupe_until,
    %(created_by)s
FROM
    jsonb_to_recordset(%(messages)s) AS message (
        tenant_id text, dedupe_key text, channel text, destination text, subject text, body text, rich jsonb,
        priority smallint, host_log_id text, template_key text, language text, is_merged boolean,
        due_at timestamptz, dedupe_until timestamptz
    )
ORDER BY message.tenant_id, message.dedupe_key
ON CONFLICT (tenant_id, dedupe_key) DO NOTHING
RETURNING message_id;

-- name: load_statuses
SELECT tenant_id, dedupe_key, status
FROM batch.outbox
WHERE dedupe_key = any(%(dedupe_keys)s);

-- name: due_lanes
-- Tenants and channels with due messages, without closed channels.
SELECT DISTINCT message.tenant_id, message.channel
FROM batch.outbox AS message
WHERE
    message.status = any(%(statuses)s) AND message.next_attempt_at <= %(now)s AND message.deferred_for IS null
    AND NOT EXISTS (
        SELECT FROM batch.message_stop AS stop
        WHERE stop.tenant_id = message.tenant_id AND coalesce(message.template_key <> all(stop.still_sent), true)
    )
    AND NOT EXISTS (
        SELECT FROM batch.channel_circuit AS circuit
        WHERE circuit.tenant_id = message.tenant_id AND circuit.channel = message.channel
    )
ORDER BY message.tenant_id, message.channel;

-- name: claim
-- Claim due messages. The present state of a message's row in the application decides about the message. The claim is committed
-- before anything is sent. Two senders never get the same row: each skips locked rows, and a claimed row is not due.
-- deferred_for: users have not yet approved that the paused batch resumes. message_stop: an operator has stopped the tenant's
-- messages. The lease uses the database's clock, because workers' clocks may differ. apart: one message for each destination that
-- is not busy. An e-mail waits until its file is written.
WITH next_of_each AS (
    SELECT DISTINCT ON (destination) message_id
    FROM batch.outbox
    WHERE
        %(apart)s
        AND tenant_id = %(tenant_id)s AND channel = %(channel)s AND status = any(%(statuses)s)
        AND next_attempt_at <= %(now)s AND due_at <= %(due_before)s AND deferred_for IS null
        AND destination <> all(%(busy)s)
        AND NOT EXISTS (
            SELECT FROM batch.message_stop AS stop
            WHERE stop.tenant_id = outbox.tenant_id AND coalesce(outbox.template_key <> all(stop.still_sent), true)
        )
    ORDER BY destination, priority, next_attempt_at, due_at, message_id
),

due AS (
    SELECT message_id, channel, host_log_id
    FROM batch.outbox
    WHERE
        tenant_id = %(tenant_id)s AND channel = %(channel)s AND status = any(%(statuses)s)
        AND next_attempt_at <= %(now)s AND due_at <= %(due_before)s AND deferred_for IS null
        AND NOT EXISTS (
            SELECT FROM batch.message_stop AS stop
            WHERE stop.tenant_id = outbox.tenant_id AND coalesce(outbox.template_key <> all(stop.still_sent), true)
        )
        AND (NOT %(apart)s OR message_id IN (SELECT next_of_each.message_id FROM next_of_each))
    -- A postponed message comes after messages that are due earlier, so a recipient that always fails does not block others.
    ORDER BY priority, next_attempt_at, due_at, message_id
    LIMIT %(count)s
    FOR UPDATE SKIP LOCKED
),

-- Use an array, not a join: only a comparison with a value reaches the index of the application's table through the view.
shown AS (
    SELECT *
    FROM batch.tenant_notification_now
    WHERE id = any(array(SELECT due.host_log_id FROM due))
),

-- The lock keeps these rows from being withdrawn before the claim is committed. Rows that are being changed are skipped.
unchanged AS (
    SELECT id
    FROM batch.tenant_notification
    WHERE id = any(array(SELECT due.host_log_id FROM due)) AND NOT is_deleted
    FOR SHARE SKIP LOCKED
),

judged AS (
    SELECT
        due.message_id,
        shown.channel,
        shown.destination,
        shown.subject,
        shown.body,
        shown.is_html,
        shown.most_attempts,
        shown.scheduled_at_utc AT TIME ZONE 'UTC' AS scheduled_at,
        file.file_name,
        file.object_key,
        file.sha256,
        file.is_attached,
        file.attached_text,
        file.unattached_text,
        (
            SELECT jsonb_agg(jsonb_build_array(named.kind, named.address) ORDER BY named.place)
            FROM batch.letter_copy AS named
            WHERE named.tenant_id = %(tenant_id)s AND named.letter_id = copy.letter_id
        ) AS recipients,
        CASE
            WHEN due.host_log_id IS null THEN 'send'
            WHEN shown.id IS null OR shown.is_withdrawn THEN 'withdraw'
            WHEN shown.id <> all(array(SELECT unchanged.id FROM unchanged)) THEN 'locked'
            WHEN shown.is_switched_off THEN 'switched_off'
            WHEN shown.scheduled_at_utc AT TIME ZONE 'UTC' > %(now)s THEN 'postpone'
            WHEN shown.channel IS null THEN 'withdraw'
            WHEN shown.channel <> due.channel THEN 'move'
            WHEN file.file_name IS NOT null AND file.sha256 IS null THEN 'wait'
            ELSE 'send'
        END AS verdict
    FROM due
    LEFT JOIN shown ON due.host_log_id = shown.id
    LEFT JOIN batch.letter_copy AS copy
        ON copy.tenant_id = %(tenant_id)s AND due.host_log_id = copy.notification_id
    -- A copy contains the file of its original.
    LEFT JOIN batch.letter_file AS file
        ON file.tenant_id = %(tenant_id)s AND coalesce(copy.letter_id, due.host_log_id) = file.notification_id
),

claimed AS (
    UPDATE batch.outbox AS message
    SET
        status = CASE judged.verdict WHEN 'send' THEN 'sending' WHEN 'withdraw' THEN 'withdrawn' ELSE message.status END,
        lease_owner = CASE WHEN judged.verdict = 'send' THEN %(owner)s END,
        lease_until = CASE WHEN judged.verdict = 'send' THEN clock_timestamp() + %(lease)s END,
        finished_at = CASE WHEN judged.verdict = 'withdraw' THEN %(now)s::timestamptz END,
        channel = CASE WHEN judged.verdict = 'move' THEN judged.channel ELSE message.channel END,
        destination = coalesce(judged.destination, message.destination),
        most_attempts = judged.most_attempts,
        due_at = CASE WHEN judged.verdict = 'postpone' THEN judged.scheduled_at ELSE message.due_at END,
        next_attempt_at = CASE judged.verdict
            WHEN 'postpone' THEN judged.scheduled_at
            WHEN 'switched_off' THEN %(now)s + interval '1 hour'
            WHEN 'wait' THEN %(now)s + interval '10 minutes'
            WHEN 'locked' THEN %(now)s + interval '1 minute'
            ELSE message.next_attempt_at
        END,
        error_code = CASE judged.verdict
            WHEN 'withdraw' THEN 'withdrawn'
            WHEN 'switched_off' THEN 'switched_off'
            WHEN 'wait' THEN 'file_unwritten'
            ELSE message.error_code
        END,
        error_detail = CASE judged.verdict
            WHEN 'withdraw' THEN 'アプリケーションが取り消したか、種類（notification_type）が分かりません'
            WHEN 'switched_off' THEN '通知設定（MST_NotificationSettings）が無効です'
            WHEN 'wait' THEN '添付する書類がまだ書き込まれていません。BATCH-018-02 か operate_invoices のタスクを再実行してください'
            ELSE message.error_detail
        END
    FROM judged
    WHERE message.message_id = judged.message_id
    RETURNING
        judged.verdict, message.message_id, message.tenant_id, message.channel, message.destination, message.subject,
        message.body, message.rich, message.attempts, message.most_attempts, message.host_log_id, message.template_key,
        message.language, message.priority, message.due_at, judged.subject AS host_subject, judged.body AS host_body,
        judged.is_html AS host_is_html, judged.file_name, judged.object_key, judged.sha256, judged.is_attached,
        judged.attached_text, judged.unattached_text, judged.recipients
)

SELECT claimed.*, tenant.tenant_name, tenant.tenant_name_en
FROM claimed
LEFT JOIN batch.tenant USING (tenant_id)
ORDER BY claimed.priority, claimed.due_at, claimed.message_id;

-- name: refresh_text
-- The application has changed the text since the message was queued.
UPDATE batch.outbox
SET subject = %(subject)s, body = %(body)s, rich = %(rich)s
WHERE message_id = %(message_id)s;

-- name: has_due
SELECT
    exists(
        SELECT FROM batch.outbox
        WHERE
            tenant_id = %(tenant_id)s AND channel = %(channel)s AND status = any(%(statuses)s)
            AND next_attempt_at <= %(now)s AND due_at <= %(due_before)s AND deferred_for IS null
            AND NOT EXISTS (
                SELECT FROM batch.message_stop AS stop
                WHERE stop.tenant_id = outbox.tenant_id AND coalesce(outbox.template_key <> all(stop.still_sent), true)
            )
    );

-- name: leases
SELECT tenant_id, count(*)::int AS messages, max(lease_until) AS until
FROM batch.outbox
WHERE status = 'sending'
GROUP BY tenant_id;

-- name: mark_alive
-- A session lock: PostgreSQL releases it when the session ends. Shared, because two owners may have the same hash.
SELECT pg_advisory_lock_shared(%(lock)s, hashtext(%(owner)s));

-- name: mark_gone
SELECT pg_advisory_unlock_shared(%(lock)s, hashtext(%(owner)s));

-- name: release_unsent
-- The claim was committed, but its answer was lost with the connection. None of its messages was sent.
UPDATE batch.outbox
SET status = CASE WHEN attempts > 0 THEN 'retry' ELSE 'pending' END, lease_owner = null, lease_until = null
WHERE status = 'sending' AND lease_owner = %(owner)s AND message_id <> all(%(known)s);

-- name: revive_doubted
-- E-mails that were accepted and bounced later are left out: they have the server's id.
UPDATE batch.outbox AS message
SET
    status = CASE WHEN message.attempts > 1 THEN 'retry' ELSE 'pending' END,
    attempts = greatest(message.attempts - 1, 0),
    next_attempt_at = %(now)s,
    finished_at = null,
    reported_by = null
FROM batch.service_limit AS service
WHERE
    service.limit_key = %(limit_key)s
    AND message.tenant_id = any(%(tenant_ids)s) AND message.channel = 'email'
    AND message.status = 'dead' AND message.error_code = any(%(codes)s) AND message.provider_message_id IS null
    AND message.finished_at BETWEEN service.doubted_from - interval '1 minute' AND service.doubted_until
RETURNING message.message_id;

-- name: release_switched_on
-- Messages whose hour is over. Messages that are still switched off are held again.
UPDATE batch.outbox
SET error_code = null, error_detail = null
WHERE status IN ('pending', 'retry') AND error_code = 'switched_off' AND next_attempt_at <= %(now)s;

-- name: postpone_switched_off
-- Messages of a channel or a kind of reminder that the tenant has switched off: reminders and the application's messages.
-- Contract letters and other e-mails to its administrators are still sent.
UPDATE batch.outbox AS message
SET
    next_attempt_at = %(now)s + interval '1 hour',
    error_code = 'switched_off',
    error_detail = switched_off.reason
FROM
    jsonb_to_recordset(%(switched_off)s) AS switched_off (
        tenant_id text, channel text, template_key text, reason text
    )
WHERE
    message.tenant_id = switched_off.tenant_id AND message.status IN ('pending', 'retry')
    AND message.next_attempt_at <= %(now)s
    AND (
        message.template_key = switched_off.template_key
        OR (
            message.channel = switched_off.channel AND switched_off.template_key IS null
            AND coalesce(message.template_key <> all(%(never_switched_off)s), message.host_log_id IS NOT null)
        )
    );

-- name: postpone_quiet
-- In quiet hours only urgent messages (priority 1) are sent. The others wait until the quiet hours end.
UPDATE batch.outbox AS message
SET next_attempt_at = quiet.ends_at
FROM unnest(%(tenant_ids)s::text[], %(ends_at)s::timestamptz[]) AS quiet (tenant_id, ends_at)
WHERE
    message.tenant_id = quiet.tenant_id AND message.status IN ('pending', 'retry')
    AND message.priority > 1 AND message.next_attempt_at < quiet.ends_at;

-- name: park_crashed
-- Messages whose sender was lost may have arrived. Those of the channels in attempts may be repeated.
UPDATE batch.outbox
SET
    status = CASE
        WHEN
            %(attempts)s::jsonb ? channel
            AND attempts + 1 < least((%(attempts)s::jsonb ->> channel)::integer, most_attempts)
            THEN 'retry'
        ELSE 'ambiguous'
    END,
    attempts = attempts + 1,
    next_attempt_at = %(now)s,
    lease_owner = null,
    lease_until = null,
    error_code = 'sender_lost',
    error_class = 'network',
    error_detail = '送信中にワーカーが失われ、届いたか分かりません',
    -- As in record_results.
    reported_by = null
WHERE
    status = 'sending' AND lease_until < clock_timestamp()
    -- mark_alive: a sender with this lock is running, and its lease has expired because a clock jumped. The lock does not count
    -- after longest_jump, because the server notices late that a worker's host is gone.
    AND (
        lease_until < clock_timestamp() - %(longest_jump)s
        OR hashtext(lease_owner)::oid <> all(
            array(
                SELECT alive.objid
                FROM pg_locks AS alive
                INNER JOIN pg_database ON alive.database = pg_database.oid
                WHERE alive.locktype = 'advisory' AND alive.classid = %(lock)s AND pg_database.datname = current_database()
            )
        )
    )
RETURNING message_id, status;

-- name: record_results
-- Only the owner of the lease records a result. If the lease expired, park_crashed has already changed the row. The run counts
-- the results that were recorded, so that a kill or a repetition changes no figure.
WITH recorded AS (
    UPDATE batch.outbox AS message
    SET
        status = result.status,
        attempts = result.attempts,
        next_attempt_at = result.next_attempt_at,
        lease_owner = null,
        lease_until = null,
        provider_message_id = result.provider_message_id,
        error_code = result.error_code,
        error_class = result.error_class,
        error_detail = result.error_detail,
        -- A contract letter may have been reported as waiting. Its failure is reported too.
        reported_by = CASE WHEN result.status NOT IN ('dead', 'ambiguous') THEN message.reported_by END,
        finished_at = CASE WHEN result.status IN ('sent', 'dead') THEN %(now)s::timestamptz END,
        -- A message that was parked as lost may have been held since.
        deferred_for = CASE WHEN result.status <> 'sent' THEN message.deferred_for END
    FROM
        jsonb_to_recordset(%(results)s) AS result (
            message_id text, status text, attempts integer, next_attempt_at timestamptz, provider_message_id text,
            error_code text, error_class text, error_detail text
        )
    WHERE
        message.message_id = result.message_id
        AND (
            (message.status = 'sending' AND message.lease_owner = %(owner)s)
            -- The message was parked as lost, but it has arrived.
            OR (result.status = 'sent' AND message.status IN ('retry', 'ambiguous') AND message.error_code = 'sender_lost')
        )
    RETURNING message.tenant_id, message.channel, message.status
),

counted AS (
    SELECT figures.tenant_id, jsonb_object_agg(figures.name, figures.messages) AS effects
    FROM (
        SELECT recorded.tenant_id, figure.name, count(*) AS messages
        FROM recorded
        CROSS JOIN
            LATERAL (
                VALUES
                ('totalNotifications'),
                ((%(words)s::jsonb ->> recorded.status) || 'Count'),
                ((%(words)s::jsonb ->> recorded.status) || '_' || recorded.channel)
            ) AS figure (name)
        WHERE figure.name IS NOT null
        GROUP BY recorded.tenant_id, figure.name
    ) AS figures
    GROUP BY figures.tenant_id
)

UPDATE batch.tenant_outcome AS outcome
SET effects = batch.add_figures(outcome.effects, counted.effects)
FROM counted
WHERE outcome.execution_id = %(execution_id)s AND outcome.tenant_id = counted.tenant_id AND outcome.part = '';
