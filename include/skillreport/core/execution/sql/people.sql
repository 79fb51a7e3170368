-- name: keep_known_keys
INSERT INTO batch.known_key AS known (person_key, kind)
SELECT person_key, kind
FROM unnest(%(person_keys)s::text[], %(kinds)s::text[]) AS configured (person_key, kind)
ORDER BY person_key
ON CONFLICT (
    person_key) DO UPDATE SET kind = excluded.kind
WHERE known.kind <> excluded.kind;

-- name: drop_known_keys
DELETE FROM batch.known_key
WHERE person_key <> all(%(person_keys)s::text[]);

-- name: fingerprints
SELECT
    (SELECT fingerprint FROM batch.all_people_fingerprint) AS fingerprint,
    (SELECT fingerprint FROM batch.people_state) AS kept;

-- name: keep_person_keys
WITH fresh AS MATERIALIZED (
    SELECT person_key, named_by, is_decisive, person_id, employee_id, tenant_id, reason
    FROM batch.all_person_key
),

-- Reads the same snapshot as the keys.
fingerprint AS (
    INSERT INTO batch.people_state (fingerprint)
    SELECT fingerprint
    FROM batch.all_people_fingerprint
    ON CONFLICT (singleton) DO UPDATE SET fingerprint = excluded.fingerprint
),

gone AS (
    DELETE FROM batch.person_key AS kept
    WHERE
        NOT EXISTS (
            SELECT FROM fresh
            WHERE fresh.person_key = kept.person_key AND fresh.named_by = kept.named_by
        )
)

-- Write only differences. A conflict locks its row even without a change, and a million locks take longer than the rest.
INSERT INTO batch.person_key AS kept (
    person_key, named_by, is_decisive, person_id, employee_id, tenant_id, reason
)
SELECT
    fresh.person_key, fresh.named_by, fresh.is_decisive, fresh.person_id, fresh.employee_id, fresh.tenant_id, fresh.reason
FROM fresh
LEFT JOIN batch.person_key AS known ON fresh.person_key = known.person_key AND fresh.named_by = known.named_by
WHERE (known.is_decisive, known.person_id, known.employee_id, known.tenant_id, known.reason) IS DISTINCT FROM (
    fresh.is_decisive, fresh.person_id, fresh.employee_id, fresh.tenant_id, fresh.reason
)
ON CONFLICT (person_key, named_by) DO UPDATE SET
    is_decisive = excluded.is_decisive, person_id = excluded.person_id, employee_id = excluded.employee_id,
    tenant_id = excluded.tenant_id, reason = excluded.reason;
