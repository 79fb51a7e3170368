INSERT INTO batch.platform_incident (check_name, opened_at, evidence, breached_at, reopened, closed_at)
VALUES (%(check_name)s, %(opened_at)s, %(evidence)s, %(breached_at)s, %(reopened)s, %(closed_at)s)
ON CONFLICT (check_name, opened_at) DO UPDATE SET
    evidence = excluded.evidence,
    breached_at = excluded.breached_at,
    reopened = excluded.reopened,
    closed_at = excluded.closed_at;
