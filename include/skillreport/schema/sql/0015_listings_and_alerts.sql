-- Accounts that a directory lists with different values, and the operators' channel over HTTP.

ALTER TABLE batch.listed_account ADD COLUMN is_contradictory boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN batch.listed_account.is_contradictory IS
'The listing has this account several times, with different values. The account changes nothing';

ALTER TABLE batch.operator_alert
DROP CONSTRAINT operator_alert_channel_check,
DROP CONSTRAINT operator_alert_severity_check,
ADD CONSTRAINT operator_alert_channel_check CHECK (channel IN ('slack', 'email', 'http')),
ADD CONSTRAINT operator_alert_severity_check CHECK (severity IN ('INFO', 'MEDIUM', 'HIGH', 'CRITICAL'));
COMMENT ON COLUMN batch.operator_alert.severity IS 'INFO: the result of a run, which is no alert';
