"""Receipts of invoices in another currency: the books have 0 yen of an invoice of which nothing is open."""

from __future__ import annotations

import csv
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import accounting_rows, billing_rows
from tests.worlds.accounting_rows import rows
from tests.worlds.billing_rows import customer, invoice, reasons, run_billing
from tests.worlds.own_settings import change_billing
from tests.worlds.payment_rows import operate

MONTHS = (date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1))


@pytest.fixture
def dollars(database: Database, host: psycopg.Connection) -> Decimal:
    """U's October in dollars; returns its total."""
    customer(host, "U", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "151.242")
    run_billing(database, codes=["U"])
    return Decimal(invoice(host, "U")["total"])


def pay_dollars(
    database: Database, amount: Decimal, reference: str, operation: str = "record_payment"
) -> Any:
    values: dict[str, Any] = {
        "paid_on": "2026-11-27",
        "paid_amount": f"{amount}",
        "paid_method": "SWIFT",
        "paid_reference": reference,
    }
    reason = "過入金"
    if operation == "record_payment":
        # Equal parts of one day are meant.
        reason, values = "", {**values, "is_other": True}
    return operate(database, operation, "U", values=values, reason=reason)


def left(platform: psycopg.Connection, store: ObjectStore) -> int:
    """The yen that each of the four files of all months leaves of the receivables."""
    sums: dict[str, int] = {}
    for month in MONTHS:
        Billing().write_accounting_month(platform, month, store)
        for name, yen in accounting_rows.receivables(store, f"{month:%Y-%m}").items():
            sums[name] = sums.get(name, 0) + yen
    (total,) = set(sums.values())
    return total


def test_the_last_payment_takes_the_rest_of_the_yen(
    database: Database, platform: psycopg.Connection, store: ObjectStore, dollars: Decimal
) -> None:
    third = (dollars / 3).quantize(Decimal("0.01"))
    for reference, amount in (("W-1", third), ("W-2", third), ("W-3", dollars - 2 * third)):
        result = pay_dollars(database, amount, reference)
        assert result.status == "completed", reasons(result)

    assert left(platform, store) == 0
    assert sum(int(row["税込金額（円）"]) for row in rows(store, "2026-11")) == -round(
        dollars * Decimal("151.242")
    )
    assert f"SWIFT W-1 USD -{third} @151.242（2026-10-31）" in rows(store, "2026-11", "journal")[0]["摘要"]


@pytest.mark.usefixtures("dollars")
def test_fee_and_write_off_leave_no_yen_of_a_foreign_invoice(
    database: Database, platform: psycopg.Connection, store: ObjectStore
) -> None:
    operate(database, "part_credit", "U", reason="障害", values={"credit_lines": ["1=33.33"]})
    pay_dollars(database, Decimal("77.77"), "W-1")
    fee = {"fee_on": "2026-11-27", "fee_amount": "11.11"}
    assert operate(database, "fee_difference", "U", values=fee).status == "completed"
    gone = {"written_off_on": "2026-12-08", "fact": "insolvency", "evidence": "書庫 12"}

    result = operate(database, "write_off", "U", values=gone)

    assert result.status == "completed", reasons(result)
    assert left(platform, store) == 0


def test_a_refund_of_a_foreign_invoice_gives_back_its_yen(
    database: Database, platform: psycopg.Connection, store: ObjectStore, dollars: Decimal
) -> None:
    for reference in ("W-1", "W-2"):
        pay_dollars(database, dollars / 2 + Decimal("3.33"), reference)
    assert left(platform, store) == -round(Decimal("6.66") * Decimal("151.242"))

    pay_dollars(database, Decimal("6.66"), "R-1", "record_refund")

    assert left(platform, store) == 0


def test_the_applications_payment_takes_all_yen(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    dollars: Decimal,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="host")
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID' WHERE tenant_id = 'U'""")

    operate(database, "credit", "U", reason="解約")

    assert left(platform, store) == -round(dollars * Decimal("151.242"))


def test_the_ageing_adds_up_to_the_books_in_yen(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "J", months=MONTHS[:2], tenant_code="Z")
    customer(host, "U", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "151.242")
    run_billing(database, store=store)
    run_billing(database, MONTHS[1], run_at=datetime(2026, 12, 1, 2, tzinfo=JAPAN), store=store)
    credit: dict[str, Any] = {"reason": "障害", "values": {"credit_lines": ["1=33.33"]}}
    billing_rows.operate(database, "part_credit", "U", run_at=datetime(2026, 11, 20, tzinfo=JAPAN), **credit)
    pay_dollars(database, Decimal("77.77"), "W-1")
    in_the_books = 0

    for month in MONTHS[:2]:
        name, accepted = f"{month:%Y-%m}", Accepted(failed_tenants=True)
        accounting_rows.hand_over(platform, store, month, date(2026, 12, 5), name, accepted=accepted)
        in_the_books += sum(int(row["税込金額（円）"]) for row in rows(store, name, is_final=True))
        table = rows(store, name, "receivables", is_final=True)
        assert sum(int(row["円換算"]) for row in table) == in_the_books
        assert [row["テナントコード"] for row in table if row["通貨"] == "JPY"][-1] == "Z"
        assert {row["テナントコード"] for row in table if row["円換算"] != row["合計"]} == {"U"}

    pay_dollars(database, Decimal("22.22"), "W-2")
    Billing().write_books(platform, MONTHS[2], run_date=date(2026, 12, 10), execution_id="today", store=store)
    today = csv.DictReader(store.read("accounting/receivables.csv").decode("utf-8-sig").splitlines())
    later = sum(int(row["税込金額（円）"]) for row in rows(store, "2026-12"))
    assert sum(int(row["円換算"]) for row in today) == in_the_books + later
