-- Inputs of an invoice (BATCH-018-02) other than the price list and the closed usage days.

CREATE TABLE batch.plan_change (
    tenant_id text NOT NULL,
    effective_from date NOT NULL,
    plan text,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, effective_from)
);
CALL batch.make_tenant_table('batch.plan_change');
CREATE POLICY board ON batch.plan_change FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.plan_change IS
'Plan history (Asia/Tokyo dates). A row holds until the next row of the tenant. A null plan ends it.';

CREATE TABLE batch.plan_seen (
    tenant_id text PRIMARY KEY,
    plan text NOT NULL,
    seen_on date NOT NULL
);
CALL batch.make_tenant_table('batch.plan_seen');
COMMENT ON TABLE batch.plan_seen IS
'The plan that the application showed last. Only a change of it adds a row to plan_change, so manual rows stay.';

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
CREATE POLICY board ON batch.discount FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.discount IS 'Discounts of a tenant, with the first and the last day on which they hold.';
COMMENT ON COLUMN batch.discount.value IS
'percentage: of 100; fixed: in currency, per month, by the days on which it is valid; '
'free_quantity: in the unit of the metric, per month';

-- The valid row with the latest start applies.
CREATE TABLE batch.commitment (
    tenant_id text NOT NULL,
    valid_from date NOT NULL,
    valid_to date CHECK (valid_to >= valid_from),
    amount numeric NOT NULL CHECK (amount >= 0),
    currency text NOT NULL,
    PRIMARY KEY (tenant_id, valid_from)
);
CALL batch.make_tenant_table('batch.commitment');
CREATE POLICY board ON batch.commitment FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.commitment IS
'The least amount per month that a tenant agreed to, with or without tax as the price list. It replaces the minimum of the plan.';

CREATE TABLE batch.billing_profile (
    tenant_id text PRIMARY KEY,
    recipient_name text,
    department text,
    honorific text CHECK (honorific IN ('onchu', 'sama', 'none')),
    postal_code text,
    address text,
    country text,
    email text,
    further_emails text[] NOT NULL DEFAULT '{}',
    cc_emails text[] NOT NULL DEFAULT '{}',
    language text CHECK (language IN ('ja', 'en')),
    currency text,
    -- Categories of Japanese consumption tax, as in include/skillreport/billing/pricing/consumption_tax.py.
    tax_category text CHECK (
        tax_category IN ('standard', 'reduced', 'exempt', 'not_taxable', 'export', 'out_of_scope')
    ),
    partner_code text,
    pdf_delivery text CHECK (pdf_delivery IN ('attachment', 'link', 'none')),
    due_months integer CHECK (due_months BETWEEN 0 AND 12),
    due_day integer CHECK (due_day BETWEEN 1 AND 31),
    CHECK ((due_months IS null) = (due_day IS null)),
    CONSTRAINT billing_profile_copies CHECK (
        cardinality(further_emails || cc_emails) <= 10 AND array_position(further_emails || cc_emails, null) IS null
    )
);
CALL batch.make_tenant_table('batch.billing_profile');
CREATE POLICY board ON batch.billing_profile FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.billing_profile IS
'The billing address and options of a tenant. A null column takes the value of MST_Tenant or of the settings.';
COMMENT ON COLUMN batch.billing_profile.honorific IS '敬称 after the name or the department: 御中 (null, too), 様 or none';
COMMENT ON COLUMN batch.billing_profile.country IS
'ISO 3166-1 alpha-2, of the recipient''s address; it decides where the service is placed for consumption tax';
COMMENT ON COLUMN batch.billing_profile.further_emails IS
'Further recipients (To) of the letters; with cc_emails at most 10 addresses, without display names';
COMMENT ON COLUMN batch.billing_profile.cc_emails IS 'Recipients of a copy (Cc) of the letters';
COMMENT ON COLUMN batch.billing_profile.language IS 'Of invoices and letters; null: ja';
COMMENT ON COLUMN batch.billing_profile.currency IS 'ISO 4217; null: the host''s currency_code';
COMMENT ON COLUMN batch.billing_profile.tax_category IS
'Of every line, in place of the price list''s; null: of a recipient abroad the setting billing.abroad_tax, of others the list''s';
COMMENT ON COLUMN batch.billing_profile.partner_code IS
'取引先コード in the accounting software; null: the tenant''s code';
COMMENT ON COLUMN batch.billing_profile.due_months IS
'The customer''s own terms: due so many months after the billing month, on due_day; null: the setting billing.due_months';
COMMENT ON COLUMN batch.billing_profile.due_day IS 'The day of the month; 31: the last day of any month';
COMMENT ON COLUMN batch.billing_profile.pdf_delivery IS
'How the PDF travels with the letter; null: the setting billing.pdf_delivery';

-- The valid row with the latest start applies.
CREATE TABLE batch.order_number (
    tenant_id text NOT NULL,
    valid_from date NOT NULL,
    valid_to date CHECK (valid_to >= valid_from),
    order_number text NOT NULL CHECK (btrim(order_number) <> ''),
    PRIMARY KEY (tenant_id, valid_from)
);
CALL batch.make_tenant_table('batch.order_number');
CREATE POLICY board ON batch.order_number FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.order_number IS
'The customer''s order numbers (注文番号). An invoice states the one that is valid on the last day of its month.';

CREATE TABLE batch.exchange_rate (
    currency text NOT NULL CHECK (currency <> 'JPY'),
    rate_date date NOT NULL,
    yen_per_unit numeric NOT NULL CHECK (yen_per_unit > 0),
    PRIMARY KEY (currency, rate_date)
);
CALL batch.make_reference_table('batch.exchange_rate');
CREATE POLICY board ON batch.exchange_rate FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.exchange_rate IS
'Yen per unit of a currency (TTM) on a day. An invoice in a foreign currency also states its tax in yen.';

CREATE TABLE batch.metered_amount (
    tenant_id text NOT NULL,
    usage_date date NOT NULL,
    meter text NOT NULL CHECK (btrim(meter) <> ''),
    amount numeric NOT NULL CHECK (amount >= 0 AND amount < 'infinity'),
    events bigint NOT NULL CHECK (events >= 0),
    currency text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision integer NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, usage_date, meter)
);
-- Rows possibly written after their month's invoice, as in usage_day_late.
CREATE INDEX metered_amount_late ON batch.metered_amount (tenant_id, usage_date)
WHERE revision > 1 OR (recorded_at AT TIME ZONE 'Asia/Tokyo')::date > usage_date + 1 OR extract(DAY FROM usage_date + 1) = 1;
CALL batch.make_tenant_table('batch.metered_amount');
-- A deleted row would go unnoticed after its month is billed. A wrong amount is set to 0.
REVOKE DELETE ON batch.metered_amount FROM batch_tenant, batch_platform;
COMMENT ON TABLE batch.metered_amount IS
'A tenant''s amounts per day (Asia/Tokyo) and meter, for charges of the model metered_percentage; written by the installation.';
COMMENT ON COLUMN batch.metered_amount.meter IS 'As a charge of the price list names it, for example payments';
COMMENT ON COLUMN batch.metered_amount.amount IS 'The day''s sum, in currency';
COMMENT ON COLUMN batch.metered_amount.events IS 'The number of events in the day''s sum, for example of payments';
COMMENT ON COLUMN batch.metered_amount.currency IS 'ISO 4217; a charge accepts only the tenant''s currency';
COMMENT ON COLUMN batch.metered_amount.recorded_at IS 'When the row was written last; the database gives it';
COMMENT ON COLUMN batch.metered_amount.revision IS 'How often the row was written; the database gives it';

CREATE FUNCTION batch.stamp_metered_amount() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.recorded_at := clock_timestamp();
    NEW.revision := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE OLD.revision + 1 END;
    RETURN NEW;
END;
$$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON batch.metered_amount
FOR EACH ROW EXECUTE FUNCTION batch.stamp_metered_amount();
