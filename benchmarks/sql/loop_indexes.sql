-- name: loop_indexes
-- The indexes that make the loop usable. The host does not have them, and the batches must not create them. The table has the
-- keys of each tenant's people, as the batch resolves them: id, code, e-mail address and account. It is made before the
-- measurement, so that each look-up of the loop is one by index, at the same cost for any number of tenants.
CREATE INDEX ON "SYS_SystemLog" (user_id, created_at);
CREATE INDEX ON "HIS_AuditLog" (user_id, created_at);
CREATE INDEX ON "MST_Employee" (tenant_id);
CREATE INDEX ON "HIS_ReportGeneration" (requested_by, (coalesce(completed_at, created_at)));
CREATE INDEX ON "HIS_ReportGeneration" (tenant_id, requested_by);
CREATE INDEX ON "HIS_NotificationLog" (tenant_id, sent_at);
CREATE INDEX ON "TRN_SkillEvidence" (employee_id);
CREATE INDEX ON "TRN_EmployeeSkillGrade" (updated_by, updated_at);
CREATE INDEX ON "TRN_GoalProgress" (updated_by, updated_at);
CREATE INDEX ON "TRN_PDU" (updated_by, updated_at);
CREATE INDEX ON "TRN_ProjectRecord" (updated_by, updated_at);
CREATE INDEX ON "TRN_SkillEvidence" (updated_by, updated_at);
CREATE INDEX ON "TRN_SkillRecord" (employee_id, assessment_date);
CREATE INDEX ON "TRN_SkillRecord" (updated_by, updated_at);
CREATE INDEX ON "TRN_TrainingHistory" (updated_by, updated_at);

CREATE TABLE loop_person_key AS
SELECT
    tenant_id,
    id AS person_id,
    id AS person_key
FROM "MST_Employee"
UNION ALL
SELECT
    tenant_id,
    id AS person_id,
    employee_code AS person_key
FROM "MST_Employee"
UNION ALL
SELECT
    tenant_id,
    id AS person_id,
    lower(email) AS person_key
FROM "MST_Employee"
UNION ALL
SELECT
    employee.tenant_id,
    employee.id AS person_id,
    account.user_id AS person_key
FROM "MST_Employee" AS employee
INNER JOIN "MST_UserAuth" AS account ON employee.id = account.employee_id
UNION ALL
SELECT
    employee.tenant_id,
    employee.id AS person_id,
    account.user_id AS person_key
FROM "MST_Employee" AS employee
INNER JOIN "MST_UserAuth" AS account ON employee.employee_code = account.employee_id;

CREATE INDEX ON loop_person_key (tenant_id, person_key) INCLUDE (person_id);
