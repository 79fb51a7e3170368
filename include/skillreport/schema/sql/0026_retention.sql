-- The clean-up (BATCH-002) finds old rows by their time. BRIN is no help: the pages of deleted rows get new ones, so soon every
-- range of pages has an old and a new row.
CREATE INDEX login_day_by_date ON batch.login_day (login_date);
CREATE INDEX statistics_day_by_date ON batch.statistics_day (statistics_date);
CREATE INDEX statistics_group_by_date ON batch.statistics_group (statistics_date);
-- The groups of a month's last day stay as long as the report of the month can be made again, the others do not.
CREATE INDEX statistics_group_mid_month ON batch.statistics_group (statistics_date)
WHERE extract(DAY FROM statistics_date + 1) <> 1;
CREATE INDEX usage_warning_by_time ON batch.usage_warning (raised_at);
CREATE INDEX inactivity_change_by_time ON batch.inactivity_change (recorded_at);
CREATE INDEX setting_change_by_time ON batch.setting_change (changed_at);
CREATE INDEX directory_change_by_time ON batch.directory_change (changed_at);
CREATE INDEX sync_plan_by_time ON batch.sync_plan (planned_at);
CREATE INDEX suppressed_address_by_end ON batch.suppressed_address (suppressed_until) WHERE suppressed_until IS NOT null;

-- Each mapped instance looks up the tenants of its shard. Without this index it reads the outcomes of the whole run.
CREATE INDEX tenant_outcome_by_shard ON batch.tenant_outcome (execution_id, shard) WHERE shard IS NOT null;

-- Each hour reports the open incidents, and those whose end nobody has been told.
CREATE INDEX incident_to_report ON batch.incident (tenant_id) WHERE closed_at IS null OR told IS DISTINCT FROM 'closed';

-- Whether anybody has ever logged in. An application that writes no logins would have every run read all hours.
CREATE INDEX activity_hour_with_logins ON batch.activity_hour (hour_at) WHERE logins > 0 OR failed_logins > 0;

-- What an invoice was computed from stays, and where its documents are.
REVOKE DELETE ON batch.usage_day, batch.invoice_document FROM batch_tenant, batch_platform;
