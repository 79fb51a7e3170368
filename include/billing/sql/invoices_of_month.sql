-- Runs across tenants, as batch_platform. Numbers in their order, also past 999.
SELECT
    status,
    content,
    number,
    issued_on,
    due_on
FROM batch.invoice
WHERE period_start = %(period_start)s AND number IS NOT null
ORDER BY kind DESC, length(number), number ASC;
