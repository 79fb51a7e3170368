WITH accounts AS (
    DELETE FROM batch.listed_account
    WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
),

channels AS (
    DELETE FROM batch.listed_channel
    WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s
)

DELETE FROM batch.directory_listing
WHERE execution_id = %(execution_id)s AND tenant_id = %(tenant_id)s AND provider = %(provider)s;
