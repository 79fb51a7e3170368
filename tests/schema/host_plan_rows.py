"""A host with 40 days of logs, large enough for the planner to prefer an index, and the messages of the outbox."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

import psycopg

LAST_DAY = datetime(2026, 11, 1)
"""The end (UTC) of the 40 days."""

TENANTS = ("T0", "T1", "T2", "T3")

_PEOPLE: tuple[LiteralString, ...] = (
    """
    INSERT INTO "MST_Tenant" (tenant_id, tenant_code, tenant_name, status, created_at, updated_at)
    SELECT 'T' || number, 'T' || number, 'T' || number, 'ACTIVE', '2026-04-01', '2026-04-01' FROM generate_series(0, 3) AS number
    """,
    """
    INSERT INTO "MST_Employee" (id, employee_code, email, tenant_id, updated_at)
    SELECT 'emp_' || number, lpad(number::text, 6, '0'), number || '@example.jp', 'T' || number % 4, '2026-04-01'
    FROM generate_series(1, 400) AS number
    """,
    """
    INSERT INTO "MST_UserAuth" (user_id, login_id, employee_id, tenant_id, created_at, updated_at)
    SELECT 'USER' || number, lpad(number::text, 6, '0'), lpad(number::text, 6, '0'), 'T' || number % 4, '2026-04-01', '2026-04-01'
    FROM generate_series(1, 400) AS number
    """,
    """
    INSERT INTO batch.person_key (person_key, named_by, is_decisive, person_id, employee_id, tenant_id, reason)
    SELECT person_key, named_by, is_decisive, person_id, employee_id, tenant_id, reason FROM batch.all_person_key
    """,
)

# Each with %(end)s: the rows of 40 days, evenly spread, oldest first.
_LOGS: tuple[LiteralString, ...] = (
    """
    INSERT INTO "SYS_SystemLog" (id, user_id, request_url, response_status, response_time, message, created_at, updated_at)
    SELECT number, lpad((number %% 400)::text, 6, '0'), '/api', 200, 10, repeat('x', 200), at, at
    FROM (
        SELECT number, %(end)s::timestamp - (40000 - number) * interval '86.4 seconds' AS at FROM generate_series(1, 40000) AS number
    ) AS row
    """,
    """
    INSERT INTO "HIS_AuditLog" (id, user_id, action_type, new_values, created_at)
    SELECT number, lpad((number %% 400)::text, 6, '0'), 'UPDATE', repeat('x', 200),
        %(end)s::timestamp - (40000 - number) * interval '86.4 seconds'
    FROM generate_series(1, 40000) AS number
    """,
    # A notification is sent within three hours, or fails. Of the last hours some wait.
    """
    INSERT INTO "HIS_NotificationLog" (
        id, tenant_id, notification_type, recipient_address, message_body, send_status, scheduled_at, sent_at, created_at, updated_at
    )
    SELECT
        'n' || number, 'T' || number %% 4, 'EMAIL', 'x@example.jp', repeat('x', 200),
        CASE WHEN number > 39920 THEN 'PENDING' WHEN number %% 50 = 0 THEN 'FAILED' ELSE 'SUCCESS' END,
        at, CASE WHEN number <= 39920 AND number %% 50 <> 0 THEN at + number %% 180 * interval '1 minute' END, at, at
    FROM (
        SELECT number, %(end)s::timestamp - (40000 - number) * interval '86.4 seconds' AS at FROM generate_series(1, 40000) AS number
    ) AS row
    """,
    """
    INSERT INTO "SYS_TokenStore" (id, token_value, expires_at, updated_at)
    SELECT number, repeat('x', 200), %(end)s::timestamp - (40000 - number) * interval '86.4 seconds', '2026-04-01'
    FROM generate_series(1, 40000) AS number
    """,
    """
    INSERT INTO "HIS_ReportGeneration" (id, tenant_id, requested_by, generation_status, file_size, created_at, completed_at, updated_at)
    SELECT 'r' || number, 'T' || number %% 4, lpad((number %% 400)::text, 6, '0'), 'COMPLETED', 1000, at, at, at
    FROM (
        SELECT number, %(end)s::timestamp - (10000 - number) * interval '345.6 seconds' AS at FROM generate_series(1, 10000) AS number
    ) AS row
    """,
    """
    INSERT INTO batch.outbox (
        message_id, tenant_id, dedupe_key, channel, destination, subject, body, priority, host_log_id, status, due_at, next_attempt_at,
        dedupe_until, created_by, finished_at
    )
    SELECT
        'm' || number, 'T' || number %% 4, 'host:n' || number, 'email', 'x@example.jp', 's', 'b', 2, 'n' || number,
        CASE WHEN number > 39950 THEN 'pending' ELSE 'sent' END, %(end)s, %(end)s, %(end)s::timestamp + interval '1 day', 'run',
        CASE WHEN number <= 39950 THEN %(end)s::timestamp END
    FROM generate_series(20001, 40000) AS number
    """,
)

# By table: the columns in addition to those of all edited tables, and their values.
_EDITED: dict[LiteralString, tuple[LiteralString, LiteralString]] = {
    "TRN_EmployeeSkillGrade": ("", ""),
    "TRN_GoalProgress": (", goal_title", ", 'goal'"),
    "TRN_PDU": (", activity_type, expiry_date", ", 'certification', at + interval '1 year'"),
    "TRN_ProjectRecord": ("", ""),
    "TRN_SkillEvidence": (", file_size_kb", ", 1"),
    "TRN_SkillRecord": (", skill_item_id, assessment_date", ", 's' || number, at"),
    "TRN_TrainingHistory": (", end_date", ", at"),
}


def plant_host(owner: psycopg.Connection) -> None:
    """Plant the rows as superuser, and collect the planner's statistics."""
    with owner.transaction():
        # No commit waits for the disk.
        owner.execute("SET LOCAL synchronous_commit = off")
        for statement in _PEOPLE:
            owner.execute(statement)
        for statement in _LOGS:
            owner.execute(statement, {"end": LAST_DAY})
        for table, (columns, values) in _EDITED.items():
            # Three years of rows.
            owner.execute(
                f"""
                INSERT INTO "{table}" (id, employee_id, tenant_id, created_by, updated_by, created_at, updated_at{columns})
                SELECT number, person, 'default', person, person, at, at{values}
                FROM (
                    SELECT
                        number,
                        lpad((number % 400)::text, 6, '0') AS person,
                        timestamp '2026-11-01' - (20000 - number) * interval '79 minutes' AS at
                    FROM generate_series(1, 20000) AS number
                ) AS edit
                """
            )
    owner.execute("VACUUM ANALYZE")
