"""What can be open when the tenant T leaves, as rows; and rows like them that are settled, or of the tenant U."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg

from include.skillreport.billing.periods import Period
from tests.worlds import host_rows, planted_rows
from tests.worlds.leaving_tenants import AT, DAY


def settle(connection: psycopg.Connection) -> None:
    """T has nothing open: its invoices are paid, and its days of May are billed. U has everything open."""
    add_invoice(connection, 3, paid_total=1)
    add_invoice(connection, 5, marked_paid=True)
    add_draft(connection, 6, status="void", voided_at=AT, void_reason="誤り", voided_by="佐藤")
    add_days(connection, date(2026, 5, 1), date(2026, 5, 31))
    add_message(connection, 0, status="sent", finished_at=AT)
    add_link(connection, 0, status="inactive")

    host_rows.tenant(connection, "U")
    add_invoice(connection, 4, "U")
    add_invoice(connection, 6, "U")
    add_draft(connection, 7, "U")
    add_days(connection, date(2026, 8, 1), tenant_id="U")
    add_message(connection, 0, "U")
    add_link(connection, 0, "U")


def leave_open(connection: psycopg.Connection, item: str) -> None:
    """Two of an item of T: of invoices and messages one in each state that counts."""
    match item:
        case "open_invoices":
            add_invoice(connection, 7, status="finalized")
            add_invoice(connection, 8)
        case "held_drafts":
            add_draft(connection, 7)
            add_draft(connection, 8)
        case "unbilled_days":
            # Only May is billed. U's invoices are about their months, and so is the draft that was void before it was final.
            add_days(connection, date(2026, 4, 30), date(2026, 6, 1))
        case "waiting_messages":
            add_message(connection, 1)
            add_message(connection, 2, status="ambiguous")
        case "directory_links":
            add_link(connection, 1)
            add_link(connection, 2)


def add_invoice(connection: psycopg.Connection, month: int, tenant_id: str = "T", **values: Any) -> None:
    """A final invoice of 1 for a month of 2026."""
    final = {
        "status": "finalized",
        "number": f"{tenant_id}-{month}",
        "issued_on": DAY,
        "accrued_on": DAY,
        "booked_on": DAY,
        "finalized_at": AT,
    }
    add_draft(connection, month, tenant_id, **(final | values))


def add_draft(connection: psycopg.Connection, month: int, tenant_id: str = "T", **values: Any) -> None:
    """A draft of an invoice for a month of 2026."""
    period = Period.month_of(date(2026, month, 1))
    draft = {
        "invoice_id": f"{tenant_id}-{month}",
        "period_start": period.start,
        "period_end": period.end,
    }
    _add(connection, "invoice", tenant_id, draft | values)


def add_days(connection: psycopg.Connection, *days: date, tenant_id: str = "T") -> None:
    """Closed days."""
    for day in days:
        _add(connection, "usage_day", tenant_id, {"usage_date": day})


def add_message(connection: psycopg.Connection, number: int, tenant_id: str = "T", **values: Any) -> None:
    """A message that waits."""
    named = dict.fromkeys(("message_id", "dedupe_key"), f"{tenant_id}-{number}")
    _add(connection, "outbox", tenant_id, named | values)


def add_link(connection: psycopg.Connection, number: int, tenant_id: str = "T", **values: Any) -> None:
    """A link between an account and an employee."""
    named = dict.fromkeys(("external_id", "employee_id"), f"{tenant_id}-{number}")
    _add(connection, "account_link", tenant_id, named | values)


def _add(connection: psycopg.Connection, table: str, tenant_id: str, values: dict[str, Any]) -> None:
    planted_rows.plant_parents(connection, table, tenant_id)
    row = planted_rows.row_of(connection, table, tenant_id)
    planted_rows.insert(connection, table, row | values)
