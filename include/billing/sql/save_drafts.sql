-- One live invoice per tenant and month: a draft is replaced, anything else stays, and then no row comes back for its tenant.
INSERT INTO batch.invoice AS invoice (
    invoice_id,
    tenant_id,
    kind,
    period_start,
    period_end,
    currency,
    total,
    content,
    inputs,
    input_hash,
    hold_reason,
    execution_id
)
SELECT
    gen_random_uuid()::text AS invoice_id,
    draft.tenant_id,
    'invoice' AS kind,
    %(period_start)s,
    %(period_end)s,
    draft.currency,
    draft.total,
    draft.content,
    draft.inputs,
    draft.input_hash,
    draft.hold_reason,
    %(execution_id)s
FROM
    jsonb_to_recordset(%(drafts)s) AS draft (
        tenant_id text,
        currency text,
        total numeric,
        content jsonb,
        inputs jsonb,
        input_hash text,
        hold_reason text
    )
ORDER BY draft.tenant_id
ON CONFLICT (tenant_id, period_start) WHERE kind = 'invoice' AND status <> 'void' AND NOT credited DO UPDATE
    SET
        currency = excluded.currency,
        total = excluded.total,
        content = excluded.content,
        inputs = excluded.inputs,
        input_hash = excluded.input_hash,
        hold_reason = excluded.hold_reason,
        execution_id = excluded.execution_id
    WHERE invoice.status = 'draft'
RETURNING tenant_id, invoice_id;
