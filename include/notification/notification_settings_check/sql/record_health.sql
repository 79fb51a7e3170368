-- Not updated_at: only a change of the settings themselves opens a channel again.
UPDATE batch.tenant_integration
SET
    health_status = %(health)s,
    last_health_check = %(now)s,
    is_enabled = CASE WHEN %(switch_off)s THEN false ELSE is_enabled END
WHERE id = %(integration_id)s;
