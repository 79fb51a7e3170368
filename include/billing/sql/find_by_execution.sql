-- What a run has already done for a tenant's month: the invoice it took back, or the credit it issued.
SELECT number
FROM batch.invoice
WHERE
    tenant_id = %(tenant_id)s AND period_start = %(period_start)s
    AND CASE
        WHEN %(kind)s = 'credit' THEN kind = 'credit' AND status <> 'draft' AND execution_id = %(execution_id)s
        ELSE status = 'void' AND voided_by = %(execution_id)s
    END
ORDER BY number DESC
LIMIT 1;
