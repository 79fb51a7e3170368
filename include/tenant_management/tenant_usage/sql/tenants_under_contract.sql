-- Runs across tenants, as batch_platform. Not active any more, but under contract on the day: what they use is to be billed.
SELECT tenant_id
FROM batch.all_tenant
WHERE
    status NOT IN ('ACTIVE', 'TRIAL') AND contract_end >= %(business_date)s
    AND coalesce(contract_start, created_on) <= %(business_date)s;
