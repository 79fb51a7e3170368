-- name: fresh_request
INSERT INTO "SYS_SystemLog" (id, log_level, message, created_at, updated_at)
VALUES (gen_random_uuid()::text, 'INFO', 'fresh', timestamp '2026-11-01', timestamp '2026-11-01');
