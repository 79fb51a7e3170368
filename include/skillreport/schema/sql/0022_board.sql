-- The operators' board reads as batch_board, and only views (host_views/board.sql). They belong to batch_owner, so batch_owner
-- must see the rows of the tables that they read. Only batch_board may read such a view; batch_tenant reads no table of ours
-- through a view (a test looks at the catalogue).

GRANT USAGE ON SCHEMA batch TO batch_board;

DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        'execution_log', 'tenant_outcome', 'task_metric', 'performance_metric', 'run_remark', 'reconciliation',
        'operator_alert', 'orphan_notice', 'platform_incident', 'incident', 'tenant_inactivity', 'inactivity_change',
        'usage_day', 'usage_warning', 'invoice_document', 'payment', 'overdue_reminder', 'reminder_stop',
        'outbox', 'channel_circuit', 'suppressed_address', 'service_limit', 'setting_finding', 'setting_change', 'sync_plan',
        'directory_sync', 'backup', 'monthly_report', 'monthly_report_file', 'approval_request',
        'approval_item', 'extra_charge'
    ]
    LOOP
        EXECUTE format('CREATE POLICY board ON batch.%I FOR SELECT TO batch_owner USING (true)', relation);
    END LOOP;
END;
$$;

-- The newest messages of a tenant, and those that ended.
CREATE INDEX outbox_by_tenant ON batch.outbox (tenant_id, created_at DESC);

-- The messages that did not arrive, and those that still wait, of all tenants together.
CREATE INDEX outbox_open ON batch.outbox (status, channel, next_attempt_at)
WHERE status NOT IN ('sent', 'discarded', 'withdrawn', 'merged');

-- The failed tenants of a run, among ten thousand that succeeded.
CREATE INDEX tenant_outcome_failed ON batch.tenant_outcome (execution_id) WHERE status = 'failed';

-- The open incidents, and those that were closed lately.
CREATE INDEX incident_by_closing ON batch.incident (closed_at DESC);
CREATE INDEX operator_alert_by_creation ON batch.operator_alert (created_at DESC);
CREATE INDEX execution_log_by_run ON batch.execution_log (dag_id, run_id);
CREATE INDEX execution_log_by_start ON batch.execution_log (started_at DESC);

-- The directories that were skipped lately, among the plans of every night. The held ones have an index already.
CREATE INDEX sync_plan_skipped ON batch.sync_plan (planned_at DESC) WHERE status = 'skipped';

-- The newest invoices of a tenant.
CREATE INDEX invoice_by_tenant ON batch.invoice (tenant_id, period_start DESC);

-- The search over the documents of all years by amount alone, and by the beginning of the number.
CREATE INDEX invoice_by_amount ON batch.invoice (yen_total, issued_on) WHERE number IS NOT null;
CREATE INDEX invoice_by_number ON batch.invoice (number text_pattern_ops) WHERE number IS NOT null;
-- The open invoices by counterparty, and their sums without reading all invoices.
CREATE INDEX invoice_open_by_counterparty ON batch.invoice (counterparty COLLATE "C", tenant_id, due_on, number)
INCLUDE (invoice_id, period_start, currency, total, credited_total, paid_total, marked_paid)
WHERE kind = 'invoice' AND number IS NOT null AND status IN ('finalized', 'sent') AND total <> credited_total + paid_total;
