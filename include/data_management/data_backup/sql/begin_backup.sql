-- The run's own row: a repeated step goes on under the same id. Ids count up through the day (Asia/Tokyo), as the host's do, past
-- those of the ledger, of the application and of the store.
INSERT INTO batch.backup AS begun (backup_id, execution_id, business_date, status, location)
SELECT
    coalesce(
        (
            SELECT own.backup_id FROM batch.backup AS own
            WHERE own.execution_id = %(execution_id)s
        ),
        format(
            'BKP_%%s_%%s',
            to_char(%(business_date)s::date, 'YYYYMMDD'),
            lpad(
                (
                    SELECT 1 + coalesce(max(right(taken.backup_id, 3)::integer), 0)
                    FROM (
                        SELECT backup_id FROM batch.backup
                        UNION ALL
                        SELECT backup_id FROM batch.all_backup_history
                        UNION ALL
                        SELECT unnest(%(stored)s::text[]) AS backup_id
                    ) AS taken
                    WHERE taken.backup_id ~ format('^BKP_%%s_\d{3}$', to_char(%(business_date)s::date, 'YYYYMMDD'))
                )::text,
                3,
                '0'
            )
        )
    ),
    %(execution_id)s,
    %(business_date)s,
    'running',
    ''
ON CONFLICT (execution_id) DO UPDATE
    SET
        status = 'running',
        snapshot_at = clock_timestamp(),
        verified_at = null
RETURNING begun.backup_id;
