-- Billing (BATCH-018-02): what decides an invoice beside the price list and the closed usage days, and the invoices themselves.

-- Facts that belong to no tenant and that every tenant's work may read; only the cross-tenant role writes them.
CREATE PROCEDURE batch.make_reference_table(relation regclass)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('CREATE POLICY readable ON %s FOR SELECT TO batch_tenant USING (true)', relation);
    EXECUTE format('CREATE POLICY platform ON %s TO batch_platform USING (true) WITH CHECK (true)', relation);
    EXECUTE format('GRANT SELECT ON %s TO batch_tenant', relation);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO batch_platform', relation);
END;
$$;
REVOKE EXECUTE ON PROCEDURE batch.make_reference_table(regclass) FROM public;

-- What a tenant agreed to ------------------------------------------------------------------------------------------------

CREATE TABLE batch.plan_change (
    tenant_id text NOT NULL,
    effective_from date NOT NULL,
    plan text,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, effective_from)
);
CALL batch.make_tenant_table('batch.plan_change');
COMMENT ON TABLE batch.plan_change IS
'Plan history (Asia/Tokyo dates): each row holds until the tenant''s next one; plan NULL ends it.';

CREATE TABLE batch.plan_seen (
    tenant_id text PRIMARY KEY,
    plan text NOT NULL,
    seen_on date NOT NULL
);
CALL batch.make_tenant_table('batch.plan_seen');
COMMENT ON TABLE batch.plan_seen IS
'The plan that the host showed last: only a change of it makes a row of plan_change, so that what people enter there stands.';

CREATE TABLE batch.discount (
    tenant_id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('percentage', 'fixed', 'free_quantity')),
    value numeric NOT NULL CHECK (value > 0),
    currency text,
    metric text CHECK (metric IN ('active_users', 'storage_gb', 'api_calls', 'reports_generated')),
    valid_from date NOT NULL,
    valid_to date CHECK (valid_to >= valid_from),
    PRIMARY KEY (tenant_id, name, valid_from),
    CHECK (kind <> 'percentage' OR value <= 100),
    CHECK ((kind = 'fixed') = (currency IS NOT null)),
    CHECK ((kind = 'free_quantity') = (metric IS NOT null))
);
CALL batch.make_tenant_table('batch.discount');
COMMENT ON COLUMN batch.discount.value IS
'percentage: of 100; fixed: in currency, per month; free_quantity: in the unit of the metric, per month';

CREATE TABLE batch.commitment (
    tenant_id text NOT NULL,
    valid_from date NOT NULL,
    valid_to date CHECK (valid_to >= valid_from),
    amount numeric NOT NULL CHECK (amount >= 0),
    currency text NOT NULL,
    PRIMARY KEY (tenant_id, valid_from)
);
CALL batch.make_tenant_table('batch.commitment');
COMMENT ON TABLE batch.commitment IS
'What a tenant pays at least per month, before tax, in place of its plan''s minimum; where two hold, the later valid_from does.';

CREATE TABLE batch.billing_profile (
    tenant_id text PRIMARY KEY,
    recipient_name text,
    department text,
    postal_code text,
    address text,
    email text
);
CALL batch.make_tenant_table('batch.billing_profile');
COMMENT ON TABLE batch.billing_profile IS 'Whom invoices are for; what is NULL comes from the host''s MST_Tenant.';

CREATE TABLE batch.exchange_rate (
    currency text NOT NULL CHECK (currency <> 'JPY'),
    rate_date date NOT NULL,
    yen_per_unit numeric NOT NULL CHECK (yen_per_unit > 0),
    PRIMARY KEY (currency, rate_date)
);
CALL batch.make_reference_table('batch.exchange_rate');
COMMENT ON TABLE batch.exchange_rate IS
'Yen for one unit (TTM) on a day: the tax of a foreign-currency invoice is stated in yen too.';

-- Invoices -----------------------------------------------------------------------------------------------------------------

CREATE TABLE batch.invoice (
    invoice_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('invoice', 'credit')),
    period_start date NOT NULL CHECK (extract(DAY FROM period_start) = 1),
    period_end date NOT NULL,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'finalized', 'sent', 'void')),
    number text UNIQUE,
    issued_on date,
    due_on date,
    currency text NOT NULL,
    total numeric NOT NULL,
    content jsonb NOT NULL,
    inputs jsonb NOT NULL,
    input_hash text NOT NULL,
    hold_reason text,
    approved_by text,
    credits_invoice_id text REFERENCES batch.invoice,
    credit_reason text,
    credited boolean NOT NULL DEFAULT false,
    execution_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    finalized_at timestamptz,
    voided_at timestamptz,
    void_reason text,
    voided_by text,
    CHECK ((kind = 'credit') = (credits_invoice_id IS NOT null AND credit_reason IS NOT null)),
    CHECK (status NOT IN ('finalized', 'sent') OR (finalized_at IS NOT null AND issued_on IS NOT null)),
    CHECK (status NOT IN ('finalized', 'sent') OR (number IS NOT null) = (total <> 0)),
    CHECK ((status = 'void') = (voided_at IS NOT null AND void_reason IS NOT null AND voided_by IS NOT null))
);
-- One live invoice per tenant and month, and one live credit per invoice, however many runs there are at once.
CREATE UNIQUE INDEX invoice_live ON batch.invoice (tenant_id, period_start)
WHERE kind = 'invoice' AND status <> 'void' AND NOT credited;
CREATE UNIQUE INDEX invoice_live_credit ON batch.invoice (tenant_id, credits_invoice_id)
WHERE kind = 'credit' AND status <> 'void';
CREATE INDEX invoice_by_month ON batch.invoice (period_start, number);
CALL batch.make_tenant_table('batch.invoice');
-- The number and the times of its life are the database's to give (guard_invoice); across tenants invoices are only read.
REVOKE INSERT, UPDATE, DELETE ON batch.invoice FROM batch_tenant, batch_platform;
GRANT INSERT (
    invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash, hold_reason,
    credits_invoice_id, credit_reason, execution_id
), UPDATE (
    status, issued_on, due_on, currency, total, content, inputs, input_hash, hold_reason, approved_by, credited, execution_id,
    void_reason, voided_by
) ON batch.invoice TO batch_tenant;
COMMENT ON TABLE batch.invoice IS
'content: the invoice as on paper; inputs: all that decided it; input_hash: their SHA-256. Frozen when finalised.';
COMMENT ON COLUMN batch.invoice.number IS 'INV-YYYY-MM-NNN or CRN-YYYY-MM-NNN, gapless per month; none for a total of 0';

CREATE TABLE batch.invoice_counter (
    series text NOT NULL,
    billing_month date NOT NULL,
    last_number integer NOT NULL,
    PRIMARY KEY (series, billing_month)
);
CALL batch.make_platform_table('batch.invoice_counter');
CREATE POLICY numbering ON batch.invoice_counter TO batch_owner USING (true) WITH CHECK (true);
REVOKE INSERT, UPDATE, DELETE ON batch.invoice_counter FROM batch_platform;
-- The guard looks whether a credit exists.
CREATE POLICY guard ON batch.invoice FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.invoice_counter IS
'The last number given per series and month: a row and not a sequence, because a sequence leaves gaps when a transaction fails.';

-- Finalising gives the number, in the same transaction: if that fails, the number was never given, and whoever waited for the
-- counter's row gets it. Runs as the owner, because no tenant's work may touch the counter in any other way.
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
        OLD.tenant_id, OLD.kind, OLD.period_start, OLD.period_end, OLD.number, OLD.issued_on, OLD.due_on, OLD.currency, OLD.total,
        OLD.content, OLD.inputs, OLD.input_hash, OLD.credits_invoice_id, OLD.finalized_at, OLD.hold_reason, OLD.approved_by,
        OLD.execution_id
    ) IS DISTINCT FROM (
        NEW.tenant_id, NEW.kind, NEW.period_start, NEW.period_end, NEW.number, NEW.issued_on, NEW.due_on, NEW.currency, NEW.total,
        NEW.content, NEW.inputs, NEW.input_hash, NEW.credits_invoice_id, NEW.finalized_at, NEW.hold_reason, NEW.approved_by,
        NEW.execution_id
    ) THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s is %s and never changes', OLD.number, OLD.status);
    END IF;
    IF NEW.invoice_id <> OLD.invoice_id OR (OLD.credited AND NOT NEW.credited) OR (NEW.credited AND NEW.status = 'void') THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s is credited, and neither void nor another', OLD.number);
    END IF;
    IF NEW.credited AND NOT OLD.credited AND NOT EXISTS (
        SELECT FROM batch.invoice AS credit
        WHERE credit.credits_invoice_id = NEW.invoice_id AND credit.status IN ('finalized', 'sent')
    ) THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s has no credit', OLD.number);
    END IF;
    IF OLD.status = NEW.status THEN
        RETURN NEW;
    END IF;
    IF (OLD.status, NEW.status) NOT IN (
        ('draft', 'finalized'), ('draft', 'void'), ('finalized', 'sent'), ('finalized', 'void'), ('sent', 'void')
    ) THEN
        RAISE restrict_violation USING MESSAGE = format('invoice %s cannot go from %s to %s', OLD.number, OLD.status, NEW.status);
    END IF;
    IF NEW.status = 'finalized' THEN
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

CREATE TABLE batch.invoice_document (
    invoice_id text NOT NULL REFERENCES batch.invoice,
    tenant_id text NOT NULL,
    format text NOT NULL CHECK (format IN ('pdf', 'json')),
    location text NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (invoice_id, format)
);
CALL batch.make_tenant_table('batch.invoice_document');
COMMENT ON TABLE batch.invoice_document IS 'Where an invoice''s files are; a row is written after its file.';
