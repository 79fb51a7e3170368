-- name: loop_change
INSERT INTO batch.directory_change (
    tenant_id, provider, execution_id, kind, subject_id, employee_id, reason, plan_hash
)
VALUES (
    %(tenant_id)s, %(provider)s, %(execution_id)s, 'link', %(subject_id)s, %(employee_id)s, %(reason)s, %(plan_hash)s
);
