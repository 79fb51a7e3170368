-- Skills, goals and certificates by employee key. people.sql finds the tenant.

-- Levels begin at 1. The record's category takes precedence over its skill's.
CREATE OR REPLACE VIEW batch.all_skill_record AS
SELECT
    coalesce(btrim(record.employee_id), '') AS person_key,
    record.tenant_id AS stated_tenant_id,
    record.skill_item_id,
    CASE WHEN record.skill_level BETWEEN 1 AND 2147483647 THEN record.skill_level END::integer AS skill_level,
    coalesce(
        nullif(btrim(record.skill_category_id), ''),
        nullif(btrim(item.skill_category_id), ''),
        nullif(btrim(skill.category_id), '')
    ) AS category_code,
    batch.bounded(record.created_at) AS created_at_utc
FROM "TRN_SkillRecord" AS record
LEFT JOIN "MST_SkillItem" AS item ON record.skill_item_id = item.skill_code
LEFT JOIN "MST_Skill" AS skill ON record.skill_item_id = skill.id
WHERE record.skill_item_id IS NOT null AND NOT record.is_deleted;

CREATE OR REPLACE VIEW batch.all_skill_category AS
SELECT
    category_code,
    nullif(btrim(category_name), '') AS category_name
FROM "MST_SkillCategory";

-- Users' job types: from their own row and from assignments. An assignment has no tenant column.
CREATE OR REPLACE VIEW batch.all_employee_job_type AS
SELECT
    employee_id AS employee_key,
    job_type_id,
    null::timestamp AS effective_from_utc,
    null::timestamp AS effective_until_utc
FROM batch.all_employment
WHERE is_employed AND job_type_id IS NOT null
UNION ALL
SELECT
    nullif(btrim(employee_id), '') AS employee_key,
    job_type_id,
    batch.bounded(effective_start_date) AS effective_from_utc,
    CASE WHEN batch.is_dated(effective_end_date) THEN effective_end_date END AS effective_until_utc
FROM "MST_EmployeeJobType"
WHERE
    job_type_id IS NOT null AND NOT is_deleted
    AND coalesce(upper(btrim(assignment_status)), 'ACTIVE') = 'ACTIVE';

CREATE OR REPLACE VIEW batch.all_required_skill AS
SELECT
    job_type_id,
    skill_item_id,
    CASE WHEN required_level <= 2147483647 THEN required_level END::integer AS required_level,
    batch.bounded(effective_date) AS effective_from_utc,
    CASE WHEN batch.is_dated(expiry_date) THEN expiry_date END AS effective_until_utc
FROM "MST_JobTypeSkill"
WHERE required_level > 0 AND NOT is_deleted AND coalesce(upper(btrim(skill_status)), 'ACTIVE') = 'ACTIVE';

-- The table also contains action plans and career paths, which are not goals.
CREATE OR REPLACE VIEW batch.all_goal AS
SELECT
    id AS goal_id,
    coalesce(btrim(employee_id), '') AS person_key,
    tenant_id AS stated_tenant_id,
    coalesce(nullif(btrim(goal_title), ''), goal_id, id) AS goal_title,
    CASE
        WHEN upper(btrim(achievement_status)) IN ('ACHIEVED', 'COMPLETED') THEN 'completed'
        WHEN upper(btrim(achievement_status)) = 'IN_PROGRESS' THEN 'in_progress'
        WHEN coalesce(upper(btrim(achievement_status)), '') IN ('', 'NOT_STARTED') THEN 'not_started'
        ELSE 'other'
    END AS status,
    -- A reached, postponed or abandoned goal needs no reminder.
    completion_date IS null
    AND coalesce(upper(btrim(achievement_status)), '') NOT IN (
        'ACHIEVED', 'COMPLETED', 'POSTPONED', 'CANCELLED', 'CANCELED'
    ) AS is_open,
    CASE WHEN batch.is_dated(target_date) THEN (target_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date END AS due_on,
    trim_scale(round(progress_rate::numeric, 1))::text AS progress_rate,
    batch.bounded(created_at) AS created_at_utc
FROM "TRN_GoalProgress"
WHERE NOT is_deleted AND coalesce(upper(btrim(goal_type)), '') NOT IN ('ACTION_PLAN', 'CAREER_PATH');

-- Current and former certificates. A certificate without an end never expires. The application stores them with professional
-- development activities.
CREATE OR REPLACE VIEW batch.all_certificate AS
SELECT
    record.id AS record_id,
    coalesce(btrim(record.employee_id), '') AS person_key,
    record.tenant_id AS stated_tenant_id,
    coalesce(
        nullif(btrim(record.activity_name), ''), certification.certification_name, record.certification_id, record.id
    ) AS certificate_name,
    CASE
        WHEN batch.is_dated(record.expiry_date) THEN (record.expiry_date AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date
    END AS expires_on,
    batch.bounded(record.created_at) AS created_at_utc
FROM "TRN_PDU" AS record
LEFT JOIN "MST_Certification" AS certification ON record.certification_id = certification.certification_code
WHERE
    lower(btrim(record.activity_type)) = 'certification' AND NOT record.is_deleted
    AND coalesce(upper(btrim(record.approval_status)), '') <> 'REJECTED';

-- Completed trainings with attendance.
CREATE OR REPLACE VIEW batch.all_completed_training AS
SELECT
    coalesce(btrim(employee_id), '') AS person_key,
    tenant_id AS stated_tenant_id,
    batch.bounded(coalesce(end_date, start_date)) AS ended_at_utc,
    coalesce(duration_hours, 0)::numeric AS duration_hours
FROM "TRN_TrainingHistory"
WHERE
    coalesce(end_date, start_date) IS NOT null AND NOT is_deleted
    AND coalesce(upper(btrim(attendance_status)), '') NOT IN (
        'ABSENT', 'CANCELLED', 'CANCELED', 'PLANNED', 'REGISTERED', '欠席'
    );

GRANT SELECT ON
batch.all_skill_record,
batch.all_skill_category,
batch.all_employee_job_type,
batch.all_required_skill,
batch.all_goal,
batch.all_certificate,
batch.all_completed_training
TO batch_platform;
