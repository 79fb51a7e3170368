-- Only in an installation that may delete. During a tenant's deletion, its users lose their accounts, but keep the keys that
-- nobody else has.
CREATE OR REPLACE VIEW batch.leaving_person AS
SELECT key.person_key, key.kind, key.tenant_id
FROM batch.leaving_key AS key
UNION ALL
SELECT frozen.person_key, frozen.kind, frozen.tenant_id
FROM batch.frozen_person AS frozen
WHERE
    NOT EXISTS (
        SELECT FROM batch.person_key AS person
        WHERE
            person.person_key = frozen.person_key
            AND CASE frozen.kind
                WHEN 'any' THEN person.is_decisive
                WHEN 'employee' THEN person.named_by IN ('id', 'code')
                ELSE person.named_by = 'user_id'
            END
    );
