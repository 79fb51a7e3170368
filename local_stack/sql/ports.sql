-- name: move_channels
UPDATE "SYS_IntegrationConfig"
SET
    endpoint_url = regexp_replace(endpoint_url, '^http://127\.0\.0\.1:\d+/', %(services)s),
    connection_config = regexp_replace(connection_config, 'http://127\.0\.0\.1:\d+/', %(services)s, 'g')
WHERE
    regexp_replace(concat_ws(' ', endpoint_url, connection_config), %(services)s, '', 'g') LIKE '%%http://127.0.0.1:%%';

-- name: other_sessions
SELECT count(*)
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();
