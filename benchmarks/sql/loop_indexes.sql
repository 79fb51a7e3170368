-- name: loop_indexes
-- What the loop would need to be usable at all; the host has none of them, and they are not ours to make.
CREATE INDEX ON "SYS_SystemLog" (user_id, created_at);
CREATE INDEX ON "HIS_AuditLog" (user_id, created_at);
CREATE INDEX ON "MST_UserAuth" (tenant_id);
CREATE INDEX ON "MST_Employee" (tenant_id);
CREATE INDEX ON "HIS_ReportGeneration" (tenant_id);
CREATE INDEX ON "HIS_NotificationLog" (tenant_id, sent_at);
CREATE INDEX ON "TRN_EmployeeSkillGrade" (tenant_id, updated_at);
CREATE INDEX ON "TRN_GoalProgress" (tenant_id, updated_at);
CREATE INDEX ON "TRN_PDU" (tenant_id, updated_at);
CREATE INDEX ON "TRN_ProjectRecord" (tenant_id, updated_at);
CREATE INDEX ON "TRN_SkillEvidence" (tenant_id, updated_at);
CREATE INDEX ON "TRN_SkillRecord" (tenant_id, updated_at);
CREATE INDEX ON "TRN_TrainingHistory" (tenant_id, updated_at);
