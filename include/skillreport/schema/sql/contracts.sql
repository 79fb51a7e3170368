-- Contract changes by users (DAG operate_contracts): entered values, and the history of all changes.

-- The values of an operation with personal data. Every viewer of Airflow can read a run's conf, so it holds only the token.
CREATE TABLE batch.entered_values (
    token text PRIMARY KEY CHECK (length(token) >= 32),
    dag_id text NOT NULL,
    operation text NOT NULL,
    form_values jsonb,
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id text
);
CREATE INDEX entered_values_by_time ON batch.entered_values (entered_at);
CALL batch.make_platform_table('batch.entered_values');
-- The board writes what a user enters, and cannot read it.
CREATE POLICY enter ON batch.entered_values FOR INSERT TO batch_board
WITH CHECK (execution_id IS null AND form_values IS NOT null);
GRANT INSERT (token, dag_id, operation, form_values, entered_by) ON batch.entered_values TO batch_board;
COMMENT ON TABLE batch.entered_values IS
'Personal values that a user has entered on the board for a run, until the run has used them or 15 minutes have passed.';
COMMENT ON COLUMN batch.entered_values.form_values IS 'Null: the run has used them';
COMMENT ON COLUMN batch.entered_values.execution_id IS
'The run that has used the values. It deletes them with its work; the row is left for a while, so that the run can be cleared';

-- Runs as the owner: a tenant's work takes the values of its token and sees no others.
CREATE POLICY take ON batch.entered_values TO batch_owner USING (true) WITH CHECK (true);
CREATE FUNCTION batch.take_entered_values(
    entry text, of_dag text, of_operation text, person text, execution text, usable interval
) RETURNS SETOF jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE batch.entered_values AS taken
    SET execution_id = take_entered_values.execution, form_values = null
    FROM (
        SELECT entered.token, entered.form_values
        FROM batch.entered_values AS entered
        WHERE
            entered.token = take_entered_values.entry AND entered.dag_id = take_entered_values.of_dag
            AND entered.operation = take_entered_values.of_operation AND entered.entered_by = take_entered_values.person
            AND (
                (entered.execution_id IS null AND entered.entered_at > now() - take_entered_values.usable)
                OR entered.execution_id IN (SELECT batch.attempts_of(take_entered_values.execution))
            )
        FOR UPDATE
    ) AS found
    WHERE taken.token = found.token
    RETURNING found.form_values
$$;
REVOKE EXECUTE ON FUNCTION batch.take_entered_values(text, text, text, text, text, interval) FROM public;
GRANT EXECUTE ON FUNCTION batch.take_entered_values(text, text, text, text, text, interval) TO batch_tenant, batch_platform;
COMMENT ON FUNCTION batch.take_entered_values(text, text, text, text, text, interval) IS
'The values behind a token, which it deletes, for one run of their author. Null: the run has used them. No row: not usable.';

CREATE TABLE batch.contract_change (
    change_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (
        kind IN ('profile', 'plan', 'discount', 'commitment', 'order_number', 'payer', 'exchange_rate', 'import')
    ),
    before jsonb,
    after jsonb,
    changed text[] NOT NULL,
    former_emails text[] NOT NULL DEFAULT '{}',
    reason text NOT NULL,
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('waiting', 'applied', 'refused', 'expired')),
    decided_by text,
    decided_at timestamptz,
    decided_in text,
    CHECK ((status = 'waiting') <= (decided_at IS null)),
    CHECK (status NOT IN ('refused', 'expired') OR (before IS null AND after IS null))
);
CREATE INDEX contract_change_by_tenant ON batch.contract_change (tenant_id, entered_at);
CREATE INDEX contract_change_by_run ON batch.contract_change (execution_id);
CREATE INDEX contract_change_by_decision ON batch.contract_change (decided_in) WHERE decided_in IS NOT null;
CREATE INDEX contract_change_waiting ON batch.contract_change (entered_at) WHERE status = 'waiting';
CALL batch.make_tenant_table('batch.contract_change');
CREATE POLICY board ON batch.contract_change FOR SELECT TO batch_owner USING (true);
CREATE TRIGGER second_person BEFORE UPDATE ON batch.contract_change
FOR EACH ROW WHEN (old.status = 'waiting' AND new.status = 'applied')
EXECUTE FUNCTION batch.guard_second_person('decided_by');
-- The changes of an approved import.
CREATE TRIGGER second_person_of_part BEFORE INSERT ON batch.contract_change
FOR EACH ROW WHEN (new.status = 'applied' AND new.decided_by IS NOT null)
EXECUTE FUNCTION batch.guard_second_person('decided_by');
-- For a tenant's work, which cannot see rate changes.
CREATE FUNCTION batch.waiting_rate_on(wanted text, first_day date, last_day date) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(waiting.rate_date)
    FROM (
        SELECT
            coalesce(part.value ->> 'owner', change.after ->> 'currency') AS currency,
            (coalesce(part.value -> 'after', change.after) ->> 'rate_date')::date AS rate_date
        FROM batch.contract_change AS change
        LEFT JOIN LATERAL jsonb_array_elements(CASE WHEN change.kind = 'import' THEN change.after END) AS part (value) ON true
        WHERE
            change.status = 'waiting' AND (change.kind = 'exchange_rate' OR part.value ->> 'kind' = 'exchange_rate')
            AND change.changed && '{exchange_rate,yen_per_unit,rate_date}'
    ) AS waiting
    WHERE
        waiting.currency = waiting_rate_on.wanted
        AND waiting.rate_date BETWEEN waiting_rate_on.first_day AND waiting_rate_on.last_day
$$;
REVOKE EXECUTE ON FUNCTION batch.waiting_rate_on(text, date, date) FROM public;
GRANT EXECUTE ON FUNCTION batch.waiting_rate_on(text, date, date) TO batch_tenant, batch_platform;
COMMENT ON FUNCTION batch.waiting_rate_on(text, date, date) IS
'The last day of a period with an exchange rate of a currency that waits for another user''s approval; null: there is none.';
-- A tenant's work reads changes and makes none.
REVOKE INSERT, UPDATE, DELETE ON batch.contract_change FROM batch_tenant;
COMMENT ON TABLE batch.contract_change IS
'Every change of a contract: what, by whom, when and why, and who has approved it. A refused or expired one keeps no values.';
COMMENT ON COLUMN batch.contract_change.tenant_id IS 'Empty: an exchange rate, or an import of a file';
COMMENT ON COLUMN batch.contract_change.before IS 'The row before the change; null: there was none';
COMMENT ON COLUMN batch.contract_change.after IS
'The row after the change; null: it is removed. For an import that waits: all its changes';
COMMENT ON COLUMN batch.contract_change.changed IS 'The names of the columns with other values';
COMMENT ON COLUMN batch.contract_change.reason IS 'Why; of a withdrawn one also why it was withdrawn';
COMMENT ON COLUMN batch.contract_change.former_emails IS 'Addresses that get no more letters; they are notified once';
COMMENT ON COLUMN batch.contract_change.status IS
'waiting: for another user''s approval; expired: there was no decision within 30 days';
COMMENT ON COLUMN batch.contract_change.decided_by IS 'Who has approved or refused it; null of an applied one: it needed nobody';
COMMENT ON COLUMN batch.contract_change.decided_in IS 'execution_id of the run that applied the decision';
