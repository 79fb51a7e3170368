"""Tenants, people and days of a monthly report, and the cells of its workbook."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
from openpyxl.workbook import Workbook

from tests.worlds import host_rows

MONTH, LAST_DAY = date(2026, 10, 1), date(2026, 10, 31)

_COLUMNS = (
    *("users_total", "users_active", "users_new", "logins", "api_calls", "api_errors", "reports_generated"),
    *(
        "skill_assessments",
        "notifications_sent",
        "storage_bytes",
        "employees",
        "skill_records",
        "rated_records",
        "rated_people",
        "required_people",
    ),
    *("level_sum", "coverage_met", "coverage_target", "goals_not_started", "goals_in_progress"),
    *("goals_completed", "goals_other", "certificates_held", "certificates_expiring", "certificates_expired"),
    "trainings_completed",
)

# The tables that the application does not write at present.
NO_RECORDS: dict[str, int | None] = dict.fromkeys(
    (
        *("api_calls", "api_errors", "reports_generated"),
        *("notifications_sent", "skill_assessments", "storage_bytes"),
    )
)


def employee(host: psycopg.Connection, tenant_id: str, name: str) -> None:
    host_rows.insert(
        host,
        "MST_Employee",
        id=f"{tenant_id} {name}",
        employee_code=f"{tenant_id} {name}",
        full_name=name,
        tenant_id=tenant_id,
        updated_at=host_rows.UPDATED_AT,
    )


def tenant(host: psycopg.Connection, tenant_id: str = "T1", **values: Any) -> str:
    return host_rows.tenant(
        host, tenant_id, **({"admin_email": f"admin@{len(tenant_id)}.example.jp"} | values)
    )


def book_of(path: Path) -> Workbook:
    return openpyxl.load_workbook(BytesIO(path.read_bytes()))


def cells(book: Workbook, sheet: str) -> list[list[Any]]:
    return [[cell.value for cell in row] for row in book[sheet].iter_rows()]


def charts_of(sheet: Any) -> list[Any]:
    """A sheet's charts; openpyxl has no public name for them."""
    return list(sheet._charts)


def day(when: date, /, **figures: int | None) -> dict[str, Any]:
    row: dict[str, Any] = defaultdict(int, figures)
    return row | {
        "statistics_date": when,
        "api_error_rate": None,
        "training_hours": Decimal(0),
        **{name: figures.get(name, 0) for name in _COLUMNS},
    }
