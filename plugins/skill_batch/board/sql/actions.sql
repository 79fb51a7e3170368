-- name: unknown_tenant_codes
-- Deleted tenants are known by their invoices, which can still be paid.
SELECT code
FROM unnest(%(codes)s::text[]) AS given (code)
WHERE
    NOT EXISTS (
        SELECT FROM batch.board_tenant
        WHERE tenant_code = code OR tenant_id = code
    )
    AND NOT (
        %(takes_former)s AND EXISTS (
            SELECT FROM batch.board_invoice
            WHERE tenant_id = code OR content ->> 'tenant_code' = code
        )
    );

-- name: unknown_messages
SELECT given.message_id
FROM unnest(%(message_ids)s::text[]) AS given (message_id)
WHERE
    NOT EXISTS (
        SELECT FROM batch.board_message AS message
        WHERE message.message_id = given.message_id
    );

-- name: tenant_ids_of
-- As in the operations, a text is a tenant's id only if no tenant has it as its code.
SELECT tenant.tenant_id
FROM batch.board_tenant AS tenant
WHERE
    tenant.tenant_code = any(%(names)s)
    OR (
        tenant.tenant_id = any(%(names)s)
        AND NOT EXISTS (
            SELECT FROM batch.board_tenant AS other
            WHERE other.tenant_code = tenant.tenant_id
        )
    );

-- name: chosen_tenants
-- "chosen_as" is the text that selects only this tenant, as in the block tenant_of.
SELECT
    tenant.tenant_id, tenant.tenant_code,
    CASE
        WHEN same.tenants = 1 THEN tenant.tenant_code
        WHEN foreign_code.tenant_code IS null THEN tenant.tenant_id
    END AS chosen_as
FROM batch.board_tenant AS tenant
INNER JOIN (
    SELECT tenant_code, count(*) AS tenants
    FROM batch.board_tenant
    GROUP BY tenant_code
) AS same ON tenant.tenant_code = same.tenant_code
LEFT JOIN (
    SELECT DISTINCT tenant_code
    FROM batch.board_tenant
) AS foreign_code ON tenant.tenant_id = foreign_code.tenant_code
WHERE tenant.tenant_id = any(%(tenant_ids)s);

-- name: chosen_customers
-- As chosen_tenants, with deleted tenants, which have the code on their last invoice (as vanished_payers of billing).
WITH known AS (
    SELECT tenant_id, tenant_code
    FROM batch.board_tenant
    UNION ALL
    SELECT vanished.tenant_id, coalesce(last.tenant_code, vanished.tenant_id) AS tenant_code
    FROM (
        SELECT DISTINCT invoice.tenant_id
        FROM batch.board_invoice AS invoice
        WHERE
            NOT EXISTS (
                SELECT FROM batch.board_tenant AS tenant
                WHERE tenant.tenant_id = invoice.tenant_id
            )
    ) AS vanished
    CROSS JOIN
        LATERAL (
            SELECT invoice.tenant_code
            FROM batch.board_invoice AS invoice
            WHERE invoice.tenant_id = vanished.tenant_id AND invoice.kind = 'invoice' AND invoice.number IS NOT null
            ORDER BY invoice.period_start DESC
            LIMIT 1
        ) AS last
),

coded AS (
    SELECT tenant_code, count(*) AS tenants, min(tenant_id) AS tenant_id
    FROM known
    GROUP BY tenant_code
)

SELECT
    wanted.tenant_id,
    CASE
        WHEN own.tenants = 1 THEN own.tenant_code
        WHEN named.tenants IS null OR (named.tenants = 1 AND named.tenant_id = wanted.tenant_id) THEN wanted.tenant_id
    END AS chosen_as
FROM unnest(%(tenant_ids)s::text[]) AS wanted (tenant_id)
LEFT JOIN batch.board_tenant AS tenant ON wanted.tenant_id = tenant.tenant_id
LEFT JOIN coded AS own ON tenant.tenant_code = own.tenant_code
LEFT JOIN coded AS named ON wanted.tenant_id = named.tenant_code;

-- name: enter_values
-- The board's only writing statement. Its role cannot read the row again.
INSERT INTO batch.entered_values (token, dag_id, operation, form_values, entered_by)
VALUES (%(token)s, %(dag_id)s, %(operation)s, %(form_values)s, %(person)s);
