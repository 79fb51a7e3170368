-- Settings whose newest change was taken back, with the value that is not wanted.
SELECT
    newest.tenant_id,
    newest.setting_key,
    newest.new_value
FROM (
    SELECT DISTINCT ON (tenant_id, setting_key)
        tenant_id,
        setting_key,
        new_value,
        undone_by
    FROM batch.setting_change
    ORDER BY tenant_id ASC, setting_key ASC, changed_at DESC
) AS newest
WHERE newest.undone_by IS NOT null;
