DELETE FROM batch.incident
USING unnest(%(ids)s::text[], %(ids2)s::text[], %(ids3)s::timestamptz[]) AS old (tenant_id, check_name, opened_at)
WHERE
    incident.tenant_id = old.tenant_id
    AND incident.check_name = old.check_name
    AND incident.opened_at = old.opened_at
    AND incident.closed_at < %(before)s;
