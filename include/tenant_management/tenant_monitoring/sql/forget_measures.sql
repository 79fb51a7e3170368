DELETE FROM batch.hourly_measure AS measure
USING batch.monitoring_signal AS signal
WHERE
    signal.execution_id = %(execution_id)s AND measure.tenant_id = signal.tenant_id
    AND measure.hour_at < %(kept_from)s;
