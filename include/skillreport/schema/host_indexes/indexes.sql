-- Indexes that the application's tables lack, with the batches that read them and the reason for their type.
--
-- Columns are plain and names are Prisma's defaults. A Prisma schema supports neither expression nor partial indexes, and `prisma
-- db push` drops indexes that its schema lacks. BRIN needs timestamp_minmax_multi_ops: the default operator class keeps one
-- interval per block range. After a clean-up, new rows fill old pages, and that interval covers all days in between.
--
-- A daily batch reads a log only if the hourly batch has not counted it. Some reads cannot use an index on a plain column: the
-- total file size (HIS_ReportGeneration, TRN_SkillEvidence) and the current data of users (BATCH-003, reminders of BATCH-019-01).

-- BATCH-018-03 counts the requests of two hours, BATCH-018-01 and BATCH-003 of a day; BATCH-002 deletes an expired week. BRIN:
-- the application only appends, so a block range holds rows of few days.
CREATE INDEX CONCURRENTLY "SYS_SystemLog_created_at_idx" ON public."SYS_SystemLog"
USING brin (created_at timestamp_minmax_multi_ops);

-- Actions and logins: BATCH-018-03 counts two hours, BATCH-018-01 and BATCH-003 a day, BATCH-018-04 two days. BRIN: as above.
CREATE INDEX CONCURRENTLY "HIS_AuditLog_created_at_idx" ON public."HIS_AuditLog"
USING brin (created_at timestamp_minmax_multi_ops);

-- Edited rows: BATCH-018-03 counts two hours, BATCH-018-01 and BATCH-003 a day, BATCH-018-04 two days. B-tree for this and the
-- next six: an update moves a row to another page and mixes the days.
CREATE INDEX CONCURRENTLY "TRN_EmployeeSkillGrade_updated_at_idx" ON public."TRN_EmployeeSkillGrade"
USING btree (updated_at);

-- Edited rows: BATCH-018-03, BATCH-018-01, BATCH-003, BATCH-018-04.
CREATE INDEX CONCURRENTLY "TRN_GoalProgress_updated_at_idx" ON public."TRN_GoalProgress"
USING btree (updated_at);

-- Edited rows: BATCH-018-03, BATCH-018-01, BATCH-003, BATCH-018-04.
CREATE INDEX CONCURRENTLY "TRN_PDU_updated_at_idx" ON public."TRN_PDU"
USING btree (updated_at);

-- Edited rows: BATCH-018-03, BATCH-018-01, BATCH-003, BATCH-018-04.
CREATE INDEX CONCURRENTLY "TRN_ProjectRecord_updated_at_idx" ON public."TRN_ProjectRecord"
USING btree (updated_at);

-- Edited rows: BATCH-018-03, BATCH-018-01, BATCH-003, BATCH-018-04.
CREATE INDEX CONCURRENTLY "TRN_SkillEvidence_updated_at_idx" ON public."TRN_SkillEvidence"
USING btree (updated_at);

-- Edited rows: BATCH-018-03, BATCH-018-01, BATCH-003, BATCH-018-04.
CREATE INDEX CONCURRENTLY "TRN_SkillRecord_updated_at_idx" ON public."TRN_SkillRecord"
USING btree (updated_at);

-- Edited rows: BATCH-018-03, BATCH-018-01, BATCH-003, BATCH-018-04.
CREATE INDEX CONCURRENTLY "TRN_TrainingHistory_updated_at_idx" ON public."TRN_TrainingHistory"
USING btree (updated_at);

-- BATCH-018-01 and BATCH-003 count the assessments of a day. B-tree: users enter the date, so it does not follow the row order.
CREATE INDEX CONCURRENTLY "TRN_SkillRecord_assessment_date_idx" ON public."TRN_SkillRecord"
USING btree (assessment_date);

-- BATCH-018-03 and BATCH-019-01 search waiting notifications. B-tree: they search single values.
CREATE INDEX CONCURRENTLY "HIS_NotificationLog_send_status_idx" ON public."HIS_NotificationLog"
USING btree (send_status);

-- BATCH-018-01 and BATCH-003 count the notifications of a day; BATCH-019-04 archives an expired week. B-tree: they also search
-- unsent rows (NULL).
CREATE INDEX CONCURRENTLY "HIS_NotificationLog_sent_at_idx" ON public."HIS_NotificationLog"
USING btree (sent_at);

-- BATCH-002 deletes an expired week. B-tree: BRIN still covers deleted rows, so it does not find the oldest rows.
CREATE INDEX CONCURRENTLY "SYS_TokenStore_expires_at_idx" ON public."SYS_TokenStore"
USING btree (expires_at);
