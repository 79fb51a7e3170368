-- Receivables: payments of invoices, and reminders of overdue invoices.

CREATE TABLE batch.payment (
    payment_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    invoice_id text NOT NULL REFERENCES batch.invoice,
    kind text NOT NULL DEFAULT 'payment' CHECK (kind IN ('payment', 'refund')),
    paid_on date NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0 AND amount < 'infinity'),
    currency text NOT NULL,
    yen numeric NOT NULL,
    booked_on date NOT NULL,
    method text NOT NULL CHECK (btrim(method) <> ''),
    reference text NOT NULL CHECK (btrim(reference) <> ''),
    source text NOT NULL CHECK (source IN ('operation', 'file', 'bank', 'host')),
    transfer_id text REFERENCES batch.bank_transfer,
    reason text,
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id text NOT NULL,
    reversed_at timestamptz,
    reversed_by text,
    reversal_reason text,
    reversal_execution_id text,
    reversal_booked_on date,
    -- A payment counts once, even if its file is imported or its operation is run repeatedly.
    UNIQUE (tenant_id, invoice_id, reference),
    CHECK (num_nulls(reversed_at, reversed_by, reversal_reason, reversal_execution_id) IN (0, 4)),
    CHECK (source <> 'bank' OR transfer_id IS NOT null),
    CHECK (reversal_booked_on IS null OR reversed_at IS NOT null),
    CHECK (currency <> 'JPY' OR yen = amount)
);
CREATE INDEX payment_by_invoice ON batch.payment (invoice_id);
CREATE INDEX payment_by_booking ON batch.payment (booked_on);
CREATE INDEX payment_by_reversal ON batch.payment (reversal_booked_on) WHERE reversal_booked_on IS NOT null;
CREATE INDEX payment_by_execution ON batch.payment (execution_id);
CREATE INDEX payment_by_reverser ON batch.payment (reversal_execution_id) WHERE reversal_execution_id IS NOT null;
CREATE INDEX payment_by_transfer ON batch.payment (transfer_id) WHERE transfer_id IS NOT null;
CALL batch.make_tenant_table('batch.payment');
CREATE POLICY board ON batch.payment FOR SELECT TO batch_owner USING (true);
-- A payment never changes. A wrong payment is reversed and stays visible.
REVOKE UPDATE, DELETE ON batch.payment FROM batch_tenant, batch_platform;
GRANT UPDATE (transfer_id, reversed_at, reversed_by, reversal_reason, reversal_execution_id) ON batch.payment TO batch_tenant;
COMMENT ON TABLE batch.payment IS
'Money that arrived for invoices or was paid back, as users entered it. A row with reversed_at does not count.';
COMMENT ON COLUMN batch.payment.kind IS 'payment: from the customer; refund: money paid back, which reduces paid_total';
COMMENT ON COLUMN batch.payment.paid_on IS 'Day of the payment (Asia/Tokyo)';
COMMENT ON COLUMN batch.payment.amount IS 'In currency, which is the invoice''s';
COMMENT ON COLUMN batch.payment.yen IS 'Its yen in the books, which the receivable loses, or of a refund gets back';
COMMENT ON COLUMN batch.payment.booked_on IS
'The day (Asia/Tokyo) of its booking: paid_on, or the first open day if that month was handed over';
COMMENT ON COLUMN batch.payment.reversal_booked_on IS
'The day (Asia/Tokyo) of the reversal''s booking; null: not reversed, or its month was open, so that it counts for nothing';
COMMENT ON COLUMN batch.payment.reference IS
'What identifies the payment, for example the bank''s; several invoices may be paid under one reference';
COMMENT ON COLUMN batch.payment.source IS
'bank: a transfer of a bank''s file; host: the application marked the invoice as PAID before a credit note about it was issued';
COMMENT ON COLUMN batch.payment.transfer_id IS
'The transfer, also of a payment that a user had entered before the bank''s file';
COMMENT ON COLUMN batch.payment.reason IS 'Why money was paid back, or why the payment was moved here from another invoice';

-- Concurrent confirmations of a transfer never exceed its amount.
CREATE FUNCTION batch.settle_transfer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (
        OLD.reversed_at IS NOT null
        OR (OLD.transfer_id IS NOT null AND (NEW.reversed_at IS null OR NEW.transfer_id IS DISTINCT FROM OLD.transfer_id))
    ) THEN
        RAISE check_violation USING
            MESSAGE = format('入金 %s は取り消し済みか、別の振込に結び付いています', OLD.payment_id),
            CONSTRAINT = 'settle_transfer';
    END IF;
    IF NEW.reversed_at IS NOT null THEN
        UPDATE batch.bank_transfer
        SET settled = settled - NEW.amount, was_taken_back = true
        WHERE transfer_id = NEW.transfer_id;
        RETURN null;
    END IF;
    UPDATE batch.bank_transfer
    SET settled = settled + NEW.amount
    WHERE
        transfer_id = NEW.transfer_id AND settled + NEW.amount <= amount
        AND cancelled_by IS null AND set_aside_at IS null AND NOT is_cancellation;
    IF NOT FOUND THEN
        RAISE check_violation USING
            MESSAGE = format('振込 %s は、ほかの入金に使われたか、取り消されたか、対象外にされています', NEW.transfer_id),
            CONSTRAINT = 'settle_transfer';
    END IF;
    RETURN null;
END;
$$;
REVOKE EXECUTE ON FUNCTION batch.settle_transfer() FROM public;
CREATE TRIGGER settle_transfer AFTER INSERT ON batch.payment
FOR EACH ROW WHEN (new.transfer_id IS NOT null) EXECUTE FUNCTION batch.settle_transfer();
CREATE TRIGGER settle_changed_transfer AFTER UPDATE OF transfer_id, reversed_at ON batch.payment
FOR EACH ROW WHEN (old.transfer_id IS NOT null OR new.transfer_id IS NOT null) EXECUTE FUNCTION batch.settle_transfer();

CREATE FUNCTION batch.book_payment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- As in batch.book_invoice.
    PERFORM pg_advisory_xact_lock_shared(180201, 0);
    IF TG_OP = 'INSERT' THEN
        NEW.booked_on := batch.booking_day(NEW.paid_on);
    ELSIF batch.booking_day(NEW.booked_on) > NEW.booked_on THEN
        -- The payment's month is handed over.
        NEW.reversal_booked_on := batch.booking_day((NEW.reversed_at AT TIME ZONE 'Asia/Tokyo')::date);
    END IF;
    RETURN NEW;
END;
$$;
REVOKE EXECUTE ON FUNCTION batch.book_payment() FROM public;
CREATE TRIGGER book BEFORE INSERT OR UPDATE OF reversed_at ON batch.payment
FOR EACH ROW EXECUTE FUNCTION batch.book_payment();

CREATE TABLE batch.reminder_stop (
    stop_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    invoice_id text REFERENCES batch.invoice,
    reason text NOT NULL CHECK (btrim(reason) <> ''),
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, invoice_id)
);
CALL batch.make_tenant_table('batch.reminder_stop');
CREATE POLICY board ON batch.reminder_stop FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.reminder_stop IS 'Tenants, or with invoice_id single invoices, for which no reminder is sent.';

CREATE TABLE batch.overdue_reminder (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL REFERENCES batch.invoice,
    days integer NOT NULL CHECK (days > 0),
    revision integer NOT NULL DEFAULT 1 CHECK (revision >= 1),
    queued_on date NOT NULL,
    open_amount numeric NOT NULL,
    execution_id text NOT NULL,
    PRIMARY KEY (invoice_id, days, revision)
);
CALL batch.make_tenant_table('batch.overdue_reminder');
CREATE POLICY board ON batch.overdue_reminder FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.overdue_reminder IS
'Reminders that were queued, each once; the letter in HIS_NotificationLog may be deleted earlier than this row.';
COMMENT ON COLUMN batch.overdue_reminder.days IS 'Days after the due date, as in the setting billing.reminder_days';
COMMENT ON COLUMN batch.overdue_reminder.revision IS
'The revision of the invoice that the letter carries. After a later due date, the same days are reminded again.';

CREATE TABLE batch.adjustment (
    adjustment_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    invoice_id text NOT NULL REFERENCES batch.invoice,
    kind text NOT NULL CHECK (kind IN ('fee', 'write_off', 'recovery')),
    accrued_on date NOT NULL,
    booked_on date NOT NULL,
    amount numeric NOT NULL CHECK (amount <> 0),
    currency text NOT NULL,
    content jsonb NOT NULL,
    fact text CHECK (fact IN ('rehabilitation', 'reorganisation', 'liquidation', 'insolvency', 'equivalent')),
    reason text NOT NULL CHECK (btrim(reason) <> ''),
    payment_id text REFERENCES batch.payment,
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id text NOT NULL,
    CHECK (fact IS null OR kind = 'write_off'),
    CHECK (kind = 'fee' OR (kind = 'recovery') = (payment_id IS NOT null))
);
CREATE INDEX adjustment_by_invoice ON batch.adjustment (invoice_id);
CREATE INDEX adjustment_by_payment ON batch.adjustment (payment_id) WHERE payment_id IS NOT null;
CREATE INDEX adjustment_by_booking ON batch.adjustment (booked_on);
CREATE INDEX adjustment_by_execution ON batch.adjustment (execution_id);
CALL batch.make_tenant_table('batch.adjustment');
CREATE POLICY board ON batch.adjustment FOR SELECT TO batch_owner USING (true);
-- An adjustment never changes. An opposite adjustment reverses it.
REVOKE UPDATE, DELETE ON batch.adjustment FROM batch_tenant, batch_platform;
COMMENT ON TABLE batch.adjustment IS
'What reduces a receivable without money and without a credit note, and what takes such a reduction back (a negative amount).';
COMMENT ON COLUMN batch.adjustment.kind IS
'fee: the bank''s fee that the payer has deducted; write_off: 貸倒れ; recovery: a payment of what was written off';
COMMENT ON COLUMN batch.adjustment.accrued_on IS 'Its day (Asia/Tokyo)';
COMMENT ON COLUMN batch.adjustment.booked_on IS
'The day (Asia/Tokyo) of its booking: accrued_on, or the first open day if that month was handed over';
COMMENT ON COLUMN batch.adjustment.amount IS 'In currency, which is the invoice''s; positive: it reduces what is open';
COMMENT ON COLUMN batch.adjustment.content IS 'Its amounts per tax category, in currency and in yen, as they are in the books';
COMMENT ON COLUMN batch.adjustment.fact IS
'Of a write-off: the fact under 消費税法施行令59条, by which the consumption tax is deducted; null: none, or another kind';
COMMENT ON COLUMN batch.adjustment.payment_id IS
'Of a recovery, and of the fee of a bank''s transfer: its payment. If that is reversed, the adjustment is taken back';
COMMENT ON COLUMN batch.adjustment.reason IS 'Why; of a write-off also where the evidence is kept';

CREATE TABLE batch.waiting_write_off (
    write_off_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    invoice_id text NOT NULL REFERENCES batch.invoice,
    accrued_on date NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0),
    fact text,
    evidence text NOT NULL CHECK (btrim(evidence) <> ''),
    open_amount numeric NOT NULL,
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id text NOT NULL,
    approved_by text,
    withdrawn_by text,
    decided_in text,
    withdrawal_reason text,
    CHECK (num_nulls(approved_by, withdrawn_by) >= 1),
    CHECK ((decided_in IS null) = (num_nulls(approved_by, withdrawn_by) = 2))
);
CREATE UNIQUE INDEX waiting_write_off_by_invoice ON batch.waiting_write_off (tenant_id, invoice_id)
WHERE decided_in IS null;
CREATE INDEX waiting_write_off_by_invoice_id ON batch.waiting_write_off (invoice_id);
CREATE INDEX waiting_write_off_by_execution ON batch.waiting_write_off (execution_id);
CALL batch.make_tenant_table('batch.waiting_write_off');
CREATE POLICY board ON batch.waiting_write_off FOR SELECT TO batch_owner USING (true);
CREATE TRIGGER second_person BEFORE UPDATE ON batch.waiting_write_off
FOR EACH ROW WHEN (new.approved_by IS NOT null)
EXECUTE FUNCTION batch.guard_second_person('approved_by');
REVOKE INSERT, UPDATE, DELETE ON batch.waiting_write_off FROM batch_tenant, batch_platform;
GRANT INSERT (
    write_off_id, tenant_id, invoice_id, accrued_on, amount, fact, evidence, open_amount, entered_by, execution_id
) ON batch.waiting_write_off TO batch_tenant;
GRANT UPDATE (approved_by, withdrawn_by, decided_in, withdrawal_reason) ON batch.waiting_write_off TO batch_tenant;
COMMENT ON TABLE batch.waiting_write_off IS
'Write-offs (貸倒れ) above the limit of one user: as entered, and who has approved or withdrawn them.';
COMMENT ON COLUMN batch.waiting_write_off.open_amount IS 'What was open of the invoice when it was entered, in its currency';

CREATE FUNCTION batch.book_adjustment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- As in batch.book_invoice.
    PERFORM pg_advisory_xact_lock_shared(180201, 0);
    NEW.booked_on := batch.booking_day(NEW.accrued_on);
    RETURN NEW;
END;
$$;
REVOKE EXECUTE ON FUNCTION batch.book_adjustment() FROM public;
CREATE TRIGGER book BEFORE INSERT ON batch.adjustment FOR EACH ROW EXECUTE FUNCTION batch.book_adjustment();
