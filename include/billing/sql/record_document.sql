INSERT INTO batch.invoice_document (invoice_id, tenant_id, format, location, sha256, bytes)
VALUES (%(invoice_id)s, %(tenant_id)s, %(format)s, %(location)s, %(sha256)s, %(bytes)s)
ON CONFLICT (invoice_id, format) DO UPDATE SET
    location = excluded.location,
    sha256 = excluded.sha256,
    bytes = excluded.bytes,
    written_at = now();
