-- In one transaction with the letter about them.
UPDATE batch.setting_finding
SET told_by = %(execution_id)s
WHERE tenant_id = %(tenant_id)s AND told_by IS null
RETURNING
    subject,
    detail;
