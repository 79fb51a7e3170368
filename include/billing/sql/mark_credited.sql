UPDATE batch.invoice SET credited = true
WHERE invoice_id = %(invoice_id)s AND NOT credited;
