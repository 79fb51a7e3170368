-- Billing: amounts of money of which a charge takes a percentage.

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
CALL batch.make_tenant_table('batch.metered_amount');
COMMENT ON TABLE batch.metered_amount IS
'A tenant''s amounts per day (Asia/Tokyo) and meter, for charges of the model metered_percentage; written by the installation.';
COMMENT ON COLUMN batch.metered_amount.meter IS 'As a charge of the price list names it, for example payments';
COMMENT ON COLUMN batch.metered_amount.amount IS 'The day''s sum, in currency';
COMMENT ON COLUMN batch.metered_amount.events IS 'The number of events in the day''s sum, for example of payments';
COMMENT ON COLUMN batch.metered_amount.currency IS 'ISO 4217; a charge accepts only the tenant''s currency';
COMMENT ON COLUMN batch.metered_amount.recorded_at IS 'When the row was written last; the database gives it';
COMMENT ON COLUMN batch.metered_amount.revision IS 'How often the row was written; the database gives it';
-- A row that is gone could not be noticed after its month is billed. An amount that is wrong is set to 0.
REVOKE DELETE ON batch.metered_amount FROM batch_tenant, batch_platform;

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

-- Rows that may have been written after the invoice of their month was made, as in usage_day_late.
CREATE INDEX metered_amount_late ON batch.metered_amount (tenant_id, usage_date)
WHERE revision > 1 OR (recorded_at AT TIME ZONE 'Asia/Tokyo')::date > usage_date + 1 OR extract(DAY FROM usage_date + 1) = 1;
