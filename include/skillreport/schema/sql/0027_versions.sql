-- Which version of the code a run used, and what each table is for. docs/tables.md lists the tables with these comments.

ALTER TABLE batch.execution_log ADD COLUMN version text;

COMMENT ON COLUMN batch.execution_log.version IS
'The version of the code that opened the run (include/skillreport/core/version.py); null before version 1.0.0.';

COMMENT ON TABLE batch.account_link IS
'Which account of an external service belongs to which employee. An operator settles ambiguous accounts (matched_by operator).';
COMMENT ON TABLE batch.accounting_month IS
'Calendar months (Asia/Tokyo) that were handed over to the accountant. The newest one closes all earlier months.';
COMMENT ON TABLE batch.activity_hour IS
'What each person did per clock hour, as BATCH-018-03 read it from the logs. BATCH-003 and BATCH-018-01 reuse it.';
COMMENT ON TABLE batch.activity_reading IS
'The hours that batch.activity_hour contains. read_until is the end of the newest pass that read the hour.';
COMMENT ON TABLE batch.applied_setting IS
'The value of each setting when BATCH-018-05 last applied it. A different present value was set by somebody else.';
COMMENT ON TABLE batch.approval_item IS
'The items of an approval request, with the figures that people see, the answer, the person, the time and the result.';
COMMENT ON TABLE batch.approval_request IS
'One row per request for approval. A run of the DAG dag_id shows the request and records the answers.';
COMMENT ON TABLE batch.backup IS
'One row per started backup. Retention deletes the files and keeps the row.';
COMMENT ON TABLE batch.billing_profile IS
'The billing address and options of a tenant. A null column takes the value of MST_Tenant or of the settings.';
COMMENT ON TABLE batch.channel_circuit IS
'Channels that are closed until somebody repairs them (for example a revoked token). Their messages wait.';
COMMENT ON TABLE batch.commitment IS
'The least amount per month before tax that a tenant agreed to. It replaces the minimum of the plan.';
COMMENT ON TABLE batch.deployment IS
'The variant of the host database and the revision of our schema, at the last deployment. One row.';
COMMENT ON TABLE batch.directory_listing IS 'The progress of a directory listing: its cursor and its pages.';
COMMENT ON TABLE batch.directory_sync IS
'When each directory was last applied, and the state that its changes are read from. Concurrent runs lock this row.';
COMMENT ON TABLE batch.discount IS 'Discounts of a tenant, with the first and the last day on which they hold.';
COMMENT ON TABLE batch.exchange_rate IS
'Yen per unit of a currency (TTM) on a day. An invoice in a foreign currency also states its tax in yen.';
COMMENT ON TABLE batch.former_mailbox IS 'Staging rows of BATCH-019-05: mail addresses of people who have left.';
COMMENT ON TABLE batch.host_source IS
'Tables of the application that have had a row. A figure whose source never had a row is absent, not 0.';
COMMENT ON TABLE batch.hourly_measure IS
'The measured values of a tenant per clock hour. An hour without a row was not measured.';
COMMENT ON TABLE batch.inactivity_signal IS 'Staging rows of BATCH-018-04.';
COMMENT ON TABLE batch.incident IS
'One row per incident of a tenant and check, with its beginning, its end and its severity.';
COMMENT ON TABLE batch.invoice IS
'Invoices, credit notes and replacements. content is the document, inputs are its facts, input_hash is their SHA-256. '
'A finalised row never changes.';
COMMENT ON TABLE batch.invoice_counter IS
'The last invoice number per series and month. A row and not a sequence, because a sequence leaves gaps.';
COMMENT ON TABLE batch.known_key IS
'Keys that name no single person: placeholders, watched keys and the application itself (settings, section identity).';
COMMENT ON TABLE batch.last_action IS 'The last action per person key and stated tenant (UTC), for BATCH-018-04.';
COMMENT ON TABLE batch.limit_sender IS 'The processes that send through a limit at present. They share its rate.';
COMMENT ON TABLE batch.listed_account IS 'Staging rows of BATCH-019-03: the accounts of a listing.';
COMMENT ON TABLE batch.listed_channel IS 'Staging rows of BATCH-019-03: the channels of a listing.';
COMMENT ON TABLE batch.login_day IS
'Who logged in on a day (Asia/Tokyo). The application keeps only the last login of an account.';
COMMENT ON TABLE batch.monitored_tenant IS
'The state of each tenant after its newest check. Concurrent runs lock this row.';
COMMENT ON TABLE batch.monitoring_signal IS 'Staging rows of BATCH-018-03.';
COMMENT ON TABLE batch.monthly_report IS
'The figures of a monthly report. Workbook, PDF and letter are made from contents, so they show the same figures.';
COMMENT ON TABLE batch.monthly_report_file IS 'The files of the monthly reports in the object store.';
COMMENT ON TABLE batch.notification_signal IS 'Staging rows of BATCH-019-01.';
COMMENT ON TABLE batch.old_notification IS 'Staging rows of BATCH-019-04.';
COMMENT ON TABLE batch.operator_alert IS
'One row per alert and channel. The key identifies the event, so each event is sent once.';
COMMENT ON TABLE batch.orphan_notice IS
'Runs that were closed because their Airflow run had ended, until a digest reports them.';
COMMENT ON TABLE batch.outbox IS
'One row per message and destination. A sender claims a message under a lease and commits before it uses the network.';
COMMENT ON TABLE batch.people_state IS 'The fingerprint of the people for which batch.person_key was made. One row.';
COMMENT ON TABLE batch.performance_metric IS 'Duration, CPU time, peak memory and records of each run.';
COMMENT ON TABLE batch.person_key IS 'The tenant and employee of each key by which the application names a person.';
COMMENT ON TABLE batch.plan_change IS
'Plan history (Asia/Tokyo dates). A row holds until the next row of the tenant. A null plan ends it.';
COMMENT ON TABLE batch.plan_seen IS
'The plan that the application showed last. Only a change of it adds a row to plan_change, so manual rows stay.';
COMMENT ON TABLE batch.platform_incident IS
'Incidents of the whole platform: a check that many tenants fail together. They are always critical.';
COMMENT ON TABLE batch.reconciliation IS
'How many rows of each source a run assigned to a tenant, and how many it could not assign, by reason.';
COMMENT ON TABLE batch.reminder_stop IS 'Tenants, or with invoice_id single invoices, for which no reminder is sent.';
COMMENT ON TABLE batch.report_person IS 'Staging rows of BATCH-004: people.';
COMMENT ON TABLE batch.report_signal IS 'Staging rows of BATCH-004: counts.';
COMMENT ON TABLE batch.run_remark IS
'What a step of a whole run found. A problem with is_reported makes the run partial.';
COMMENT ON TABLE batch.service_limit IS
'The rate and the concurrency that each external service allows, as its answers showed, and until when it refuses.';
COMMENT ON TABLE batch.setting_change IS 'Each setting that BATCH-018-05 wrote: old value, new value, reason, run.';
COMMENT ON TABLE batch.setting_finding IS
'What is wrong with the notification settings of a tenant, and since when (Asia/Tokyo). Each finding is sent once.';
COMMENT ON TABLE batch.setting_plan IS
'The plan whose settings a tenant has; null if it is unknown. Concurrent runs lock this row.';
COMMENT ON TABLE batch.statistics_day IS
'The statistics of a tenant and day (Asia/Tokyo). A new run with other figures raises the revision.';
COMMENT ON TABLE batch.statistics_group IS
'Skills by category and department. No row counts fewer than five people; smaller groups are joined in the row with is_rest.';
COMMENT ON TABLE batch.statistics_signal IS 'Staging rows of BATCH-003.';
COMMENT ON TABLE batch.suppressed_address IS
'E-mail addresses that get no mail: after a bounce for a time, after three bounces or a complaint for good.';
COMMENT ON TABLE batch.sync_plan IS
'The plan of each run of BATCH-019-03, entry by entry: applied, planned (dry run), held or skipped, with the reason.';
COMMENT ON TABLE batch.task_metric IS
'Time and memory of each task process of a run. close_run adds them up in performance_metric.';
COMMENT ON TABLE batch.tenant_inactivity IS
'The inactivity stage of each tenant on its newest judged business date (Asia/Tokyo).';
COMMENT ON TABLE batch.tenant_outcome IS
'One row per run, expected tenant and part. It stays pending until the tenant was processed, so a missing tenant is visible.';
COMMENT ON TABLE batch.usage_day IS
'Closed days (Asia/Tokyo): the usage that billing accepts. A new run with other figures raises the revision.';
COMMENT ON TABLE batch.usage_signal IS 'Staging rows of BATCH-018-01.';
COMMENT ON TABLE batch.usage_warning IS
'Quota warnings (one per threshold and month) and surges (one per day).';
