"""While the letter of an invoice is stopped, nothing else about the invoice reaches the customer."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_LOG_CLEANUP
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds.billing_rows import (
    customer,
    invoices,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.own_settings import change_billing

# July 1, on which the run of June's invoices works, is a Wednesday. The invoice is due on July 31.
JUNE, STOPPED_ON, RELEASED_ON = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 12)


@pytest.fixture(autouse=True)
def stopped(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """June of A, whose letter is stopped, with reminders."""
    change_billing(monkeypatch, tmp_path, letters_on="bank_day", payment_source="operations")
    customer(host, "A", contact_email="keiri@a.example", months=(JUNE,))
    run_billing(database, JUNE, store=store)
    june(database, "stop_letter", STOPPED_ON)


def june(database: Database, operation: str, on: date, **options: Any) -> Any:
    """An operation on A's invoice of June."""
    at = datetime(on.year, on.month, on.day, 10, tzinfo=JAPAN)
    return operate(database, operation, month=JUNE, reason="金額を確認する", run_at=at, **options)


def test_a_stopped_invoice_is_not_reminded_and_the_run_says_so(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    assert arrived(date(2026, 8, 10)) == set()
    notes = host.execute(
        "SELECT notes FROM batch.tenant_outcome WHERE tenant_id = 'A' ORDER BY recorded_at DESC LIMIT 1"
    ).fetchone()
    assert notes is not None
    assert "請求書 INV-2026-06-001 は送付を停止しているため、督促を送りません" in str(notes[0])

    june(database, "send_letter", RELEASED_ON, values={"accept_near_due": True})
    # The invoice, and the reminder.
    assert arrived(date(2026, 8, 13)) == {"keiri@a.example"}


def test_a_part_credit_of_a_stopped_invoice_is_refused(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    refused = june(database, "part_credit", STOPPED_ON, values={"credit_lines": ["1=1000"]}, store=store)

    assert outcomes(host, refused)["A"]["error_code"] == "LETTER_STOPPED"
    assert reasons(refused)["A"].startswith(
        "請求書 INV-2026-06-001 は送付を停止しているため、一部の返還をしません"
    )
    assert [row["kind"] for row in invoices(host, "A", JUNE)] == ["invoice"]
    assert june(database, "credit", STOPPED_ON, store=store).status == "completed"


@pytest.mark.parametrize("operations", [["reissue"], ["void", "bill_again"]])
def test_a_new_invoice_and_its_letter_do_not_name_an_unsent_one(
    database: Database, host: psycopg.Connection, store: ObjectStore, operations: list[str]
) -> None:
    for operation in operations:
        june(database, operation, STOPPED_ON, store=store)

    (new,) = host.execute(
        """SELECT message_body FROM "HIS_NotificationLog" WHERE NOT is_deleted AND id LIKE 'invoice-%'"""
    ).fetchall()
    assert "INV-2026-06-002" in new[0]
    assert "INV-2026-06-001" not in new[0]
    assert invoices(host, "A", JUNE)[-1]["content"].get("replaces") is None


def test_a_stopped_letter_is_kept_until_it_is_sent_or_voided(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    host.execute("""UPDATE "HIS_NotificationLog" SET updated_at = '2026-07-01', created_at = '2026-07-01'""")
    arrived(date(2026, 10, 11), NOTIFICATION_LOG_CLEANUP)

    june(database, "void", date(2026, 10, 12))

    assert letters(host) == [(True, "invoice")]
    host.execute("""UPDATE "HIS_NotificationLog" SET updated_at = '2026-07-01'""")
    arrived(date(2026, 10, 13), NOTIFICATION_LOG_CLEANUP)
    assert letters(host) == []


def test_a_letter_stopped_for_months_can_be_sent(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    host.execute("""UPDATE "HIS_NotificationLog" SET updated_at = '2026-07-01', created_at = '2026-07-01'""")
    arrived(date(2026, 10, 11), NOTIFICATION_LOG_CLEANUP)

    june(database, "send_letter", date(2026, 10, 12), values={"accept_near_due": True})

    assert arrived(date(2026, 10, 13)) == {"keiri@a.example"}


def letters(host: psycopg.Connection) -> list[tuple[bool, str]]:
    """Whether each letter is withdrawn, and its kind."""
    return host.execute(
        """SELECT is_deleted, split_part(id, '-', 1) FROM "HIS_NotificationLog" ORDER BY id"""
    ).fetchall()
