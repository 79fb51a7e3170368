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

-- Of the same snapshot as the keys.
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

INSERT INTO batch.person_key AS kept (
    person_key, named_by, is_decisive, person_id, employee_id, tenant_id, reason
)
SELECT person_key, named_by, is_decisive, person_id, employee_id, tenant_id, reason
FROM fresh
ON CONFLICT (person_key, named_by) DO UPDATE SET
    is_decisive = excluded.is_decisive, person_id = excluded.person_id, employee_id = excluded.employee_id,
    tenant_id = excluded.tenant_id, reason = excluded.reason
WHERE (kept.is_decisive, kept.person_id, kept.employee_id, kept.tenant_id, kept.reason) IS DISTINCT FROM (
    excluded.is_decisive, excluded.person_id, excluded.employee_id, excluded.tenant_id, excluded.reason
);
