-- name: tenants_named
SELECT tenant_id, tenant_code, tenant_name, status
FROM batch.board_tenant
WHERE
    strpos(batch.folded(tenant_code), batch.folded(%(text)s)) > 0
    OR strpos(batch.folded(tenant_id), batch.folded(%(text)s)) > 0
    OR strpos(batch.folded(tenant_name), batch.folded(%(text)s)) > 0
ORDER BY tenant_code, tenant_id
LIMIT %(most)s;

-- name: invoices_numbered
SELECT invoice_id, number, tenant_code, counterparty, total, currency, state
FROM batch.board_invoice
WHERE number LIKE %(number)s
ORDER BY length(number), number
LIMIT %(most)s;

-- name: runs_named
SELECT batch_id, dag_id, run_id, execution_id, status, started_at
FROM batch.board_run
WHERE dag_id = any(%(dag_ids)s) AND (execution_id = %(name)s OR run_id = %(name)s)
ORDER BY started_at DESC
LIMIT %(most)s;
