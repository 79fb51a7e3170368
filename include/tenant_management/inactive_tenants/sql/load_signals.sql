-- What was seen of the tenants, beside what is known of them. `reached` are the stages that were reached on the business date, by
-- whichever run, so that a second run of the day says the same.
SELECT
    signal.tenant_id,
    signal.last_activity_on,
    signal.is_active_later,
    signal.created_on,
    signal.contract_start,
    signal.is_trial,
    signal.setting_overrides,
    known.stage AS known_stage,
    known.last_activity_on AS known_activity_on,
    known.judged_on,
    array(
        SELECT change.to_stage FROM batch.inactivity_change AS change
        WHERE
            change.tenant_id = signal.tenant_id AND change.changed_on = %(business_date)s
            AND change.reason = 'inactivity'
    ) AS reached
FROM batch.inactivity_signal AS signal
INNER JOIN batch.tenant_inactivity AS known ON signal.tenant_id = known.tenant_id
WHERE signal.execution_id = %(execution_id)s
ORDER BY signal.tenant_id;
