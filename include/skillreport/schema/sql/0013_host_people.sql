-- How rows of the host are assigned to people and tenants, and what a run read, assigned, and could not assign.

-- Keys that name nobody in particular. Written by each run from the settings; the views read it as batch_owner.
CREATE TABLE batch.known_key (
    person_key text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('placeholder', 'system', 'watched'))
);
CALL batch.make_platform_table('batch.known_key');
CREATE POLICY views ON batch.known_key FOR SELECT TO batch_owner USING (true);
COMMENT ON COLUMN batch.known_key.kind IS
'placeholder: some screens write it for every user; system: the application itself; watched: a real code that some screens also '
'write for every user, so its rows are counted';

-- The result of the view batch.all_person_key, kept because the application's people seldom change: resolving all keys of a large
-- installation takes longer than reading a day's logs. A run brings it up to date when the fingerprint of the people differs.
CREATE TABLE batch.person_key (
    person_key text NOT NULL,
    named_by text NOT NULL,
    is_decisive boolean NOT NULL,
    person_id text,
    employee_id text,
    tenant_id text,
    reason text,
    PRIMARY KEY (person_key, named_by)
);
CALL batch.make_platform_table('batch.person_key');

CREATE TABLE batch.people_state (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    fingerprint numeric NOT NULL
);
CALL batch.make_platform_table('batch.people_state');

CREATE FUNCTION batch.placement(
    person_key text, person_tenant_id text, person_reason text, stated_tenant_id text, stated_status text
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- The person decides. The row's own tenant counts where no person is found and the tenant exists.
RETURN CASE
    WHEN person_reason IN ('placeholder', 'nobody', 'unknown_tenant') THEN person_reason
    WHEN person_tenant_id IS NOT null THEN 'person'
    WHEN stated_tenant_id IS NOT null AND stated_status = 'DELETED' THEN 'nobody'
    WHEN stated_tenant_id IS NOT null AND stated_status IS NOT null THEN 'stated'
    WHEN person_key IS null THEN 'unknown_tenant'
    ELSE coalesce(person_reason, 'unknown_person')
END;
COMMENT ON FUNCTION batch.placement(text, text, text, text, text) IS
'How a row of the host is assigned to a tenant. person: the tenant of its person. stated: the tenant that the row itself states. '
'nobody: the application itself, or people of a deleted tenant. Others are the reasons why it is assigned to no tenant.';

CREATE FUNCTION batch.placed_tenant(placement text, person_tenant_id text, stated_tenant_id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE placement WHEN 'person' THEN person_tenant_id WHEN 'stated' THEN stated_tenant_id END;

CREATE TABLE batch.reconciliation (
    execution_id text NOT NULL REFERENCES batch.execution_log ON DELETE CASCADE,
    source text NOT NULL,
    placement text NOT NULL CHECK (
        placement IN (
            'person', 'stated', 'nobody', 'placeholder', 'no_employee', 'unknown_person', 'unknown_tenant',
            'watched', 'overruled', 'no_source', 'silent'
        )
    ),
    is_event boolean NOT NULL,
    row_count bigint NOT NULL,
    since date,
    PRIMARY KEY (execution_id, source, placement)
);
CALL batch.make_platform_table('batch.reconciliation');
COMMENT ON TABLE batch.reconciliation IS
'What a run read of each source, by how it was assigned (batch.placement). watched and overruled are remarks about assigned '
'rows: a key of batch.known_key, and a stated tenant that is not the person''s. no_source: the source has never had a row. '
'silent: it has none in the period; since is the day (Asia/Tokyo) of its last row. is_event: accounts, and what happened in the '
'period; rows that only exist do not make a run partial, which would repeat every day.';

CREATE TABLE batch.host_source (
    source text PRIMARY KEY,
    first_seen_at timestamptz NOT NULL DEFAULT now()
);
CALL batch.make_platform_table('batch.host_source');
COMMENT ON TABLE batch.host_source IS
'Sources of the host that have had a row. A source that the application never writes makes a figure absent, not 0; one that a '
'clean-up emptied does not.';

ALTER TABLE batch.usage_signal
ALTER COLUMN api_calls DROP NOT NULL,
ALTER COLUMN error_count DROP NOT NULL,
ALTER COLUMN peak_concurrent_users DROP NOT NULL,
ALTER COLUMN report_bytes DROP NOT NULL,
ALTER COLUMN evidence_bytes DROP NOT NULL,
ALTER COLUMN reports_generated DROP NOT NULL,
ALTER COLUMN skill_assessments DROP NOT NULL,
ALTER COLUMN notifications_sent DROP NOT NULL,
ADD COLUMN unplaced_accounts bigint NOT NULL DEFAULT 0,
ADD COLUMN read_events bigint NOT NULL DEFAULT 0,
ADD COLUMN unplaced_events bigint NOT NULL DEFAULT 0;

ALTER TABLE batch.usage_day
ALTER COLUMN api_calls DROP NOT NULL,
ALTER COLUMN error_count DROP NOT NULL,
ALTER COLUMN peak_concurrent_users DROP NOT NULL,
ALTER COLUMN storage_bytes DROP NOT NULL,
ALTER COLUMN reports_generated DROP NOT NULL,
ALTER COLUMN skill_assessments DROP NOT NULL,
ALTER COLUMN notifications_sent DROP NOT NULL,
ADD COLUMN unplaced_accounts bigint NOT NULL DEFAULT 0,
ADD COLUMN read_events bigint NOT NULL DEFAULT 0,
ADD COLUMN unplaced_events bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN batch.usage_day.api_calls IS 'Null where the host has no source for it, as the other figures that may be null';
COMMENT ON COLUMN batch.usage_day.unplaced_accounts IS
'Accounts whose row carries this tenant and that have no employee who decides; they are not among registered_users';
COMMENT ON COLUMN batch.usage_day.unplaced_events IS
'Events of the day that state this tenant and whose person is not found, of read_events that state it or are its people''s; '
'active_users does not know these people';

ALTER TABLE batch.statistics_signal
ALTER COLUMN api_calls DROP NOT NULL,
ALTER COLUMN api_errors DROP NOT NULL,
ALTER COLUMN reports_generated DROP NOT NULL,
ALTER COLUMN skill_assessments DROP NOT NULL,
ALTER COLUMN notifications_sent DROP NOT NULL,
ALTER COLUMN storage_bytes DROP NOT NULL,
ADD COLUMN unplaced_accounts bigint NOT NULL DEFAULT 0,
ADD COLUMN unplaced_events bigint NOT NULL DEFAULT 0;

ALTER TABLE batch.statistics_day
ALTER COLUMN api_calls DROP NOT NULL,
ALTER COLUMN api_errors DROP NOT NULL,
ALTER COLUMN reports_generated DROP NOT NULL,
ALTER COLUMN skill_assessments DROP NOT NULL,
ALTER COLUMN notifications_sent DROP NOT NULL,
ALTER COLUMN storage_bytes DROP NOT NULL,
ADD COLUMN unplaced_accounts bigint NOT NULL DEFAULT 0,
ADD COLUMN unplaced_events bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN batch.statistics_day.api_calls IS
'Null where the host has no source for it, as the other figures that may be null';
COMMENT ON COLUMN batch.login_day.user_ids IS 'batch.all_person_key.person_id; rows of earlier versions hold account ids';

ALTER TABLE batch.monitoring_signal
ALTER COLUMN storage_bytes DROP NOT NULL,
ADD COLUMN has_requests boolean NOT NULL DEFAULT true,
ADD COLUMN has_logins boolean NOT NULL DEFAULT true;

ALTER TABLE batch.hourly_measure
ALTER COLUMN api_calls DROP NOT NULL,
ALTER COLUMN errors DROP NOT NULL,
ALTER COLUMN responses DROP NOT NULL,
ALTER COLUMN response_ms DROP NOT NULL,
ALTER COLUMN failed_logins DROP NOT NULL;
COMMENT ON COLUMN batch.hourly_measure.api_calls IS 'Null, as every figure: the host has no source for it';
