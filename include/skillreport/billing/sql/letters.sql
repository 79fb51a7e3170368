-- name: load_contacts
-- The present recipients of the e-mails of the transaction's tenants. BATCH-019-01 sends none to a deleted tenant.
SELECT
    listed.tenant_id,
    CASE
        WHEN tenant.tenant_id IS NOT null THEN coalesce(profile.email, tenant.contact_email, tenant.admin_email)
    END AS email,
    coalesce(profile.further_emails, '{}') AS further_emails,
    coalesce(profile.cc_emails, '{}') AS cc_emails,
    profile.pdf_delivery
FROM unnest((SELECT batch.current_tenants())::text[]) AS listed (tenant_id)
LEFT JOIN batch.tenant ON listed.tenant_id = tenant.tenant_id
LEFT JOIN batch.billing_profile AS profile ON listed.tenant_id = profile.tenant_id;

-- name: credit_note_letters
SELECT letter.id
FROM unnest(%(letter_ids)s::text[]) AS letter (id)
INNER JOIN batch.invoice ON split_part(letter.id, '-copy-', 1) = 'invoice-' || invoice.invoice_id
WHERE invoice.kind = 'credit';

-- name: queue_letters
-- One letter per document: a second request for the same document changes nothing. BATCH-019-01 sends it.
WITH letter AS (
    SELECT *
    FROM
        unnest(
            %(notification_id_list)s::text[],
            %(tenant_id_list)s::text[],
            %(recipient_address_list)s::text[],
            %(letter_id_list)s::text[],
            %(place_list)s::integer[],
            %(kind_list)s::text[],
            %(subject_list)s::text[],
            %(message_body_list)s::text[],
            %(file_name_list)s::text[],
            %(object_key_list)s::text[],
            %(attached_text_list)s::text[],
            %(unattached_text_list)s::text[],
            %(sha256_list)s::text[],
            %(bytes_list)s::bigint[],
            %(is_attached_list)s::boolean[]
        ) AS letter (
            notification_id, tenant_id, recipient_address, letter_id, place, kind, subject, message_body, file_name,
            object_key, attached_text, unattached_text, sha256, bytes, is_attached
        )
),

copies AS (
    INSERT INTO batch.letter_copy (tenant_id, notification_id, letter_id, place, kind, address)
    SELECT letter.tenant_id, letter.notification_id, letter.letter_id, letter.place, letter.kind, letter.recipient_address
    FROM letter
    WHERE letter.kind IS NOT null
    ON CONFLICT (tenant_id, notification_id) DO NOTHING
),

files AS (
    INSERT INTO batch.letter_file (
        tenant_id, notification_id, file_name, object_key, attached_text, unattached_text, sha256, bytes, is_attached
    )
    SELECT
        letter.tenant_id, letter.notification_id, letter.file_name, letter.object_key, letter.attached_text,
        letter.unattached_text, letter.sha256, letter.bytes, letter.is_attached
    FROM letter
    WHERE letter.file_name IS NOT null
    ON CONFLICT (tenant_id, notification_id) DO NOTHING
)

INSERT INTO batch.tenant_notification (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body,
    message_format, send_status, send_attempts, scheduled_at, priority_level, is_deleted, created_at,
    updated_at
)
SELECT
    letter.notification_id AS id,
    letter.tenant_id,
    'EMAIL' AS notification_type,
    'BILLING_CONTACT' AS recipient_type,
    letter.recipient_address,
    letter.subject,
    letter.message_body,
    'TEXT' AS message_format,
    'PENDING' AS send_status,
    0 AS send_attempts,
    coalesce(%(scheduled_at)s, now() AT TIME ZONE 'UTC') AS scheduled_at,
    'HIGH' AS priority_level,
    false AS is_deleted,
    now() AT TIME ZONE 'UTC' AS created_at,
    now() AT TIME ZONE 'UTC' AS updated_at
FROM letter
ON CONFLICT (id) DO NOTHING;

-- name: void_replaced
-- The void invoices that these replaced. Their letters were to say so.
SELECT replaced.invoice_id
FROM batch.invoice
INNER JOIN batch.invoice AS replaced
    ON invoice.tenant_id = replaced.tenant_id AND invoice.content #>> '{replaces,number}' = replaced.number
WHERE invoice.invoice_id = any(%(invoice_ids)s) AND replaced.status = 'void';

-- name: letter_revisions
-- The corrected documents of invoices. Each has its own letter.
SELECT invoice_id, revision
FROM batch.invoice_revision
WHERE invoice_id = any(%(invoice_ids)s);

-- name: letter_copies
SELECT notification_id, letter_id, place, address
FROM batch.letter_copy
WHERE letter_id = any(%(letter_ids)s) AND place > 0;

-- name: lock_letters
-- Prevents a sender that has read the letter from claiming its message. The order of the ids prevents deadlocks.
SELECT id
FROM batch.tenant_notification
WHERE id = any(%(notification_ids)s)
ORDER BY id
FOR UPDATE;

-- name: withdraw_letters
-- Withdraws the locked letters that wait. Messages that are claimed, have failed permanently, or may have arrived without a
-- further attempt are not withdrawn. A failed attempt may have arrived nevertheless.
WITH message AS (
    SELECT outbox.host_log_id, outbox.status, outbox.attempts
    FROM batch.outbox
    WHERE outbox.dedupe_key = any(SELECT 'host:' || id FROM unnest(%(notification_ids)s::text[]) AS listed (id))
)

UPDATE batch.tenant_notification AS letter
SET is_deleted = true, updated_at = now() AT TIME ZONE 'UTC'
WHERE
    letter.id = any(%(notification_ids)s) AND upper(letter.send_status) IN ('PENDING', 'RETRY')
    AND NOT EXISTS (
        SELECT FROM message
        WHERE message.host_log_id = letter.id AND message.status NOT IN ('pending', 'retry', 'withdrawn')
    )
RETURNING
    letter.id,
    EXISTS (
        SELECT FROM message
        WHERE message.host_log_id = letter.id AND message.attempts > 0
    ) AS may_have_arrived;

-- name: insert_letter_decision
-- The user who sends the letter approves the waiting corrections.
WITH approved AS (
    UPDATE batch.invoice_revision SET approved_by = %(entered_by)s, approved_at = now()
    WHERE invoice_id = %(invoice_id)s AND approved_by IS null AND %(kind)s = 'send'
)

INSERT INTO batch.letter_decision (invoice_id, tenant_id, kind, reason, entered_by, execution_id)
VALUES (%(invoice_id)s, %(tenant_id)s, %(kind)s, %(reason)s, %(entered_by)s, %(execution_id)s);

-- name: waiting_corrections
SELECT entered_by, entered_at
FROM batch.invoice_revision
WHERE invoice_id = %(invoice_id)s AND approved_by IS null
ORDER BY entered_at;

-- name: letter_decided_by_run
SELECT invoice.number
FROM batch.letter_decision AS decision
INNER JOIN batch.invoice ON decision.invoice_id = invoice.invoice_id
WHERE
    invoice.tenant_id = %(tenant_id)s AND invoice.period_start = %(period_start)s AND invoice.kind = 'invoice'
    AND decision.execution_id = %(execution_id)s;

-- name: forget_withdrawn_messages
-- A sender may have withdrawn the message of a stopped letter. The message would hide the letter from the next run.
DELETE FROM batch.outbox
WHERE
    tenant_id = %(tenant_id)s AND status = 'withdrawn'
    AND dedupe_key = any(SELECT 'host:' || id FROM unnest(%(notification_ids)s::text[]) AS listed (id));

-- name: forget_copies
-- A copy that is not withdrawn was sent, or may have been.
DELETE FROM batch.letter_copy AS copy
WHERE
    letter_id = %(letter_id)s
    AND (
        place = 0 OR EXISTS (
            SELECT FROM batch.tenant_notification AS withdrawn
            WHERE withdrawn.id = copy.notification_id AND withdrawn.is_deleted
        )
    );

-- name: copy_letter
-- The present copies of a letter. A copy without a row gets the letter's.
WITH copy AS (
    SELECT *
    FROM
        unnest(
            %(notification_ids)s::text[], %(place_list)s::integer[], %(kind_list)s::text[], %(addresses)s::text[]
        ) AS copy (notification_id, place, kind, address)
),

copies AS (
    INSERT INTO batch.letter_copy (tenant_id, notification_id, letter_id, place, kind, address)
    SELECT %(tenant_id)s, copy.notification_id, %(letter_id)s, copy.place, copy.kind, copy.address
    FROM copy
)

INSERT INTO batch.tenant_notification (
    id, tenant_id, notification_type, recipient_type, recipient_address, subject, message_body,
    message_format, send_status, send_attempts, scheduled_at, priority_level, is_deleted, created_at,
    updated_at
)
SELECT
    copy.notification_id AS id, letter.tenant_id, letter.notification_type, letter.recipient_type, copy.address, letter.subject,
    letter.message_body, letter.message_format, 'PENDING' AS send_status, 0 AS send_attempts, letter.scheduled_at,
    letter.priority_level, false AS is_deleted, now() AT TIME ZONE 'UTC' AS created_at, now() AT TIME ZONE 'UTC' AS updated_at
FROM batch.tenant_notification AS letter
CROSS JOIN copy
WHERE letter.id = %(letter_id)s
ON CONFLICT (id) DO NOTHING;

-- name: release_letters
-- Release the letter and its copies for the next run, except those that a sender has claimed or that may have arrived.
UPDATE batch.tenant_notification AS letter
SET
    is_deleted = false, send_status = 'PENDING', scheduled_at = %(scheduled_at)s, updated_at = now() AT TIME ZONE 'UTC',
    recipient_address = (%(addresses)s::text[])[array_position(%(notification_ids)s::text[], letter.id::text)]
WHERE
    letter.id = any(%(notification_ids)s) AND upper(letter.send_status) IN ('PENDING', 'RETRY')
    AND NOT EXISTS (
        SELECT FROM batch.outbox AS message
        WHERE
            message.tenant_id = letter.tenant_id AND message.dedupe_key = 'host:' || letter.id
            AND message.status NOT IN ('pending', 'retry')
    )
RETURNING letter.id;
