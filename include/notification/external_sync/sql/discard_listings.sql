-- Listings that came to nothing: a dry run's, and incomplete ones.
WITH accounts AS (
    DELETE FROM batch.listed_account
    WHERE execution_id = %(execution_id)s
),

channels AS (
    DELETE FROM batch.listed_channel
    WHERE execution_id = %(execution_id)s
)

DELETE FROM batch.directory_listing
WHERE execution_id = %(execution_id)s;
