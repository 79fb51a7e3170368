"""Rows of the host application's tables for tests. The test gives some values, the others are Prisma's defaults."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

_ids = count(1)

UPDATED_AT = datetime(2026, 10, 1)


def insert(
    connection: psycopg.Connection, table: str, on_conflict: LiteralString = "", /, **values: Any
) -> None:
    """One row of a host table."""
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) {}").format(
            sql.Identifier("public", table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
            sql.SQL(on_conflict),
        ),
        list(values.values()),
    )


def tenant(connection: psycopg.Connection, tenant_id: str, **values: Any) -> str:
    """A tenant, ACTIVE unless said otherwise; returns its id."""
    values = {
        "tenant_code": tenant_id,
        "tenant_name": tenant_id,
        "status": "ACTIVE",
        "created_at": datetime(2026, 4, 1),
        "updated_at": UPDATED_AT,
    } | values
    insert(connection, "MST_Tenant", tenant_id=tenant_id, **values)
    return tenant_id


def share_codes(connection: psycopg.Connection) -> None:
    """Let several tenants have the same code, as an application without the unique index does."""
    connection.execute("""ALTER TABLE "MST_Tenant" DROP CONSTRAINT IF EXISTS "MST_Tenant_tenant_code_key" """)
    connection.execute("""DROP INDEX IF EXISTS "MST_Tenant_tenant_code_key" """)


def user(
    connection: psycopg.Connection,
    tenant_id: str,
    user_id: str,
    *,
    account_tenant_id: str | None = None,
    **values: Any,
) -> str:
    """An employee of the tenant and their account, which names the employee by id; returns the user id."""
    employee_id = f"emp_{user_id}"
    insert(
        connection,
        "MST_Employee",
        id=employee_id,
        employee_code=f"{next(_ids):06}",
        email=f"{user_id}@example.jp",
        tenant_id=tenant_id,
        updated_at=UPDATED_AT,
    )
    values = {
        "employee_id": employee_id,
        "tenant_id": account_tenant_id or tenant_id,
        "created_at": datetime(2026, 4, 1),
        "updated_at": UPDATED_AT,
    } | values
    insert(connection, "MST_UserAuth", user_id=user_id, login_id=user_id, **values)
    return user_id


def request(connection: psycopg.Connection, user_id: str | None, at: datetime, **values: Any) -> None:
    """An API request in the log; ``at`` is UTC."""
    values = {
        "request_url": "/api/skills",
        "response_status": 200,
        "response_time": 100,
        "log_level": "INFO",
    } | values
    insert(
        connection,
        "SYS_SystemLog",
        id=f"log_{next(_ids)}",
        user_id=user_id,
        created_at=at,
        updated_at=at,
        **values,
    )


def audit(connection: psycopg.Connection, user_id: str | None, at: datetime | None, **values: Any) -> None:
    """A row of the audit log; ``at`` is UTC and, like the flags, may be missing."""
    values = {"action_type": "UPDATE", "result_status": "SUCCESS"} | values
    insert(connection, "HIS_AuditLog", id=f"audit_{next(_ids)}", user_id=user_id, created_at=at, **values)


def skill(connection: psycopg.Connection, row_id: str, person: str, tenant_id: str, at: datetime) -> None:
    """A skill that a person entered, with a stamp of a tenant that may be another one."""
    insert(
        connection,
        "TRN_SkillRecord",
        id=row_id,
        employee_id=person,
        skill_item_id=row_id,
        tenant_id=tenant_id,
        created_by=person,
        updated_by=person,
        updated_at=at,
    )


def report(connection: psycopg.Connection, tenant_id: str, at: datetime, **values: Any) -> None:
    """A generated report; ``at`` is UTC."""
    values = {"generation_status": "COMPLETED", "file_size": 1_000, "completed_at": at} | values
    insert(
        connection,
        "HIS_ReportGeneration",
        id=f"report_{next(_ids)}",
        tenant_id=tenant_id,
        created_at=at,
        updated_at=at,
        **values,
    )


def break_settings_of(connection: psycopg.Connection, tenant_id: str) -> str:
    """Make a number among this tenant's settings overflow; returns the statement that mends it.

    Rows of the log tables cannot break a pass: their views evaluate nothing that can fail.
    """
    for section, name, value in (
        ("usage", "quota_warning_percent", "80"),
        ("monitoring", "min_calls", "20"),
        ("inactivity", "warning_days", "60"),
        ("notification", "retention_days", "90"),
    ):
        insert(
            connection,
            "MST_TenantSettings",
            id=f"setting_{next(_ids)}",
            tenant_id=tenant_id,
            setting_key=f"batch.{section}.{name}",
            setting_value=value,
            updated_at=UPDATED_AT,
        )
    overflow = "(9223372036854775807 * length(setting_value))::text"
    return break_view(connection, "all_tenant_setting", "setting_value", overflow, tenant_id)


def break_view(
    connection: psycopg.Connection, view: str, column: str, broken: LiteralString, tenant_id: str
) -> str:
    """Put the expression ``broken`` in place of a view's column on this tenant's rows; returns the statement that mends it."""
    row = connection.execute("SELECT pg_get_viewdef(%s::regclass)", [f"batch.{view}"]).fetchone()
    assert row is not None
    healthy = sql.SQL(cast("LiteralString", row[0].rstrip(";")))
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        [f"batch.{view}"],
    ).fetchall()
    chosen = [
        sql.SQL("CASE WHEN tenant_id = {} THEN {} ELSE {} END AS {}").format(
            sql.Literal(tenant_id), sql.SQL(broken), sql.Identifier(name), sql.Identifier(name)
        )
        if name == column
        else sql.Identifier(name)
        for (name,) in columns
    ]
    replace = sql.SQL("CREATE OR REPLACE VIEW batch.{} AS ").format(sql.Identifier(view))
    connection.execute(
        replace + sql.SQL("SELECT {} FROM ({}) AS healthy").format(sql.SQL(", ").join(chosen), healthy)
    )
    return (replace + healthy).as_string(connection)
