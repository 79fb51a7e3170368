-- The tenants' stages as of the business date, unless a newer date was judged meanwhile. Equal values leave the row as it is.
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
        tenant_id text,
        stage text,
        last_activity_on date,
        inactive_since date,
        has_changed boolean
    )
WHERE
    known.tenant_id = judged.tenant_id AND known.judged_on <= %(business_date)s
    AND (
        judged.has_changed
        OR (known.last_activity_on, known.inactive_since, known.judged_on)
        IS DISTINCT FROM (judged.last_activity_on, judged.inactive_since, %(business_date)s)
    );
