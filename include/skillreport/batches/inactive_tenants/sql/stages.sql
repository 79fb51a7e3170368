-- name: save_stages
-- The tenants' stages as of the business date, unless a later date was already judged. Equal values leave the row unchanged.
UPDATE batch.tenant_inactivity AS known
SET
    stage = judged.stage,
    last_activity_on = judged.last_activity_on,
    inactive_since = judged.inactive_since,
    judged_on = %(business_date)s,
    entered_on = CASE WHEN judged.has_changed THEN %(business_date)s ELSE known.entered_on END,
    entered_by = CASE WHEN judged.has_changed THEN %(execution_id)s ELSE known.entered_by END
FROM
    jsonb_to_recordset(%(judgements)s) AS judged (
        tenant_id text, stage text, last_activity_on date, inactive_since date, has_changed boolean
    )
WHERE
    known.tenant_id = judged.tenant_id AND known.judged_on <= %(business_date)s
    AND (
        judged.has_changed
        OR (known.last_activity_on, known.inactive_since, known.judged_on)
        IS DISTINCT FROM (judged.last_activity_on, judged.inactive_since, %(business_date)s)
    );

-- name: record_changes
INSERT INTO batch.inactivity_change (
    tenant_id, changed_on, from_stage, to_stage, reason, inactive_days, inactive_since, last_activity_on,
    recorded_by
)
SELECT
    change.tenant_id,
    %(business_date)s,
    change.from_stage, change.to_stage, change.reason, change.inactive_days, change.inactive_since,
    change.last_activity_on,
    %(execution_id)s
FROM
    jsonb_to_recordset(%(changes)s) AS change (
        tenant_id text, from_stage text, to_stage text, reason text, inactive_days integer,
        inactive_since date, last_activity_on date
    )
ORDER BY change.tenant_id
ON CONFLICT (tenant_id, changed_on, from_stage, to_stage) DO NOTHING;

-- name: take_stages
-- Acts as batch_platform. The active tenants with a stage, as last judged. is_new marks unreported stages of any run, which this
-- statement marks as reported. Tenants whose stage has ended are not reported.
WITH taken AS (
    UPDATE batch.inactivity_change AS change
    SET told_at = now()
    FROM batch.all_tenant AS tenant
    WHERE
        change.reason = 'inactivity' AND change.told_at IS null
        -- A notice about an inactive tenant waits until the tenant is active.
        AND change.tenant_id = tenant.tenant_id AND tenant.status = any(%(active_statuses)s)
    RETURNING change.tenant_id
)

SELECT
    known.stage,
    known.judged_on,
    known.judged_on - known.inactive_since AS days,
    known.last_activity_on,
    tenant.tenant_code,
    tenant.tenant_name,
    known.tenant_id IN (SELECT taken.tenant_id FROM taken) AS is_new
FROM batch.tenant_inactivity AS known
INNER JOIN batch.all_tenant AS tenant ON known.tenant_id = tenant.tenant_id
WHERE known.stage <> 'none' AND tenant.status = any(%(active_statuses)s);

-- name: load_contacts
-- The recipient of the inactivity notice: the tenant's contact, otherwise its administrator, who may have left.
SELECT tenant_id, coalesce(contact_email, admin_email) AS email, tenant_name, tenant_name_en
FROM batch.tenant
WHERE coalesce(contact_email, admin_email) IS NOT null;

-- name: take_gone_from_backups
-- Acts as batch_platform. The deleted tenants whose last backup from before the deletion is deleted, each once.
UPDATE batch.deleted_tenant AS gone
SET awaits_supplement = false
WHERE
    gone.awaits_supplement AND NOT EXISTS (
        SELECT FROM batch.backup AS kept
        WHERE kept.status IN ('running', 'verified', 'deleting') AND kept.snapshot_at < gone.deleted_at
    )
RETURNING gone.tenant_id;

-- name: take_ending_waits
-- Acts as batch_platform. The leaving tenants whose wait ends by this day, each once.
WITH taken AS (
    UPDATE batch.offboarding
    SET reminded_at = now()
    WHERE stage = 'exported' AND reminded_at IS null AND waits_until <= %(until)s
    RETURNING tenant_code, waits_until
)

SELECT tenant_code, waits_until
FROM taken
ORDER BY waits_until, tenant_code;
