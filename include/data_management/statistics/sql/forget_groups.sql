-- The groups of an earlier run of the day; what is kept next takes their place.
DELETE FROM batch.statistics_group
WHERE
    statistics_date = %(business_date)s
    AND tenant_id IN (
        SELECT signal.tenant_id
        FROM batch.statistics_signal AS signal
        WHERE signal.execution_id = %(execution_id)s
    );
