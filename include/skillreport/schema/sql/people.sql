-- Assignment of host rows to users and tenants.

-- Keys that identify no user. Each run writes them from the settings; the views read them as batch_owner.
CREATE TABLE batch.known_key (
    person_key text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('placeholder', 'system', 'watched'))
);
CALL batch.make_platform_table('batch.known_key');
CREATE POLICY views ON batch.known_key FOR SELECT TO batch_owner USING (true);
COMMENT ON TABLE batch.known_key IS
'Keys that identify no single user: placeholders, watched keys and the application itself (settings, section identity).';
COMMENT ON COLUMN batch.known_key.kind IS
'placeholder: some screens write it for every user; system: the application itself; watched: a real code that some screens also '
'write for every user, so its rows are counted';

-- The stored result of the view batch.all_person_key, because users seldom change: resolving all keys of a large installation
-- takes longer than reading a day's logs. A run updates it when the fingerprint differs.
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
COMMENT ON TABLE batch.person_key IS 'The tenant and employee of each key by which the application identifies a user.';

CREATE TABLE batch.people_state (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    fingerprint numeric NOT NULL
);
CALL batch.make_platform_table('batch.people_state');
COMMENT ON TABLE batch.people_state IS 'The fingerprint of the users for which batch.person_key was made. One row.';

CREATE FUNCTION batch.placement(
    person_key text, person_tenant_id text, person_reason text, stated_tenant_id text, stated_status text
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- The user decides. The row's own tenant counts if no user is found and the tenant exists.
RETURN CASE
    WHEN person_reason IN ('placeholder', 'nobody', 'unknown_tenant') THEN person_reason
    WHEN person_tenant_id IS NOT null THEN 'person'
    WHEN stated_tenant_id IS NOT null AND stated_status = 'DELETED' THEN 'nobody'
    WHEN stated_tenant_id IS NOT null AND stated_status IS NOT null THEN 'stated'
    WHEN person_key IS null THEN 'unknown_tenant'
    ELSE coalesce(person_reason, 'unknown_person')
END;
COMMENT ON FUNCTION batch.placement(text, text, text, text, text) IS
'How a row of the host is assigned to a tenant. person: the tenant of its user. stated: the tenant that the row itself states. '
'nobody: the application itself, or users of a deleted tenant. Others are the reasons why it is assigned to no tenant.';

CREATE FUNCTION batch.placed_tenant(placement text, person_tenant_id text, stated_tenant_id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE placement WHEN 'person' THEN person_tenant_id WHEN 'stated' THEN stated_tenant_id END;
