"""Payments that the application itself records, if it is their source: nothing counts twice, and nothing that it takes back stays."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds.billing_rows import (
    close_month,
    invoices,
    reasons,
    run_billing,
)
from tests.worlds.payment_rows import NUMBER, operate, pay

pytestmark = [pytest.mark.usefixtures("billed"), pytest.mark.billed(payment_source="host")]

NOVEMBER = date(2026, 11, 1)
HOST = "HIS_TenantBilling"
FILE = f"""請求書番号,入金日,金額,通貨,方法,参照番号
{NUMBER},2026-11-27,4000,JPY,銀行振込,F-1
{NUMBER},2026-11-28,7000,JPY,銀行振込,F-2
"""


@pytest.fixture
def november(database: Database, host: psycopg.Connection) -> str:
    """The number of A's November."""
    close_month(host, "A", NOVEMBER)
    run_billing(database, NOVEMBER, run_at=datetime(2026, 12, 1, 2, tzinfo=JAPAN))
    return "INV-2026-11-001"


def mark(
    host: psycopg.Connection, status: str = "PAID", number: str = NUMBER, paid_date: str | None = "2026-11-20"
) -> None:
    """The application marks the invoice itself. ``paid_date`` is in UTC."""
    host.execute(
        """
        UPDATE "HIS_TenantBilling"
        SET billing_status = %s, paid_date = %s, payment_method = '口座振替'
        WHERE invoice_number = %s
        """,
        [status, paid_date, number],
    )


def part_credit(database: Database, amount: int) -> Any:
    return operate(database, "part_credit", reason="障害", values={"credit_lines": [f"1={amount}"]})


def reverse(database: Database, reference: str = HOST) -> Any:
    return operate(database, "reverse_payment", reason="誤り", values={"paid_reference": reference})


def payments(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Invoice, reference, amount and whether it counts, in the order of their entry."""
    return host.execute(
        """
        SELECT invoice.number, payment.reference, payment.amount, payment.reversed_at IS null
        FROM batch.payment INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
        ORDER BY payment.entered_at
        """
    ).fetchall()


@pytest.mark.parametrize(
    ("paid_date", "paid_on"),
    [
        # What the product writes into this column is the day at 0:00.
        ("2026-11-30 00:00:00", date(2026, 11, 30)),
        ("2026-11-30 14:59:59.999", date(2026, 11, 30)),
        ("2026-11-30 15:00:00", date(2026, 12, 1)),
        (None, date(2026, 12, 10)),
        ("infinity", date(2026, 12, 10)),
        ("-infinity", date(2026, 12, 10)),
        ("9999-12-31 23:59:59", date(2026, 12, 10)),
    ],
)
def test_the_applications_payment_is_of_its_day_in_japan(
    database: Database, host: psycopg.Connection, paid_date: str | None, paid_on: date
) -> None:
    mark(host, paid_date=paid_date)

    assert part_credit(database, 1000).status == "completed"

    assert host.execute("SELECT source, paid_on FROM batch.payment").fetchall() == [("host", paid_on)]


def test_no_payment_is_entered_beside_the_applications_own(
    database: Database, host: psycopg.Connection
) -> None:
    mark(host)

    refused = reasons(pay(database))["A"]

    assert refused.startswith(f"請求書 {NUMBER} はアプリ（HIS_TenantBilling）で入金済みです")
    assert "先にアプリで入金済みを取り消してください" in refused
    assert payments(host) == []
    mark(host, "INVOICED")
    assert pay(database).status == "completed"


def test_the_rest_may_be_paid_by_hand(database: Database, host: psycopg.Connection) -> None:
    pay(database, "4000")
    pay(database, "8000", reference="F-2")

    assert [row[2] for row in payments(host)] == [4000, 8000]


def test_a_file_names_the_lines_beside_the_applications_own(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database, "4000")
    mark(host)
    store.write("payments/a.csv", FILE.encode())

    with pytest.raises(ParameterError, match=r"3 行目「請求書番号」: .*で入金済みです") as refusal:
        operate(database, "import_payments", values={"payment_file": "a.csv"}, store=store, codes=())

    # The payment of the other line is recorded already.
    assert "2 行目" not in str(refusal.value)
    assert [row[2] for row in payments(host)] == [4000]


def test_the_applications_payment_is_taken_back_by_the_application_first(
    database: Database, host: psycopg.Connection
) -> None:
    mark(host)
    part_credit(database, 1000)

    refused = reasons(reverse(database))["A"]

    assert "参照番号 'HIS_TenantBilling' は、アプリ（HIS_TenantBilling）の入金です" in refused
    assert payments(host) == [(NUMBER, HOST, 11_000, True)]
    mark(host, "INVOICED")
    assert reverse(database).status == "completed"
    assert payments(host) == [(NUMBER, HOST, 11_000, False)]


def test_the_applications_next_payment_counts(database: Database, host: psycopg.Connection) -> None:
    mark(host)
    part_credit(database, 1000)
    mark(host, "INVOICED")
    reverse(database)
    mark(host)

    part_credit(database, 2000)

    assert payments(host) == [(NUMBER, HOST, 11_000, False), (NUMBER, f"{HOST} 2", 9_900, True)]
    assert invoices(host, "A")[0]["open_amount"] == -2_200


def move(database: Database, target: str, reference: str = HOST) -> Any:
    values = {"paid_reference": reference, "paid_to": target}
    return operate(database, "move_payment", reason="付け替え", values=values)


def test_the_applications_payment_is_moved_to_the_replacement(
    database: Database, host: psycopg.Connection
) -> None:
    mark(host)
    operate(database, "credit", reason="二重請求")
    operate(database, "bill_again", reason="正しい金額")
    second = "INV-2026-10-002"

    moved = move(database, second)

    assert moved.status == "completed", reasons(moved)
    assert payments(host) == [(NUMBER, HOST, 11_000, False), (second, HOST, 11_000, True)]


def test_a_moved_payment_is_not_recorded_again(
    november: str, database: Database, host: psycopg.Connection
) -> None:
    mark(host)
    part_credit(database, 1000)
    move(database, november)

    part_credit(database, 2000)

    assert payments(host) == [(NUMBER, HOST, 11_000, False), (november, HOST, 11_000, True)]


def test_no_payment_is_moved_beside_the_applications_own(
    november: str, database: Database, host: psycopg.Connection
) -> None:
    pay(database)
    mark(host, number=november)

    assert f"請求書 {november} はアプリ" in reasons(move(database, november, "F-1"))["A"]
    assert payments(host) == [(NUMBER, "F-1", 11_000, True)]
