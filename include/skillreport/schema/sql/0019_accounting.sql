-- Accounting: the months that are handed over to the accountant, and the search over all documents.

CREATE TABLE batch.accounting_month (
    month date PRIMARY KEY CHECK (extract(DAY FROM month) = 1),
    handed_over_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    handed_over_by text NOT NULL,
    execution_id text NOT NULL,
    files jsonb NOT NULL
);
CALL batch.make_reference_table('batch.accounting_month');
-- A month stays handed over. Tenants' work reads the table, because it dates documents after the last month.
REVOKE UPDATE, DELETE ON batch.accounting_month FROM batch_platform;
CREATE POLICY guard ON batch.accounting_month FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.accounting_month IS
'Calendar months (Asia/Tokyo) whose files the accountant has. The last one closes all months before it too.';
COMMENT ON COLUMN batch.accounting_month.files IS
'Per file: key, location, sha256, bytes, rows (without the header)';

-- A document belongs to the month of its date. The name sorts before "guard", so this trigger fires first: a void gets its time
-- while the lock is held. The void is then before a hand-over exactly if the hand-over sees it.
CREATE FUNCTION batch.guard_accounting_month() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The hand-over holds this lock exclusively (include/skillreport/billing/accounting/months.py).
    PERFORM pg_advisory_xact_lock_shared(180201, 0);
    IF NEW.status = 'finalized' AND EXISTS (
        SELECT FROM batch.accounting_month AS closed
        WHERE closed.month >= date_trunc('month', NEW.issued_on::timestamp)::date
    ) THEN
        RAISE restrict_violation USING
            MESSAGE = format('the month of %s is handed over to the accountant', NEW.issued_on),
            CONSTRAINT = 'accounting_month_is_open';
    END IF;
    RETURN NEW;
END;
$$;
REVOKE EXECUTE ON FUNCTION batch.guard_accounting_month() FROM public;
CREATE TRIGGER accounting_month BEFORE UPDATE OF status ON batch.invoice
FOR EACH ROW WHEN (old.status <> new.status AND new.status IN ('finalized', 'void'))
EXECUTE FUNCTION batch.guard_accounting_month();

-- What the search filters by, without reading the document.
ALTER TABLE batch.invoice
ADD COLUMN counterparty text GENERATED ALWAYS AS (content #>> '{recipient,name}') STORED,
ADD COLUMN yen_total numeric GENERATED ALWAYS AS (
    CASE currency
        WHEN 'JPY' THEN total
        ELSE
            round(
                total * coalesce(
                    content #>> '{yen_tax,yen_per_unit}', inputs #>> '{exchange_rate,yen_per_unit}'
                )::numeric
            )
    END
) STORED;
COMMENT ON COLUMN batch.invoice.yen_total IS
'In yen at the rate of the document or of its inputs; null: neither has a rate';
CREATE INDEX invoice_by_date ON batch.invoice (issued_on, yen_total) WHERE number IS NOT null;
CREATE INDEX invoice_by_counterparty ON batch.invoice (counterparty text_pattern_ops, issued_on) WHERE number IS NOT null;
CREATE INDEX invoice_by_void ON batch.invoice (((voided_at AT TIME ZONE 'Asia/Tokyo')::date)) WHERE voided_at IS NOT null;
-- The documents that a run issued or voided.
CREATE INDEX invoice_by_execution ON batch.invoice (execution_id);
CREATE INDEX invoice_by_voider ON batch.invoice (voided_by) WHERE voided_by IS NOT null;
