-- The signal goes with the people of the run: without it somebody has used them up, and the list would be empty.
SELECT
    report.contents,
    report.recipients,
    signal.execution_id IS NOT null AS has_people
FROM batch.monthly_report AS report
LEFT JOIN batch.report_signal AS signal
    ON report.tenant_id = signal.tenant_id AND signal.execution_id = %(execution_id)s
WHERE report.report_month = %(month)s;
