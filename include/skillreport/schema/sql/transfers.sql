-- Transfers: money on our accounts according to bank files, and the invoices that it may pay.

CREATE TABLE batch.bank_file (
    sha256 text PRIMARY KEY,
    name text NOT NULL,
    form text NOT NULL,
    transfers integer NOT NULL,
    new_transfers integer NOT NULL,
    first_day date,
    last_day date,
    total numeric NOT NULL,
    run_on date NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    imported_by text NOT NULL,
    execution_id text NOT NULL
);
CALL batch.make_platform_table('batch.bank_file');
CREATE POLICY board ON batch.bank_file FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.bank_file IS
'The imported files of banks. The originals are in the object store, below bank-files/imported/.';
COMMENT ON COLUMN batch.bank_file.form IS 'zengin, or the name of one of the setting billing.payment_formats';
COMMENT ON COLUMN batch.bank_file.new_transfers IS 'The transfers that no earlier file has';
COMMENT ON COLUMN batch.bank_file.run_on IS 'The day of the run (Asia/Tokyo); the original is kept below its month';
COMMENT ON COLUMN batch.bank_file.total IS 'Yen, without what the bank has cancelled';

CREATE TABLE batch.bank_transfer (
    transfer_id text PRIMARY KEY,
    sha256 text NOT NULL REFERENCES batch.bank_file,
    line integer NOT NULL,
    account text NOT NULL,
    booked_on date NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0 AND amount < 'infinity'),
    payer_name text NOT NULL,
    payer_key text NOT NULL,
    payer_code text NOT NULL,
    reference text NOT NULL,
    details text NOT NULL,
    is_cancellation boolean NOT NULL,
    settled numeric NOT NULL DEFAULT 0 CHECK (settled BETWEEN 0 AND amount),
    was_taken_back boolean NOT NULL DEFAULT false,
    cancelled_by text REFERENCES batch.bank_transfer,
    doubt text,
    set_aside_reason text CHECK (btrim(set_aside_reason) <> ''),
    set_aside_by text,
    set_aside_at timestamptz,
    CHECK (num_nulls(set_aside_reason, set_aside_by, set_aside_at) IN (0, 3)),
    CHECK (NOT is_cancellation OR cancelled_by IS null)
);
CREATE INDEX bank_transfer_by_file ON batch.bank_transfer (sha256);
CREATE INDEX bank_transfer_by_payer ON batch.bank_transfer (payer_key, amount);
CREATE INDEX bank_transfer_taken_back ON batch.bank_transfer (payer_key, payer_code) WHERE was_taken_back;
CREATE INDEX bank_transfer_open ON batch.bank_transfer (booked_on)
WHERE settled < amount AND cancelled_by IS null AND set_aside_at IS null;
CREATE UNIQUE INDEX bank_transfer_by_cancellation ON batch.bank_transfer (cancelled_by) WHERE cancelled_by IS NOT null;
CALL batch.make_platform_table('batch.bank_transfer');
CREATE POLICY board ON batch.bank_transfer FOR SELECT TO batch_owner USING (true);
-- For the trigger of batch.payment.
CREATE POLICY settle ON batch.bank_transfer FOR UPDATE TO batch_owner USING (true);
-- The bank's data never change.
REVOKE UPDATE, DELETE ON batch.bank_transfer FROM batch_platform;
GRANT UPDATE (settled, cancelled_by, doubt, set_aside_reason, set_aside_by, set_aside_at)
ON batch.bank_transfer TO batch_platform;
COMMENT ON TABLE batch.bank_transfer IS
'Money on the own accounts, and the bank''s cancellations of it. A transfer belongs to no tenant until a payment names it.';
COMMENT ON COLUMN batch.bank_transfer.transfer_id IS
'Made from account, day, amount, payer, reference and the place among equals of the day, so that overlapping files count it once';
COMMENT ON COLUMN batch.bank_transfer.account IS 'Bank, branch, kind and number: 0001-001-1-1234567';
COMMENT ON COLUMN batch.bank_transfer.booked_on IS 'The day of the bank (勘定日, Asia/Tokyo)';
COMMENT ON COLUMN batch.bank_transfer.amount IS 'Yen';
COMMENT ON COLUMN batch.bank_transfer.payer_key IS
'payer_name normalised (include/skillreport/billing/receivables/transfer.py); of a virtual account, account: and its number';
COMMENT ON COLUMN batch.bank_transfer.settled IS
'Yen that are payments; of a cancellation its amount as soon as its transfer is found. The rest is open';
COMMENT ON COLUMN batch.bank_transfer.was_taken_back IS
'A user has reversed or moved a payment of it, so it never becomes a payment automatically again';
COMMENT ON COLUMN batch.bank_transfer.cancelled_by IS 'The cancellation (取消) of this transfer';
COMMENT ON COLUMN batch.bank_transfer.doubt IS
'Why the last matching left it to a user; null: it is an automatic payment, or was not matched yet';
COMMENT ON COLUMN batch.bank_transfer.set_aside_reason IS 'Why a user has marked it as no customer''s payment';

CREATE TABLE batch.reminder_hold (
    number text PRIMARY KEY,
    tenant_id text NOT NULL,
    held_until date NOT NULL,
    transfers text[] NOT NULL
);
CREATE INDEX reminder_hold_by_tenant ON batch.reminder_hold (tenant_id);
CREATE INDEX reminder_hold_by_transfer ON batch.reminder_hold USING gin (transfers);
CALL batch.make_tenant_table('batch.reminder_hold');
CREATE POLICY board ON batch.reminder_hold FOR SELECT TO batch_owner USING (true);
REVOKE INSERT, UPDATE, DELETE ON batch.reminder_hold FROM batch_tenant;
COMMENT ON TABLE batch.reminder_hold IS
'The invoices that waiting transfers may have paid: each matching replaces all rows. Their reminders wait.';
COMMENT ON COLUMN batch.reminder_hold.transfers IS 'The ids of the newest of these transfers';
COMMENT ON COLUMN batch.reminder_hold.held_until IS 'The last day (Asia/Tokyo) without a reminder';

CREATE TABLE batch.payer (
    payer_id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    tenant_id text NOT NULL,
    payer_key text NOT NULL CHECK (payer_key <> ''),
    payer_code text NOT NULL,
    payer_name text NOT NULL,
    confirmed_by text NOT NULL,
    confirmed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    known_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id text NOT NULL,
    UNIQUE (tenant_id, payer_key, payer_code)
);
CREATE INDEX payer_by_key ON batch.payer (payer_key);
CALL batch.make_tenant_table('batch.payer');
CREATE POLICY board ON batch.payer FOR SELECT TO batch_owner USING (true);
-- A tenant's work neither adds nor deletes payers.
REVOKE INSERT, UPDATE, DELETE ON batch.payer FROM batch_tenant;
COMMENT ON TABLE batch.payer IS
'The names and codes (振込依頼人コード) under which a tenant''s invoices were paid, as users have confirmed them.';
COMMENT ON COLUMN batch.payer.confirmed_at IS 'When a user has last confirmed it';
COMMENT ON COLUMN batch.payer.known_since IS 'When a user has first confirmed it';

CREATE TABLE batch.transfer_choice (
    transfer_id text NOT NULL REFERENCES batch.bank_transfer,
    choice integer NOT NULL CHECK (choice > 0),
    part integer NOT NULL CHECK (part > 0),
    tenant_id text NOT NULL,
    number text NOT NULL,
    paid_on date NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0),
    fee numeric NOT NULL CHECK (fee >= 0),
    payment_id text,
    is_automatic boolean NOT NULL,
    PRIMARY KEY (transfer_id, choice, part)
);
CREATE INDEX transfer_choice_by_tenant ON batch.transfer_choice (tenant_id);
CREATE INDEX transfer_choice_by_number ON batch.transfer_choice (number);
CALL batch.make_tenant_table('batch.transfer_choice');
CREATE POLICY board ON batch.transfer_choice FOR SELECT TO batch_owner USING (true);
-- A tenant's work uses up its choices and adds none.
REVOKE INSERT, UPDATE ON batch.transfer_choice FROM batch_tenant;
COMMENT ON TABLE batch.transfer_choice IS
'What the open transfers may pay: each matching replaces all rows. A choice is one invoice, or several (its parts).';
COMMENT ON COLUMN batch.transfer_choice.fee IS 'Yen that the payer''s bank has kept of the invoice''s open amount';
COMMENT ON COLUMN batch.transfer_choice.payment_id IS
'The choice is that the transfer is this payment, which a user has entered; if automatic: the bank has cancelled its transfer';
COMMENT ON COLUMN batch.transfer_choice.is_automatic IS 'No user needs to confirm it';
