INSERT INTO batch.platform_check (check_name, checked_at, recent)
VALUES (%(check_name)s, %(check_at)s, %(recent)s)
ON CONFLICT (check_name) DO UPDATE SET checked_at = excluded.checked_at, recent = excluded.recent;
