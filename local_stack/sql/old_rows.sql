-- name: old_rows
INSERT INTO "SYS_SystemLog" (id, log_level, message, created_at, updated_at)
SELECT
    'log_old_' || number AS id,
    'INFO' AS log_level,
    'half a year ago' AS message,
    timestamp '2026-04-01' + number * interval '1 second' AS created_at,
    timestamp '2026-04-01' AS updated_at
FROM generate_series(1, 2500) AS number;

INSERT INTO "SYS_TokenStore" (id, token_type, expires_at, updated_at)
SELECT
    'token_old_' || number AS id,
    'refresh' AS token_type,
    timestamp '2026-10-01' AS expires_at,
    timestamp '2026-09-01' AS updated_at
FROM generate_series(1, 120) AS number;
