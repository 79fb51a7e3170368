-- name: open_offboarding
SELECT
    offboarding_id, tenant_id, tenant_code, tenant_name, stage, begun_by, begun_at, age_key, waits_until, asked_by, asked_in,
    approved_by, deleting_since, problem
FROM batch.offboarding
WHERE tenant_id = %(tenant_id)s AND stage NOT IN ('deleted', 'cancelled')
FOR UPDATE;

-- name: leaving_tenant
-- has_left: in Asia/Tokyo. is_to_repeat: a restored database must delete the tenant again. tenants: the number of the
-- application's tenants.
SELECT
    tenant.tenant_code, tenant.tenant_name, tenant.status,
    tenant.status IN ('INACTIVE', 'EXPIRED', 'DELETED') OR coalesce(tenant.contract_end < %(today)s, false) AS has_left,
    (SELECT count(*) FROM batch.all_tenant) AS tenants,
    gone.is_to_repeat IS true AS is_to_repeat
FROM batch.all_tenant AS tenant
LEFT JOIN batch.deleted_tenant AS gone ON tenant.tenant_id = gone.tenant_id
WHERE tenant.tenant_id = %(tenant_id)s;

-- name: open_items
SELECT open_invoices, held_drafts, unbilled_days, waiting_messages, directory_links
FROM batch.board_open_item
WHERE tenant_id = %(tenant_id)s;

-- name: begin
INSERT INTO batch.offboarding (
    offboarding_id, tenant_id, tenant_code, tenant_name, stage, open_items, reason, begun_by, begun_at
)
VALUES (
    %(offboarding_id)s, %(tenant_id)s, %(tenant_code)s, %(tenant_name)s, 'begun', %(open_items)s, %(reason)s, %(person)s, %(now)s
)
ON CONFLICT DO NOTHING
RETURNING offboarding_id;

-- name: record_export
UPDATE batch.offboarding
SET
    stage = 'exported',
    -- An earlier request is about another export.
    asked_in = null,
    age_key = %(age_key)s,
    customer_file = %(customer_file)s,
    exported_by = %(person)s,
    exported_at = %(now)s,
    waits_until = coalesce(waits_until, %(waits_until)s),
    manifest_sha256 = %(manifest_sha256)s,
    export_bytes = %(export_bytes)s
WHERE offboarding_id = %(offboarding_id)s
RETURNING waits_until;

-- name: record_question
UPDATE batch.offboarding
SET stage = 'asked', asked_by = %(person)s, asked_at = %(now)s, asked_in = %(execution_id)s
WHERE offboarding_id = %(offboarding_id)s;

-- name: cancel
UPDATE batch.offboarding
SET
    stage = 'cancelled',
    cancelled_by = %(person)s,
    cancelled_at = %(now)s,
    cancelled_in = %(execution_id)s,
    reason = reason || ' / 取りやめ: ' || %(reason)s
WHERE offboarding_id = %(offboarding_id)s AND deleting_since IS null
RETURNING offboarding_id;

-- name: is_cancelled_by
-- True if an earlier attempt of the run cancelled the offboarding.
SELECT count(*) > 0 AS is_done
FROM batch.offboarding
WHERE tenant_id = %(tenant_id)s AND cancelled_in = %(execution_id)s;

-- name: drop_chunks
DELETE FROM batch.frozen_chunk
WHERE offboarding_id = %(offboarding_id)s AND (done_at IS null OR NOT %(only_undone)s);

-- name: drop_persons
DELETE FROM batch.frozen_person
WHERE tenant_id = %(tenant_id)s;

-- name: count_table
-- The new count replaces the rows that were not done.
INSERT INTO batch.offboarding_table AS counted (offboarding_id, table_name, place, rule, exported)
VALUES (%(offboarding_id)s, %(table_name)s, %(place)s, %(rule)s, %(rows)s)
ON CONFLICT (offboarding_id, table_name) DO UPDATE
    SET place = excluded.place, rule = excluded.rule, exported = counted.done + excluded.exported;

-- name: forget_counts
UPDATE batch.offboarding_table SET exported = done
WHERE offboarding_id = %(offboarding_id)s;

-- name: freeze_person
INSERT INTO batch.frozen_person (person_key, kind, tenant_id)
VALUES (%(person_key)s, %(kind)s, %(tenant_id)s)
ON CONFLICT (person_key, kind) DO UPDATE
    SET tenant_id = excluded.tenant_id;

-- name: last_chunk
SELECT coalesce(max(chunk), -1)
FROM batch.frozen_chunk
WHERE offboarding_id = %(offboarding_id)s AND table_name = %(table_name)s;

-- name: freeze_chunk
INSERT INTO batch.frozen_chunk (offboarding_id, table_name, chunk, keys, row_count)
VALUES (%(offboarding_id)s, %(table_name)s, %(chunk)s, %(keys)s, jsonb_array_length(%(keys)s));

-- name: record_frozen
UPDATE batch.offboarding
SET
    stage = 'frozen',
    approved_by = %(person)s,
    approved_at = %(answered_at)s,
    frozen_at = %(now)s,
    -- After a stop the manifests of the earlier exports list the rows that are already deleted.
    manifest_sha256
    = CASE WHEN deleting_since IS null THEN '' ELSE manifest_sha256 || ' ' END || %(manifest_sha256)s::text,
    export_bytes = greatest(export_bytes, %(export_bytes)s),
    unowned = %(unowned)s,
    problem = null
WHERE offboarding_id = %(offboarding_id)s AND stage = 'asked'
RETURNING offboarding_id;

-- name: begin_deletion
-- No row: the offboarding was cancelled.
UPDATE batch.offboarding
SET deleting_since = coalesce(deleting_since, %(now)s), problem = null
WHERE offboarding_id = %(offboarding_id)s AND stage = 'frozen'
RETURNING offboarding_id;

-- name: undone_chunks
SELECT chunk
FROM batch.frozen_chunk
WHERE offboarding_id = %(offboarding_id)s AND table_name = %(table_name)s AND done_at IS null
ORDER BY chunk;

-- name: chunk
SELECT keys, row_count
FROM batch.frozen_chunk
WHERE offboarding_id = %(offboarding_id)s AND table_name = %(table_name)s AND chunk = %(chunk)s;

-- name: close_chunk
WITH closed AS (
    UPDATE batch.frozen_chunk
    SET done_at = %(now)s
    WHERE
        offboarding_id = %(offboarding_id)s AND table_name = %(table_name)s AND chunk = %(chunk)s AND done_at IS null
    RETURNING offboarding_id, table_name, row_count
)

UPDATE batch.offboarding_table AS counted
SET done = counted.done + closed.row_count
FROM closed
WHERE counted.offboarding_id = closed.offboarding_id AND counted.table_name = closed.table_name;

-- name: count_done
INSERT INTO batch.offboarding_table AS counted (offboarding_id, table_name, place, rule, exported, done)
VALUES (%(offboarding_id)s, %(table_name)s, %(place)s, %(rule)s, %(rows)s, %(rows)s)
ON CONFLICT (offboarding_id, table_name) DO UPDATE
    SET done = counted.done + excluded.done, exported = greatest(counted.exported, counted.done + excluded.done);

-- name: discard_messages
UPDATE batch.outbox
SET
    status = 'discarded',
    finished_at = %(now)s,
    decided_by = %(person)s,
    lease_owner = null,
    lease_until = null,
    deferred_for = null
WHERE tenant_id = %(tenant_id)s AND finished_at IS null;

-- name: record_problem
UPDATE batch.offboarding SET problem = %(problem)s
WHERE offboarding_id = %(offboarding_id)s AND stage = 'frozen';

-- name: record_deleted
UPDATE batch.offboarding
SET stage = 'deleted', deleted_at = %(now)s, problem = null, remains = %(remains)s
WHERE offboarding_id = %(offboarding_id)s AND stage = 'frozen'
RETURNING export_bytes;

-- name: register
INSERT INTO batch.deleted_tenant (tenant_id, offboarding_id, deleted_at, export_bytes, awaits_supplement)
VALUES (%(tenant_id)s, %(offboarding_id)s, %(now)s, %(export_bytes)s, %(awaits_supplement)s)
ON CONFLICT (tenant_id) DO UPDATE
    SET
        offboarding_id = excluded.offboarding_id, deleted_at = excluded.deleted_at, export_bytes = excluded.export_bytes,
        is_to_repeat = false, awaits_supplement = excluded.awaits_supplement;

-- name: dispute_entry
-- Only entries that require a deletion. A new run renews the request.
INSERT INTO batch.disputed_entry AS disputed (tenant_id, offboarding_id, reason, asked_by, asked_at, asked_in)
SELECT gone.tenant_id, gone.offboarding_id, %(reason)s, %(person)s, %(now)s, %(execution_id)s
FROM batch.deleted_tenant AS gone
WHERE gone.tenant_id = %(tenant_id)s AND gone.is_to_repeat
ON CONFLICT (tenant_id, offboarding_id) DO UPDATE
    SET reason = excluded.reason, asked_by = excluded.asked_by, asked_at = excluded.asked_at, asked_in = excluded.asked_in
RETURNING disputed.tenant_id;

-- name: dispute
SELECT tenant_id, offboarding_id, asked_by, asked_in
FROM batch.disputed_entry
WHERE tenant_id = %(tenant_id)s AND offboarding_id = %(offboarding_id)s;

-- name: decide_dispute
UPDATE batch.disputed_entry SET decided_by = %(person)s, decided_at = %(now)s
WHERE tenant_id = %(tenant_id)s AND offboarding_id = %(offboarding_id)s AND decided_at IS null;

-- name: strike_off
DELETE FROM batch.deleted_tenant
WHERE tenant_id = %(tenant_id)s AND offboarding_id = %(offboarding_id)s AND is_to_repeat;

-- name: tables_of
SELECT table_name, rule, exported, done
FROM batch.offboarding_table
WHERE offboarding_id = %(offboarding_id)s
ORDER BY place, table_name;

-- name: manifests_of
SELECT regexp_split_to_table(manifest_sha256, ' ') AS sha256
FROM batch.offboarding
WHERE offboarding_id = %(offboarding_id)s;

-- name: record_of
SELECT
    offboarding_id, tenant_id, tenant_code, tenant_name, stage, begun_by, begun_at, exported_by, exported_at, asked_by, asked_at,
    approved_by, approved_at, deleted_at, manifest_sha256, unowned, remains
FROM batch.offboarding
WHERE offboarding_id = %(offboarding_id)s;

-- name: deleted_offboarding
SELECT offboarding_id
FROM batch.deleted_tenant
WHERE tenant_id = %(tenant_id)s;

-- name: backups
SELECT backup_id, status, snapshot_at
FROM batch.backup;
