-- Approvals: requests about held invoices and held directory plans, and the answers.

CREATE TABLE batch.approval_request (
    request_id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('invoices', 'directory_changes', 'contracts', 'resumption', 'offboarding')),
    business_date date NOT NULL,
    asked_by text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    close_reason text CHECK (close_reason IN ('answered', 'superseded', 'not_started', 'outdated')),
    UNIQUE (dag_id, run_id),
    CHECK ((closed_at IS null) = (close_reason IS null))
);
CREATE INDEX approval_request_by_asker ON batch.approval_request (asked_by);
CREATE INDEX approval_request_open ON batch.approval_request (kind, asked_at) WHERE closed_at IS null;
CALL batch.make_platform_table('batch.approval_request');
CREATE POLICY board ON batch.approval_request FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.approval_request IS
'One row per request for approval. A run of the DAG dag_id shows the request and records the answers.';
COMMENT ON COLUMN batch.approval_request.business_date IS
'That of the asking run (Asia/Tokyo): for invoices a day of their month';
COMMENT ON COLUMN batch.approval_request.asked_by IS
'execution_id of the run that held the items, or the user who asked for the list';
COMMENT ON COLUMN batch.approval_request.close_reason IS
'superseded: a newer request has all its unanswered items; not_started: Airflow refused the run that would have shown it; '
'outdated: its run had ended, and its items were decided elsewhere';

CREATE TABLE batch.approval_item (
    request_id text NOT NULL REFERENCES batch.approval_request ON DELETE CASCADE,
    tenant_id text NOT NULL,
    item_id text NOT NULL CHECK (item_id <> ''),
    tenant_code text NOT NULL,
    tenant_name text NOT NULL,
    held_by text NOT NULL,
    fingerprint text NOT NULL,
    figures jsonb NOT NULL,
    reason text NOT NULL,
    superseded_by text REFERENCES batch.approval_request,
    answer text CHECK (answer IN ('approve', 'hold')),
    answered_by text,
    answered_at timestamptz,
    note text NOT NULL DEFAULT '',
    result text CHECK (result IN ('approved', 'held', 'out_of_date', 'failed')),
    result_text text,
    execution_id text,
    decided_at timestamptz,
    PRIMARY KEY (request_id, tenant_id, item_id),
    CHECK (num_nulls(answer, answered_by, answered_at) IN (0, 3)),
    CHECK (num_nulls(result, decided_at) IN (0, 2)),
    CHECK (result IS null OR answer IS NOT null)
);
CREATE INDEX approval_item_by_item ON batch.approval_item (tenant_id, item_id);
CALL batch.make_tenant_table('batch.approval_item');
CREATE POLICY board ON batch.approval_item FOR SELECT TO batch_owner USING (true);
-- A tenant's work never changes requests and answers. It only records the result of an answer.
REVOKE INSERT, UPDATE, DELETE ON batch.approval_item FROM batch_tenant;
GRANT UPDATE (result, result_text, execution_id, decided_at) ON batch.approval_item TO batch_tenant;
COMMENT ON TABLE batch.approval_item IS
'The items of an approval request, with the displayed figures, the answer, its user and time, and the result.';
COMMENT ON COLUMN batch.approval_item.item_id IS
'invoice_id of batch.invoice, provider of batch.sync_plan, change_id of batch.contract_change, batch_id of batch.started_tick, '
'or offboarding_id of batch.offboarding';
COMMENT ON COLUMN batch.approval_item.held_by IS
'execution_id of the run that wrote the draft or the plan';
COMMENT ON COLUMN batch.approval_item.fingerprint IS
'input_hash of the draft; for a plan the SHA-256 of its reason and of the accounts that are absent. Differs after any change';
COMMENT ON COLUMN batch.approval_item.figures IS
'As shown: month, total, currency, previous_total, previous_currency and allow_incomplete, or counts (of the plan, of messages)';
COMMENT ON COLUMN batch.approval_item.reason IS 'Why the item is held';
COMMENT ON COLUMN batch.approval_item.superseded_by IS 'The newer request that asks about the same item';
COMMENT ON COLUMN batch.approval_item.result IS
'out_of_date: the item had changed since the request, and was not approved; result_text says how';
COMMENT ON COLUMN batch.approval_item.execution_id IS 'The run that applied the answer';
