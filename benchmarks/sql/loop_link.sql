-- name: loop_link
INSERT INTO batch.account_link (tenant_id, provider, external_id, employee_id, matched_by, linked_on, changed_by)
VALUES (%(tenant_id)s, %(provider)s, %(subject_id)s, %(employee_id)s, %(matched_by)s, %(run_date)s, %(execution_id)s);
