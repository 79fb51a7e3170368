-- The hour that is checked, and those that it is held against.
SELECT
    measure.tenant_id,
    measure.hour_at,
    measure.api_calls,
    measure.errors,
    measure.responses,
    measure.response_ms,
    measure.failed_logins
FROM batch.monitoring_signal AS signal
CROSS JOIN
    LATERAL (
        SELECT own.*
        FROM batch.hourly_measure AS own
        WHERE own.tenant_id = signal.tenant_id AND own.hour_at = any(%(hours)s::timestamptz[])
    ) AS measure
WHERE signal.execution_id = %(execution_id)s;
