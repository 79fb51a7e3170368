-- Billing: recipients abroad, one-off lines, and credit notes for a part of an invoice.

ALTER TABLE batch.billing_profile
ADD COLUMN country text,
ADD COLUMN language text CHECK (language IN ('ja', 'en')),
ADD COLUMN currency text,
-- The categories of Japanese consumption tax, as in include/skillreport/billing/pricing/consumption_tax.py.
ADD COLUMN tax_category text CHECK (
    tax_category IN ('standard', 'reduced', 'exempt', 'not_taxable', 'export', 'out_of_scope')
),
ADD COLUMN partner_code text,
ADD COLUMN pdf_delivery text CHECK (pdf_delivery IN ('attachment', 'link', 'none'));
COMMENT ON TABLE batch.billing_profile IS
'Whom invoices are for, and how; what is NULL comes from the host''s MST_Tenant or from the settings.';
COMMENT ON COLUMN batch.billing_profile.country IS
'ISO 3166-1 alpha-2, of the recipient''s address; it decides where the service is placed for consumption tax';
COMMENT ON COLUMN batch.billing_profile.language IS 'Of invoices and letters; null: ja';
COMMENT ON COLUMN batch.billing_profile.currency IS 'ISO 4217; null: the host''s currency_code';
COMMENT ON COLUMN batch.billing_profile.tax_category IS
'Of every line, in place of the price list''s; null: of a recipient abroad the setting billing.abroad_tax, of others the list''s';
COMMENT ON COLUMN batch.billing_profile.partner_code IS
'取引先コード in the accounting software; null: the tenant''s code';
COMMENT ON COLUMN batch.billing_profile.pdf_delivery IS
'How the PDF travels with the letter; null: the setting billing.pdf_delivery';

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
    UNIQUE (tenant_id, execution_id, description, tax_category)
);
CREATE INDEX extra_charge_by_date ON batch.extra_charge (tenant_id, charged_on);
CREATE INDEX extra_charge_carries ON batch.extra_charge (carries_invoice_id) WHERE carries_invoice_id IS NOT null;
CALL batch.make_tenant_table('batch.extra_charge');
COMMENT ON TABLE batch.extra_charge IS
'One-off lines, entered by people: each is a line of the invoice of the month of charged_on, after discounts and the minimum.';
COMMENT ON COLUMN batch.extra_charge.unit_amount IS 'In currency, before tax as the price list''s prices; negative: a deduction';
COMMENT ON COLUMN batch.extra_charge.carries_invoice_id IS
'The invoice whose difference (usage that was closed again) the line carries into a later month';
COMMENT ON COLUMN batch.extra_charge.execution_id IS
'The run that entered it, which a retry finds; null: entered with SQL';

-- An invoice may have several credit notes. Together they are never more than the invoice. The total is on the invoice's own row,
-- so that two operations that take the same invoice back see each other.
DROP INDEX batch.invoice_live_credit;
CREATE INDEX invoice_credits ON batch.invoice (credits_invoice_id) WHERE kind = 'credit';
ALTER TABLE batch.invoice
ADD COLUMN credited_total numeric NOT NULL DEFAULT 0,
ADD CONSTRAINT invoice_credits_within_total CHECK (abs(credited_total) <= abs(total)),
ADD CONSTRAINT invoice_credited_not_void CHECK (status <> 'void' OR credited_total = 0);
-- Until now each credit note was for a whole invoice. The table's owner does not belong to any policy that updates.
ALTER TABLE batch.invoice NO FORCE ROW LEVEL SECURITY;
UPDATE batch.invoice SET credited_total = total
WHERE credited;
ALTER TABLE batch.invoice FORCE ROW LEVEL SECURITY;
GRANT UPDATE (credited_total) ON batch.invoice TO batch_tenant;
COMMENT ON COLUMN batch.invoice.credited_total IS 'The sum of its final credit notes, tax included';
COMMENT ON COLUMN batch.invoice.credited IS 'Credited in full: the month may be billed again';
-- The month's invoice that a new one replaces is found by tenant; otherwise each tenant would read all invoices of the month.
CREATE INDEX invoice_taken_back ON batch.invoice (tenant_id, period_start)
WHERE kind = 'invoice' AND (status = 'void' OR credited);

-- Letters that carry a file. A letter is sent when its file is written.
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

-- Days that may have been closed after the invoice of their month was made: again, late, or the last day of the month.
CREATE INDEX usage_day_late ON batch.usage_day (tenant_id, usage_date)
WHERE revision > 1 OR (closed_at AT TIME ZONE 'Asia/Tokyo')::date > usage_date + 1 OR extract(DAY FROM usage_date + 1) = 1;
