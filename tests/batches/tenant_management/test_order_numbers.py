"""The customer's order number: on the invoice of a month, in its letters, and on what follows from it."""

from __future__ import annotations

import csv
import json
from datetime import date

import psycopg
import pytest

from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import customer, insert, invoices, operate, run_billing
from tests.worlds.documents import pages_of


@pytest.fixture(autouse=True)
def a_customer(host: psycopg.Connection) -> None:
    """A, which is billed for October."""
    customer(host, "A")


def order(
    host: psycopg.Connection, number: str, valid_from: date = date(2026, 1, 1), valid_to: date | None = None
) -> None:
    insert(host, "order_number", tenant_id="A", valid_from=valid_from, valid_to=valid_to, order_number=number)


def printed(store: ObjectStore, name: str = "INV-2026-10-001") -> str:
    (page,) = pages_of(store.read(f"invoices/2026-10/{name}.pdf"))
    return page


def bodies(host: psycopg.Connection) -> list[str]:
    rows = host.execute('SELECT message_body FROM "HIS_NotificationLog" ORDER BY created_at').fetchall()
    return [body for (body,) in rows]


def test_the_order_number_is_on_document_letter_and_index(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    order(host, "PO\u200b-2026\n 77")

    run_billing(database, store=store)

    assert "請求書番号 INV-2026-10-001\n注文番号 PO-2026 77\n発行日" in printed(store)
    assert "請求書番号: INV-2026-10-001\n注文番号: PO-2026 77\n" in bodies(host)[0]
    document = json.loads(store.read("invoices/2026-10/INV-2026-10-001.json"))
    assert document["order_number"] == "PO-2026 77"
    (row,) = csv.DictReader(store.read("invoices/2026-10/index.csv").decode("utf-8-sig").splitlines())
    assert row["注文番号"] == "PO-2026 77"
    found = host.execute("SELECT DISTINCT number, order_number FROM batch.document_search").fetchall()
    assert found == [("INV-2026-10-001", "PO-2026 77")]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([("old", date(2026, 1, 1), None), ("new", date(2026, 10, 31), None)], "new"),
        ([("old", date(2026, 1, 1), None), ("next", date(2026, 11, 1), None)], "old"),
        ([("ended", date(2026, 1, 1), date(2026, 10, 30))], None),
        ([("ends", date(2026, 1, 1), date(2026, 10, 31))], "ends"),
        ([("long", date(2026, 1, 1), None), ("short", date(2026, 9, 1), date(2026, 10, 30))], "long"),
    ],
)
def test_the_number_of_the_months_last_day_counts(
    database: Database,
    host: psycopg.Connection,
    numbers: list[tuple[str, date, date | None]],
    expected: str | None,
) -> None:
    for each in numbers:
        order(host, *each)
    customer(host, "B")
    insert(host, "order_number", tenant_id="B", valid_from=date(2026, 1, 1), order_number="of B")

    run_billing(database)

    (invoice,) = invoices(host, "A")
    assert invoice["content"].get("order_number") == expected


def test_without_an_order_number_content_and_inputs_are_as_before(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run_billing(database, store=store)

    (invoice,) = invoices(host, "A")
    assert "order_number" not in invoice["content"] | invoice["inputs"]
    assert "注文番号" not in printed(store)
    assert "注文番号" not in bodies(host)[0]


def test_a_correction_and_a_credit_note_keep_the_invoices_order_number(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    order(host, "PO-1")
    run_billing(database, store=store)
    host.execute("UPDATE batch.order_number SET order_number = 'PO-2'")

    operate(database, "correct", values={"correction": "宛名", "recipient_name": "青葉商事"}, store=store)
    operate(database, "send_letter", reason="確認した")
    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=100"]}, store=store)

    assert "注文番号 PO-1\n" in printed(store, "INV-2026-10-001-r2")
    assert "注文番号 PO-1\n" in printed(store, "CRN-2026-10-001")
    assert all("注文番号: PO-1\n" in body for body in bodies(host))
    assert len(bodies(host)) == 3


def test_an_english_invoice_states_your_order_number(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    billing_rows.billing_profile(host, "A", language="en")
    order(host, "PO-9")

    run_billing(database, store=store)

    assert "Your order number PO-9\n" in printed(store)
    assert "Invoice number: INV-2026-10-001\nYour order number: PO-9\n" in bodies(host)[0]


def test_an_unprintable_order_number_is_refused_before_the_invoice_is_final(
    database: Database, host: psycopg.Connection
) -> None:
    order(host, "PO-🍎")

    result = run_billing(database)

    assert billing_rows.outcomes(host, result)["A"]["error_code"] == "UNPRINTABLE_CHARACTER"
