-- Views of the host's tables. Every upgrade replaces them as batch_owner, in the order of
-- include/skillreport/schema/views.py.
--
-- all_*    normalise a host table for all tenants. Only batch_platform may read them.
-- others   show a host table that the batches write, only for the transaction's tenants. For batch_tenant.
--
-- Read-only numbers have one type, regardless of their width in the host. A number that is too large counts as missing.
--
-- *_utc columns are the host's TIMESTAMP(3) in UTC, so the bounds of a day are given in UTC. Dates for users are Asia/Tokyo.
--
-- Some times are not dates (batch.is_dated): infinity, a year that Python cannot represent, a placeholder such as 9999-12-31.
-- Such an end becomes null, and such an event is omitted. Any other such time becomes the nearest bound (batch.bounded), so
-- comparisons stay correct. Two kinds of columns stay as in the host, and no statement may return them: columns that the batches
-- write through the view, and columns that a statement compares by an index of the host's table.
--
-- stated_tenant_id is the tenant in a row. It may not exist, or may differ from the user's tenant; see people.sql.

CREATE OR REPLACE VIEW batch.all_tenant AS
SELECT
    tenant_id::text AS tenant_id,
    coalesce(nullif(btrim(tenant_code), ''), tenant_id) AS tenant_code,
    coalesce(nullif(btrim(tenant_name), ''), tenant_code, tenant_id) AS tenant_name,
    nullif(btrim(tenant_name_en), '') AS tenant_name_en,
    -- The host spells the status in several ways. A tenant created without a status is in use.
    CASE
        WHEN is_deleted OR lower(btrim(status)) = 'deleted' THEN 'DELETED'
        WHEN nullif(btrim(status), '') IS null THEN 'ACTIVE'
        WHEN upper(btrim(status)) IN ('ACTIVE', 'INACTIVE', 'SUSPENDED', 'TRIAL', 'EXPIRED') THEN upper(btrim(status))
        ELSE 'UNKNOWN'
    END AS status,
    upper(nullif(btrim(subscription_plan), '')) AS subscription_plan,
    coalesce(nullif(btrim(timezone), ''), 'Asia/Tokyo') AS timezone,
    coalesce(nullif(upper(btrim(currency_code)), ''), 'JPY') AS currency_code,
    lower(left(nullif(btrim(locale), ''), 2)) AS language,
    CASE WHEN max_users <= 2147483647 THEN max_users END::integer AS max_users,
    CASE WHEN max_storage_gb <= 2147483647 THEN max_storage_gb END::integer AS max_storage_gb,
    batch.trimmed_address(admin_email) AS admin_email,
    batch.trimmed_address(contact_email) AS contact_email,
    nullif(btrim(postal_code), '') AS postal_code,
    nullif(btrim(address), '') AS address,
    -- Only ISO 3166-1 codes are used; other values become null.
    upper(substring(btrim(country_code) FROM '^[A-Za-z]{2}$')) AS country,
    -- Days in Japan. The contract includes its last day.
    (batch.bounded(contract_start_date) AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS contract_start,
    CASE
        WHEN batch.is_dated(contract_end_date) THEN (contract_end_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date
    END AS contract_end,
    (batch.bounded(created_at) AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS created_on,
    (batch.bounded(updated_at) AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS updated_on
FROM "MST_Tenant";

-- The former code and name of a deleted tenant. Its documents have them, but the application's row has lost them. No code if
-- another tenant has it now.
CREATE OR REPLACE VIEW batch.all_former_tenant AS
SELECT
    gone.tenant_id, leaving.tenant_name,
    CASE
        WHEN
            NOT EXISTS (
                SELECT FROM batch.all_tenant AS other
                WHERE other.tenant_code = leaving.tenant_code AND other.tenant_id <> gone.tenant_id
            )
            THEN leaving.tenant_code
    END AS tenant_code
FROM batch.deleted_tenant AS gone
INNER JOIN batch.offboarding AS leaving ON gone.offboarding_id = leaving.offboarding_id;

-- Tenants whose tenant_status contradicts their status. The host's multi-tenant script adds this column with the default ACTIVE.
-- In a host without it, the second subquery's name refers to the first one's column.
CREATE OR REPLACE VIEW batch.all_differing_status AS
SELECT tenant.tenant_id, tenant.status, stated.tenant_status
FROM (SELECT null::text AS tenant_status) AS absent
CROSS JOIN
    LATERAL (
        SELECT tenant_id, upper(btrim(tenant_status)) AS tenant_status
        FROM "MST_Tenant"
    ) AS stated
INNER JOIN batch.all_tenant AS tenant ON stated.tenant_id = tenant.tenant_id
WHERE tenant.status <> 'DELETED' AND stated.tenant_status NOT IN ('', 'ACTIVE', tenant.status);

-- all_tenant for the transaction's tenants. Read-only despite the check option.
CREATE OR REPLACE VIEW batch.tenant WITH (security_barrier) AS
SELECT
    tenant_id, tenant_code, tenant_name, tenant_name_en, status, subscription_plan, timezone, currency_code, language,
    max_users, max_storage_gb, admin_email, contact_email, postal_code, address, country, contract_start, contract_end,
    created_on, updated_on
FROM batch.all_tenant
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

GRANT SELECT ON batch.tenant TO batch_tenant;

CREATE OR REPLACE VIEW batch.all_tenant_setting AS
SELECT
    tenant_id, setting_key, setting_value,
    batch.bounded(effective_from) AS effective_from_utc,
    CASE WHEN batch.is_dated(effective_until) THEN effective_until END AS effective_until_utc
FROM "MST_TenantSettings"
WHERE NOT is_deleted;

-- The tenants' own values of the settings batch.<section>.* by the rest of the key, in force at the end (UTC, exclusive) of a
-- period. Not a view, because a view has no time parameter. The planner inlines it.
CREATE OR REPLACE FUNCTION batch.setting_overrides(section text, tenant_ids text[], end_utc timestamp)
RETURNS TABLE (tenant_id text, overrides jsonb)
LANGUAGE sql STABLE AS $$
    SELECT
        setting.tenant_id,
        jsonb_object_agg(substr(setting.setting_key, length('batch.' || section || '.') + 1), setting.setting_value)
    FROM batch.all_tenant_setting AS setting
    WHERE
        setting.tenant_id = any(tenant_ids)
        AND starts_with(setting.setting_key, 'batch.' || section || '.') AND setting.setting_value IS NOT null
        AND coalesce(setting.effective_from_utc < end_utc, true)
        AND coalesce(setting.effective_until_utc >= end_utc, true)
    GROUP BY setting.tenant_id
$$;

CREATE OR REPLACE VIEW batch.tenant_setting WITH (security_barrier) AS
SELECT
    id, tenant_id, setting_category, setting_key, setting_name, data_type, setting_value, default_value, validation_rules,
    is_required, is_encrypted, is_system_managed, is_user_configurable, effective_from, effective_until,
    last_modified_by, is_deleted, updated_at
FROM "MST_TenantSettings"
WHERE tenant_id = any((SELECT batch.current_tenants())::text[])
WITH CASCADED CHECK OPTION;

-- The application defines a setting's meaning; the batches change only its value.
GRANT SELECT, INSERT, UPDATE (
    setting_value, last_modified_by, is_deleted, updated_at
) ON batch.tenant_setting TO batch_tenant;

GRANT SELECT ON
batch.all_tenant,
batch.all_former_tenant,
batch.all_differing_status,
batch.all_tenant_setting
TO batch_platform;
