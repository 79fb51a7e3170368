-- Only in an installation that may delete; see include/skillreport/schema/leaving.py. All users belong to the row of MST_Tenant
-- with any status, because batch.only_tenant omits a deleted tenant. The row views are empty if there is a second row.
CREATE OR REPLACE VIEW batch.leaving_key AS
SELECT person.person_key, kind.kind, (SELECT max(sole.tenant_id) FROM "MST_Tenant" AS sole) AS tenant_id
FROM batch.person_key AS person
CROSS JOIN (VALUES ('any'), ('employee'), ('account')) AS kind (kind)
WHERE
    person.named_by <> 'setting'
    AND CASE kind.kind
        WHEN 'any' THEN person.is_decisive
        WHEN 'employee' THEN person.named_by IN ('id', 'code')
        ELSE person.named_by = 'user_id'
    END;
