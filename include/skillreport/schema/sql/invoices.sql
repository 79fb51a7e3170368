-- Invoices and credit notes (BATCH-018-02), their one-off lines and documents, and the months handed over to the accountant.

CREATE TABLE batch.invoice (
    invoice_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('invoice', 'credit')),
    period_start date NOT NULL CHECK (extract(DAY FROM period_start) = 1),
    period_end date NOT NULL,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'finalized', 'void')),
    number text UNIQUE,
    issued_on date,
    leaves_on date,
    due_on date,
    accrued_on date,
    booked_on date,
    currency text NOT NULL,
    total numeric NOT NULL,
    yen_total numeric GENERATED ALWAYS AS (
        CASE currency
            WHEN 'JPY' THEN total
            ELSE
                round(
                    total * coalesce(
                        content #>> '{yen_tax,yen_per_unit}', inputs #>> '{exchange_rate,yen_per_unit}'
                    )::numeric
                )
        END
    ) STORED,
    -- The final invoice was voided or fully credited. Its month is billed again only for named tenants.
    closes_month boolean GENERATED ALWAYS AS (
        kind = 'invoice' AND finalized_at IS NOT null AND (status = 'void' OR credited)
    ) STORED,
    counterparty text GENERATED ALWAYS AS (content #>> '{recipient,name}') STORED,
    content jsonb NOT NULL,
    inputs jsonb NOT NULL,
    input_hash text NOT NULL,
    hold_reason text,
    approved_by text,
    again_reason text CHECK (btrim(again_reason) <> ''),
    credits_invoice_id text REFERENCES batch.invoice,
    credit_reason text,
    entered_by text,
    entry_execution_id text,
    -- The totals of credit notes, payments and adjustments are in the invoice's own row, so that concurrent operations on the
    -- invoice see each other.
    credited boolean NOT NULL DEFAULT false,
    credited_total numeric NOT NULL DEFAULT 0,
    paid_total numeric NOT NULL DEFAULT 0 CHECK (paid_total >= 0),
    fee_total numeric NOT NULL DEFAULT 0 CHECK (fee_total >= 0),
    written_off_total numeric NOT NULL DEFAULT 0 CHECK (written_off_total >= 0),
    open_amount numeric GENERATED ALWAYS AS (total - credited_total - paid_total - fee_total - written_off_total) STORED,
    marked_paid boolean NOT NULL DEFAULT false,
    execution_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    finalized_at timestamptz,
    voided_at timestamptz,
    void_reason text,
    voided_by text,
    CHECK ((kind = 'credit') = (credits_invoice_id IS NOT null AND credit_reason IS NOT null)),
    CHECK (
        status <> 'finalized'
        OR (finalized_at IS NOT null AND issued_on IS NOT null AND accrued_on IS NOT null AND booked_on IS NOT null)
    ),
    CHECK (booked_on >= accrued_on),
    CHECK (status <> 'finalized' OR (number IS NOT null) = (total <> 0)),
    CHECK ((status = 'void') = (voided_at IS NOT null AND void_reason IS NOT null AND voided_by IS NOT null)),
    CONSTRAINT invoice_credits_within_total CHECK (abs(credited_total) + fee_total + written_off_total <= abs(total)),
    CONSTRAINT invoice_credited_not_void CHECK (status <> 'void' OR credited_total = 0),
    CONSTRAINT invoice_paid_not_void CHECK (status <> 'void' OR paid_total + fee_total + written_off_total = 0)
);
-- One live invoice per tenant and month, also with concurrent runs.
CREATE UNIQUE INDEX invoice_live ON batch.invoice (tenant_id, period_start)
WHERE kind = 'invoice' AND status <> 'void' AND NOT credited;
CREATE INDEX invoice_waiting ON batch.invoice (period_start) WHERE kind = 'credit' AND status = 'draft';
CREATE INDEX invoice_credits ON batch.invoice (credits_invoice_id) WHERE kind = 'credit';
-- Finds the replaced invoice of a tenant's month. Without it, each tenant would read all invoices of the month.
CREATE INDEX invoice_taken_back ON batch.invoice (tenant_id, period_start) WHERE closes_month;
CREATE INDEX invoice_by_month ON batch.invoice (period_start, number);
CREATE INDEX invoice_by_tenant ON batch.invoice (tenant_id, period_start DESC);
CREATE INDEX invoice_by_execution ON batch.invoice (execution_id);
CREATE INDEX invoice_by_voider ON batch.invoice (voided_by) WHERE voided_by IS NOT null;
CREATE INDEX invoice_by_date ON batch.invoice (issued_on, yen_total) WHERE number IS NOT null;
CREATE INDEX invoice_by_booking ON batch.invoice (booked_on) WHERE number IS NOT null;
CREATE INDEX invoice_by_counterparty ON batch.invoice (counterparty COLLATE "C", issued_on) WHERE number IS NOT null;
-- The search over all years by amount alone, and by the beginning of the number.
CREATE INDEX invoice_by_amount ON batch.invoice (yen_total, issued_on) WHERE number IS NOT null;
CREATE INDEX invoice_by_number ON batch.invoice (number text_pattern_ops) WHERE number IS NOT null;
CREATE INDEX invoice_by_void ON batch.invoice (((voided_at AT TIME ZONE 'Asia/Tokyo')::date)) WHERE voided_at IS NOT null;
CREATE INDEX invoice_open ON batch.invoice (due_on, tenant_id)
WHERE kind = 'invoice' AND number IS NOT null AND status = 'finalized' AND open_amount <> 0;
-- Open invoices and their sums by counterparty, without reading all invoices.
CREATE INDEX invoice_open_by_counterparty ON batch.invoice (counterparty COLLATE "C", tenant_id, due_on, number)
INCLUDE (invoice_id, period_start, currency, total, open_amount, marked_paid)
WHERE kind = 'invoice' AND number IS NOT null AND status = 'finalized' AND open_amount <> 0;
CALL batch.make_tenant_table('batch.invoice');
-- For the trigger guard.
CREATE POLICY guard ON batch.invoice FOR SELECT TO batch_owner USING (true);
-- The database sets the number and the times (guard_invoice) and the booking day (book_invoice). Across tenants, invoices are
-- read-only.
REVOKE INSERT, UPDATE, DELETE ON batch.invoice FROM batch_tenant, batch_platform;
GRANT INSERT (
    invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash, hold_reason,
    again_reason, credits_invoice_id, credit_reason, execution_id, entered_by, entry_execution_id
), UPDATE (
    status, issued_on, leaves_on, due_on, accrued_on, currency, total, content, inputs, input_hash, hold_reason, approved_by,
    again_reason, credited, credited_total, paid_total, fee_total, written_off_total, marked_paid, execution_id, void_reason,
    voided_by
) ON batch.invoice TO batch_tenant;
COMMENT ON TABLE batch.invoice IS
'Invoices, credit notes and replacements. content is the document, inputs are its facts, input_hash is their SHA-256. '
'A finalised row never changes, except that its newest revision may move due_on.';
COMMENT ON COLUMN batch.invoice.number IS 'INV-YYYY-MM-NNN or CRN-YYYY-MM-NNN, gapless per month; none for a total of 0';
COMMENT ON COLUMN batch.invoice.leaves_on IS
'The planned day on which the letter leaves (BATCH-019-01); null: no letter is sent';
COMMENT ON COLUMN batch.invoice.accrued_on IS
'The day (Asia/Tokyo) to which its booking belongs: the last day of the service, or its issue date; null while it is a draft';
COMMENT ON COLUMN batch.invoice.booked_on IS
'The day (Asia/Tokyo) of its booking: accrued_on, or the first open day if that month was handed over before it was finalised';
COMMENT ON COLUMN batch.invoice.yen_total IS
'In yen at the rate of the document or of its inputs; null: neither has a rate';
COMMENT ON COLUMN batch.invoice.credited IS 'Credited in full: the tenant''s month is closed, as after a void';
COMMENT ON COLUMN batch.invoice.again_reason IS
'Why the month is billed again after a void or a full credit. Without it, an invoice of a closed month cannot be finalised.';
COMMENT ON COLUMN batch.invoice.entered_by IS 'The user who entered the credit note; null: an invoice';
COMMENT ON COLUMN batch.invoice.entry_execution_id IS 'The run that entered the credit note, which a retry finds';
COMMENT ON COLUMN batch.invoice.credited_total IS 'The sum of its final credit notes, tax included';
COMMENT ON COLUMN batch.invoice.paid_total IS 'The sum of its payments less its refunds, without those taken back';
COMMENT ON COLUMN batch.invoice.fee_total IS 'The sum of the transfer fees that its payer has deducted (batch.adjustment)';
COMMENT ON COLUMN batch.invoice.written_off_total IS 'What is written off and not recovered (batch.adjustment)';
COMMENT ON COLUMN batch.invoice.open_amount IS 'What is left to pay; negative: it is owed to the customer';
COMMENT ON COLUMN batch.invoice.marked_paid IS
'Whether this product has set PAID in HIS_TenantBilling; PAID without it is the application''s own';

CREATE TABLE batch.invoice_counter (
    series text NOT NULL,
    billing_month date NOT NULL,
    last_number integer NOT NULL,
    PRIMARY KEY (series, billing_month)
);
CALL batch.make_platform_table('batch.invoice_counter');
CREATE POLICY numbering ON batch.invoice_counter TO batch_owner USING (true) WITH CHECK (true);
REVOKE UPDATE, DELETE ON batch.invoice_counter FROM batch_platform;
-- Numbers begin above the numbers before this schema. After the first invoice, only finalising increments the counter.
CREATE POLICY before_first ON batch.invoice_counter AS RESTRICTIVE FOR INSERT TO batch_platform WITH CHECK (
    NOT EXISTS (
        SELECT FROM batch.invoice
        WHERE number IS NOT null
    )
);
COMMENT ON TABLE batch.invoice_counter IS
'The last invoice number per series and month. A row and not a sequence, because a sequence leaves gaps.';

-- Finalising assigns the number in the same transaction. After a failure the number is unused, and the next transaction that
-- waits for the counter's row gets it. Runs as the owner, because tenants' work must not change the counter otherwise.
CREATE FUNCTION batch.guard_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken integer;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.status <> 'draft' THEN
            RAISE restrict_violation USING MESSAGE = format('invoice %s is %s and cannot be deleted', OLD.number, OLD.status);
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.status <> 'draft' AND (
        OLD.tenant_id, OLD.kind, OLD.period_start, OLD.period_end, OLD.number, OLD.issued_on, OLD.leaves_on, OLD.accrued_on,
        OLD.booked_on, OLD.currency, OLD.total, OLD.content, OLD.inputs, OLD.input_hash, OLD.credits_invoice_id,
        OLD.finalized_at, OLD.hold_reason, OLD.approved_by, OLD.again_reason, OLD.execution_id
    ) IS DISTINCT FROM (
        NEW.tenant_id, NEW.kind, NEW.period_start, NEW.period_end, NEW.number, NEW.issued_on, NEW.leaves_on, NEW.accrued_on,
        NEW.booked_on, NEW.currency, NEW.total, NEW.content, NEW.inputs, NEW.input_hash, NEW.credits_invoice_id,
        NEW.finalized_at, NEW.hold_reason, NEW.approved_by, NEW.again_reason, NEW.execution_id
    ) THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s is %s and never changes', OLD.number, OLD.status);
    END IF;
    IF OLD.status <> 'draft' AND NEW.due_on IS DISTINCT FROM OLD.due_on AND coalesce(NEW.due_on <> (
        SELECT newest.due_on FROM batch.invoice_revision AS newest
        WHERE newest.invoice_id = OLD.invoice_id
        ORDER BY newest.revision DESC
        LIMIT 1
    ), true) THEN
        RAISE restrict_violation USING
            MESSAGE = format('invoice %s is %s and is due as its newest revision says', OLD.number, OLD.status);
    END IF;
    IF NEW.invoice_id <> OLD.invoice_id OR (OLD.credited AND NOT NEW.credited) OR (NEW.credited AND NEW.status = 'void') THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s is credited, and neither void nor another', OLD.number);
    END IF;
    IF NEW.credited AND NOT OLD.credited AND NOT EXISTS (
        SELECT FROM batch.invoice AS credit
        WHERE credit.credits_invoice_id = NEW.invoice_id AND credit.status = 'finalized'
    ) THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s has no credit', OLD.number);
    END IF;
    IF OLD.status = NEW.status THEN
        RETURN NEW;
    END IF;
    IF (OLD.status, NEW.status) NOT IN (
        ('draft', 'finalized'), ('draft', 'void'), ('finalized', 'void')
    ) THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s cannot go from %s to %s', OLD.number, OLD.status, NEW.status);
    END IF;
    IF NEW.status = 'finalized' THEN
        IF NEW.kind = 'invoice' AND NEW.again_reason IS null AND EXISTS (
            SELECT FROM batch.invoice AS past
            WHERE
                past.tenant_id = NEW.tenant_id AND past.period_start = NEW.period_start AND past.closes_month
        ) THEN
            RAISE restrict_violation USING
                MESSAGE = format('the month %s of the tenant is closed', NEW.period_start),
                CONSTRAINT = 'closed_month_stays_closed';
        END IF;
        NEW.finalized_at := clock_timestamp();
        IF NEW.total <> 0 THEN
            INSERT INTO batch.invoice_counter AS counter (series, billing_month, last_number)
            VALUES (CASE NEW.kind WHEN 'invoice' THEN 'INV' ELSE 'CRN' END, NEW.period_start, 1)
            ON CONFLICT (series, billing_month) DO UPDATE SET last_number = counter.last_number + 1
            RETURNING last_number INTO taken;
            NEW.number := format(
                '%s-%s-%s',
                CASE NEW.kind WHEN 'invoice' THEN 'INV' ELSE 'CRN' END,
                to_char(NEW.period_start, 'YYYY-MM'),
                CASE WHEN taken < 1000 THEN lpad(taken::text, 3, '0') ELSE taken::text END
            );
        END IF;
    ELSIF NEW.status = 'void' THEN
        NEW.voided_at := clock_timestamp();
    END IF;
    RETURN NEW;
END;
$$;
REVOKE EXECUTE ON FUNCTION batch.guard_invoice() FROM public;
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON batch.invoice FOR EACH ROW EXECUTE FUNCTION batch.guard_invoice();
CREATE TRIGGER second_person BEFORE UPDATE ON batch.invoice
FOR EACH ROW WHEN (
    old.kind = 'credit' AND coalesce(old.hold_reason, new.hold_reason) IS NOT null
    AND (new.hold_reason IS null OR new.status = 'finalized')
)
EXECUTE FUNCTION batch.guard_second_person('approved_by');

CREATE TABLE batch.extra_charge (
    extra_charge_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    charged_on date NOT NULL,
    description text NOT NULL CHECK (btrim(description) <> ''),
    quantity numeric NOT NULL DEFAULT 1 CHECK (quantity > 0),
    unit text,
    unit_amount numeric NOT NULL CHECK (unit_amount <> 0),
    currency text NOT NULL,
    tax_category text NOT NULL CHECK (
        tax_category IN ('standard', 'reduced', 'exempt', 'not_taxable', 'export', 'out_of_scope')
    ),
    carries_invoice_id text REFERENCES batch.invoice,
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT now(),
    execution_id text,
    waits boolean NOT NULL DEFAULT false,
    approved_by text,
    approved_at timestamptz,
    UNIQUE (tenant_id, execution_id, description, tax_category),
    CHECK ((approved_by IS null) = (approved_at IS null))
);
CREATE INDEX extra_charge_by_date ON batch.extra_charge (tenant_id, charged_on);
CREATE INDEX extra_charge_waiting ON batch.extra_charge (charged_on) WHERE waits AND approved_by IS null;
CREATE INDEX extra_charge_carries ON batch.extra_charge (carries_invoice_id) WHERE carries_invoice_id IS NOT null;
CALL batch.make_tenant_table('batch.extra_charge');
CREATE POLICY board ON batch.extra_charge FOR SELECT TO batch_owner USING (true);
-- An approved line does not change. A wrong line is removed.
REVOKE INSERT, UPDATE ON batch.extra_charge FROM batch_tenant, batch_platform;
GRANT INSERT (
    extra_charge_id, tenant_id, charged_on, description, quantity, unit, unit_amount, currency, tax_category,
    carries_invoice_id, entered_by, execution_id
), UPDATE (waits, approved_by, approved_at) ON batch.extra_charge TO batch_tenant;
COMMENT ON TABLE batch.extra_charge IS
'One-off lines, entered by users: each is a line of the invoice of the month of charged_on, after discounts and the minimum.';
COMMENT ON COLUMN batch.extra_charge.unit_amount IS 'In currency, before tax as the price list''s prices; negative: a deduction';
COMMENT ON COLUMN batch.extra_charge.carries_invoice_id IS
'The invoice whose difference (usage that was closed again) the line carries into a later month';
COMMENT ON COLUMN batch.extra_charge.waits IS
'Entered above the setting billing.operation_limit: a user other than entered_by approves the invoice';
COMMENT ON COLUMN batch.extra_charge.approved_by IS 'Who approved the first held draft that contained the line; null: nobody';
COMMENT ON COLUMN batch.extra_charge.execution_id IS
'The run that entered it, which a retry finds; null: entered with SQL';

CREATE TRIGGER second_person BEFORE UPDATE ON batch.extra_charge
FOR EACH ROW WHEN ((old.waits OR new.waits) AND (new.approved_by IS NOT null OR NOT new.waits))
EXECUTE FUNCTION batch.guard_second_person('approved_by');

CREATE TABLE batch.extra_charge_removal (
    extra_charge_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    content jsonb NOT NULL,
    removed_by text NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now(),
    execution_id text NOT NULL
);
CREATE INDEX extra_charge_removal_by_execution ON batch.extra_charge_removal (tenant_id, execution_id);
CALL batch.make_tenant_table('batch.extra_charge_removal');
COMMENT ON TABLE batch.extra_charge_removal IS
'One-off lines that were removed from batch.extra_charge before an invoice had them; content is the removed row.';

CREATE TABLE batch.invoice_revision (
    invoice_id text NOT NULL REFERENCES batch.invoice,
    revision integer NOT NULL CHECK (revision >= 2),
    tenant_id text NOT NULL,
    content jsonb NOT NULL,
    counterparty text GENERATED ALWAYS AS (content #>> '{recipient,name}') STORED,
    due_on date NOT NULL,
    earlier_due_on date NOT NULL,
    corrected_on date NOT NULL,
    reason text NOT NULL CHECK (btrim(reason) <> ''),
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id text NOT NULL,
    leaves_on date,
    approved_by text,
    approved_at timestamptz,
    PRIMARY KEY (invoice_id, revision),
    UNIQUE (invoice_id, execution_id),
    CHECK ((approved_by IS null) = (approved_at IS null))
);
CREATE INDEX invoice_revision_waiting ON batch.invoice_revision (invoice_id) WHERE approved_by IS null;
-- Finds an invoice also by its corrected name.
CREATE INDEX invoice_revision_by_counterparty ON batch.invoice_revision (counterparty COLLATE "C");
CALL batch.make_tenant_table('batch.invoice_revision');
CREATE POLICY board ON batch.invoice_revision FOR SELECT TO batch_owner USING (true);
-- A revision never changes. Another correction creates the next revision.
REVOKE INSERT, UPDATE, DELETE ON batch.invoice_revision FROM batch_tenant, batch_platform;
GRANT INSERT (
    invoice_id, revision, tenant_id, content, due_on, earlier_due_on, corrected_on, reason, entered_by, execution_id, leaves_on
), UPDATE (approved_by, approved_at) ON batch.invoice_revision TO batch_tenant;
CREATE TRIGGER second_person BEFORE UPDATE ON batch.invoice_revision
FOR EACH ROW WHEN (new.approved_by IS DISTINCT FROM old.approved_by)
EXECUTE FUNCTION batch.guard_second_person('approved_by');
COMMENT ON TABLE batch.invoice_revision IS
'Corrected documents (修正した適格請求書) of invoices with the same number and amounts. The first document is content of batch.invoice.';
COMMENT ON COLUMN batch.invoice_revision.content IS 'The entire corrected document';
COMMENT ON COLUMN batch.invoice_revision.earlier_due_on IS 'The due date of the revision before';
COMMENT ON COLUMN batch.invoice_revision.corrected_on IS 'The day of the correction (Asia/Tokyo)';
COMMENT ON COLUMN batch.invoice_revision.reason IS 'What was corrected, as printed on the document';
COMMENT ON COLUMN batch.invoice_revision.leaves_on IS
'The planned day on which its letter leaves (BATCH-019-01); null: no letter is sent';
COMMENT ON COLUMN batch.invoice_revision.approved_by IS
'The other user who has sent its letter; null: it waits, unless the invoice was taken back';

CREATE TABLE batch.invoice_document (
    invoice_id text NOT NULL REFERENCES batch.invoice,
    tenant_id text NOT NULL,
    revision integer NOT NULL DEFAULT 1 CHECK (revision >= 1),
    format text NOT NULL CHECK (format IN ('pdf', 'json')),
    location text NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (invoice_id, revision, format)
);
CALL batch.make_tenant_table('batch.invoice_document');
CREATE POLICY board ON batch.invoice_document FOR SELECT TO batch_owner USING (true);
-- Keep the row, because it locates the document.
REVOKE DELETE ON batch.invoice_document FROM batch_tenant, batch_platform;
COMMENT ON TABLE batch.invoice_document IS 'Where an invoice''s files are; a row is written after its file.';

-- A letter with a file is sent after the file is written.
CREATE TABLE batch.letter_file (
    tenant_id text NOT NULL,
    notification_id text NOT NULL,
    file_name text NOT NULL,
    object_key text NOT NULL,
    attached_text text NOT NULL,
    unattached_text text NOT NULL,
    sha256 text,
    bytes bigint,
    is_attached boolean CHECK ((is_attached IS null) = (sha256 IS null) AND (bytes IS null) = (sha256 IS null)),
    PRIMARY KEY (tenant_id, notification_id)
);
CALL batch.make_tenant_table('batch.letter_file');
COMMENT ON TABLE batch.letter_file IS
'The file of a letter in HIS_NotificationLog, in the object store. sha256, bytes and is_attached are null until it is written.';
COMMENT ON COLUMN batch.letter_file.is_attached IS
'Whether the file is small enough for the mail server; the letter ends with attached_text or with unattached_text';

-- A letter to several addresses is one row of HIS_NotificationLog per address, so that each has its own delivery and bounces.
CREATE TABLE batch.letter_copy (
    tenant_id text NOT NULL,
    notification_id text NOT NULL,
    letter_id text NOT NULL,
    place integer NOT NULL CHECK (place >= 0),
    kind text NOT NULL CHECK (kind IN ('to', 'cc')),
    address text NOT NULL,
    PRIMARY KEY (tenant_id, notification_id),
    UNIQUE (tenant_id, letter_id, place),
    CHECK ((place = 0) = (notification_id = letter_id))
);
CALL batch.make_tenant_table('batch.letter_copy');
CREATE POLICY board ON batch.letter_copy FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.letter_copy IS
'The letters that go to several addresses: one row for the letter and one per copy. Each names all of them as To and Cc.';
COMMENT ON COLUMN batch.letter_copy.notification_id IS
'The row of HIS_NotificationLog for this address: letter_id, or <letter_id>-copy-<place>';
COMMENT ON COLUMN batch.letter_copy.place IS '0: the letter itself; from 1 on its copies';

CREATE TABLE batch.letter_decision (
    invoice_id text NOT NULL REFERENCES batch.invoice,
    execution_id text NOT NULL,
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('stop', 'send')),
    reason text NOT NULL CHECK (btrim(reason) <> ''),
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (invoice_id, execution_id)
);
CALL batch.make_tenant_table('batch.letter_decision');
CREATE POLICY board ON batch.letter_decision FOR SELECT TO batch_owner USING (true);
-- Decisions are kept; the newest counts.
REVOKE UPDATE, DELETE ON batch.letter_decision FROM batch_tenant, batch_platform;
COMMENT ON TABLE batch.letter_decision IS
'Each decision of a user to stop the letter of an invoice before it leaves, or to send it';
COMMENT ON COLUMN batch.letter_decision.kind IS
'stop: the row of HIS_NotificationLog is withdrawn; send: it is released';

CREATE TABLE batch.accounting_month (
    month date PRIMARY KEY CHECK (extract(DAY FROM month) = 1),
    handed_over_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    handed_over_by text NOT NULL,
    execution_id text NOT NULL,
    files jsonb NOT NULL,
    changes jsonb
);
CALL batch.make_reference_table('batch.accounting_month');
CREATE POLICY guard ON batch.accounting_month FOR SELECT TO batch_owner USING (true);
-- A handed-over month is never reopened. Tenants' work reads the table.
REVOKE UPDATE, DELETE ON batch.accounting_month FROM batch_platform;
COMMENT ON TABLE batch.accounting_month IS
'Calendar months (Asia/Tokyo) that were handed over to the accountant. The newest one closes all earlier months.';
COMMENT ON COLUMN batch.accounting_month.files IS
'Per file: key, location, sha256, bytes, rows (without the header), yen (the sum of its receivables)';
COMMENT ON COLUMN batch.accounting_month.changes IS
'The documents that differ from the last provisional list: number, kind, before and after; null: there was no such list';

-- The booking day of an entry: this day, or the first open day if its month is handed over.
CREATE FUNCTION batch.booking_day(accrued_on date) RETURNS date
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(accrued_on, (max(closed.month) + interval '1 month')::date) FROM batch.accounting_month AS closed
$$;

-- A document is booked on its own day, or on the first open day if that month is handed over. The trigger's name sorts before
-- "guard", so it fires first and a void gets its time under the lock. A void is then earlier than a hand-over exactly if the
-- hand-over sees it.
CREATE FUNCTION batch.book_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The hand-over holds this lock exclusively (include/skillreport/billing/accounting/months.py).
    PERFORM pg_advisory_xact_lock_shared(180201, 0);
    IF NEW.status = 'finalized' THEN
        NEW.booked_on := batch.booking_day(NEW.accrued_on);
    END IF;
    RETURN NEW;
END;
$$;
REVOKE EXECUTE ON FUNCTION batch.book_invoice() FROM public;
CREATE TRIGGER book BEFORE UPDATE OF status ON batch.invoice
FOR EACH ROW WHEN (old.status <> new.status AND new.status IN ('finalized', 'void'))
EXECUTE FUNCTION batch.book_invoice();
