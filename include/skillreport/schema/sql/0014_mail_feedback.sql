-- Suppressed addresses end, and a run keeps remarks about its own steps.

ALTER TABLE batch.suppressed_address
ADD COLUMN reason text NOT NULL DEFAULT 'bounce' CHECK (reason IN ('bounce', 'complaint', 'unsubscribe')),
ADD COLUMN bounces integer NOT NULL DEFAULT 1,
ADD COLUMN suppressed_until timestamptz,
ADD COLUMN accepted_message_id text,
ADD COLUMN accepted_at timestamptz,
ADD CHECK ((accepted_message_id IS null) = (accepted_at IS null));

-- Forced row-level security shows the owner no row that an UPDATE could find.
ALTER TABLE batch.suppressed_address NO FORCE ROW LEVEL SECURITY;
-- The addresses that bounced before get the default time from now, so that the upgrade releases none of them at once.
UPDATE batch.suppressed_address SET suppressed_until = now() + interval '30 days';
-- Nobody refused these: they did not have the syntax of an address. Internationalised addresses are valid now.
DELETE FROM batch.suppressed_address
WHERE error_code = 'invalid_address';
ALTER TABLE batch.suppressed_address FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE batch.suppressed_address IS
'E-mail addresses that get no mail: they bounced (for a time, after three bounces in a row for good), or their owner complained '
'or unsubscribed (for good).';
COMMENT ON COLUMN batch.suppressed_address.suppressed_at IS 'Begin of the present suppression';
COMMENT ON COLUMN batch.suppressed_address.suppressed_until IS 'Null: for good. In the past: mail is sent again';
COMMENT ON COLUMN batch.suppressed_address.bounces IS 'Bounces in a row, at most one per suppression';
COMMENT ON COLUMN batch.suppressed_address.accepted_message_id IS
'The first message that a mail server accepted after the suppression. If it does not bounce later, the row of bounces ends.';

-- What a step of the whole run found, for the result of the run.
CREATE TABLE batch.run_remark (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    step text NOT NULL,
    details jsonb NOT NULL,
    problem text,
    is_reported boolean NOT NULL DEFAULT false CHECK (problem IS NOT null OR NOT is_reported),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (execution_id, step)
);
CREATE INDEX run_remark_by_step ON batch.run_remark (step, recorded_at);
CALL batch.make_platform_table('batch.run_remark');
COMMENT ON TABLE batch.run_remark IS
'What a step of the whole run found. problem: the step could not do its work, in a sentence for operators. is_reported: the '
'problem makes the run partial; otherwise it is a remark in the result.';
