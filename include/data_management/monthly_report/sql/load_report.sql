SELECT
    contents,
    recipients
FROM batch.monthly_report
WHERE report_month = %(month)s;
