SELECT tenant_id
FROM batch.setting_plan
ORDER BY tenant_id
FOR UPDATE;
