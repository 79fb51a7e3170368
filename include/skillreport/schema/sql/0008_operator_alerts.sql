-- Alerts to the operators: each is written down before it is sent, so that it is told once, and later where a channel is down.

CREATE TABLE batch.operator_alert (
    alert_key text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('slack', 'email')),
    severity text NOT NULL CHECK (severity IN ('MEDIUM', 'HIGH', 'CRITICAL')),
    message jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    in_doubt boolean NOT NULL DEFAULT true,
    delivered_at timestamptz,
    last_error text,
    PRIMARY KEY (alert_key, channel),
    CHECK (due_at IS null OR delivered_at IS null)
);
CREATE INDEX operator_alert_due ON batch.operator_alert (due_at) WHERE due_at IS NOT null;
CALL batch.make_platform_table('batch.operator_alert');
COMMENT ON TABLE batch.operator_alert IS 'One row per alert and channel; the key stands for the one thing that happened.';
COMMENT ON COLUMN batch.operator_alert.due_at IS
'When the next attempt may be made: while somebody is sending, the end of the lease; null: delivered, or given up';
COMMENT ON COLUMN batch.operator_alert.in_doubt IS
'Nobody knows whether it has arrived: an attempt goes on, its process was killed, or its answer was lost';

-- The comparison of a run with the ones before it needs a longer memory than the execution log has: a monthly batch's last 20
-- runs reach back further than 90 days. So the row says itself whether it may be compared.
ALTER TABLE batch.performance_metric
DROP CONSTRAINT performance_metric_execution_id_fkey,
ADD COLUMN run_id text NOT NULL DEFAULT '',
ADD COLUMN is_comparable boolean NOT NULL DEFAULT false;
-- Forced row-level security shows the owner no row that an UPDATE could find.
ALTER TABLE batch.performance_metric NO FORCE ROW LEVEL SECURITY;
ALTER TABLE batch.execution_log NO FORCE ROW LEVEL SECURITY;
UPDATE batch.performance_metric AS metric
SET
    run_id = log.run_id,
    is_comparable = log.status = 'completed'
    AND NOT log.dry_run
    AND coalesce(log.parameters ->> 'action', '') IN ('', 'bill', 'send', 'sync')
    AND coalesce(log.parameters -> 'tenants', '[]') IN ('[]', 'null')
FROM batch.execution_log AS log
WHERE log.execution_id = metric.execution_id;
ALTER TABLE batch.performance_metric FORCE ROW LEVEL SECURITY;
ALTER TABLE batch.execution_log FORCE ROW LEVEL SECURITY;
ALTER TABLE batch.performance_metric ALTER COLUMN run_id DROP DEFAULT, ALTER COLUMN is_comparable DROP DEFAULT;
COMMENT ON COLUMN batch.performance_metric.is_comparable IS
'The run completed at its first closing, wrote, and did the batch''s own work on all tenants: later runs are measured by it';
