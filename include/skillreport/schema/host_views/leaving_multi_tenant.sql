-- Only in an installation that may delete; see include/skillreport/schema/leaving.py. The tenant of each key as in person_keys
-- (BATCH-001), but from the stored keys. Users of deleted and unknown tenants keep their tenant.
CREATE OR REPLACE VIEW batch.leaving_key AS
SELECT person.person_key, kind.kind, coalesce(person.tenant_id, employee.tenant_id) AS tenant_id
FROM batch.person_key AS person
LEFT JOIN batch.all_employee AS employee ON person.employee_id = employee.employee_id
CROSS JOIN (VALUES ('any'), ('employee'), ('account')) AS kind (kind)
WHERE
    CASE kind.kind
        WHEN 'any' THEN person.is_decisive
        WHEN 'employee' THEN person.named_by IN ('id', 'code')
        ELSE person.named_by = 'user_id'
    END;
