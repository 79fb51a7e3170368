"""Payments of credited and overpaid invoices are moved to another invoice or paid back, each once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    close_month,
    customer,
    files,
    host_billing,
    invoices,
    open_operation,
    outcomes,
    process,
    reasons,
    run_billing,
)

pytestmark = pytest.mark.usefixtures("billed")

FIRST, SECOND = "INV-2026-10-001", "INV-2026-10-002"
NOVEMBER = date(2026, 11, 1)
PAID = {"paid_on": "2026-11-27", "paid_amount": "11000", "paid_method": "銀行振込", "paid_reference": "F-1"}
REFUND = {"paid_on": "2026-12-08", "paid_amount": "11000", "paid_method": "振込", "paid_reference": "R-1"}


def operate(database: Database, operation: str, **options: Any) -> Any:
    """An operation on A on 10 December."""
    values = options.pop("values", {})
    return billing_rows.operate(
        database,
        operation,
        reason="訂正" if operation not in ("record_payment", "approve") else "",
        values=values,
        run_at=datetime(2026, 12, 10, 10, tzinfo=JAPAN),
        **options,
    )


def replace_first(database: Database) -> None:
    """A's October is credited in full, and billed again on 10 December with the number 002."""
    operate(database, "credit")
    operate(database, "bill_again")


def paid(host: psycopg.Connection) -> dict[str, Decimal]:
    """The paid totals of October's and November's invoices."""
    rows = [*invoices(host, "A"), *invoices(host, "A", NOVEMBER)]
    return {row["number"]: row["paid_total"] for row in rows if row["kind"] == "invoice"}


def shown(host: psycopg.Connection, number: str) -> tuple[Any, ...]:
    """The application's row of the invoice."""
    (row,) = [row for row in invoices(host, "A") if row["number"] == number]
    billing = host_billing(host, row["invoice_id"])
    return billing["billing_status"], billing["paid_date"]


def notes(host: psycopg.Connection, result: Any) -> list[str]:
    return list(outcomes(host, result)["A"]["notes"])


def move(reference: str = "F-1", target: str = SECOND, **values: str) -> dict[str, str]:
    return {"paid_reference": reference, "paid_to": target, **values}


# The day of a payment ------------------------------------------------------------------------------------------------


def test_a_replacement_can_be_paid_from_the_first_issue_date(
    database: Database, host: psycopg.Connection
) -> None:
    replace_first(database)

    assert operate(database, "record_payment", values=PAID).status == "completed"
    assert paid(host) == {FIRST: 0, SECOND: 11000}

    too_early = PAID | {"paid_on": "2026-10-31", "paid_reference": "F-2"}
    assert "発行日 2026-11-01 から" in reasons(operate(database, "record_payment", values=too_early))["A"]


def test_the_chain_has_all_invoices_that_were_replaced(database: Database, host: psycopg.Connection) -> None:
    replace_first(database)
    operate(database, "reissue", values={"accept_change": True})

    assert operate(database, "record_payment", values=PAID).status == "completed"
    assert paid(host)["INV-2026-10-003"] == 11000


# Moving --------------------------------------------------------------------------------------------------------------


def test_a_payment_of_a_credited_invoice_moves_to_its_replacement(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    operate(database, "record_payment", values=PAID)
    replace_first(database)

    result = operate(database, "move_payment", values=move(), store=store)

    assert notes(host, result) == [f"請求書 {FIRST} の入金を請求書 {SECOND} へ付け替えました"]
    assert paid(host) == {FIRST: 0, SECOND: 11000}
    assert shown(host, FIRST) == ("INVOICED", None)
    assert shown(host, SECOND) == ("PAID", datetime(2026, 11, 27))
    rows = host.execute(
        "SELECT paid_on, reference, reversed_at IS NULL, reversal_reason, reason FROM batch.payment ORDER BY entered_at"
    ).fetchall()
    day = date(2026, 11, 27)
    assert rows == [(day, "F-1", False, "訂正", None), (day, "F-1", True, None, "訂正")]
    assert host.execute("SELECT * FROM batch.receivable").fetchall() == []
    assert files(store)["accounting/receivables.csv"].count(b"\r\n") == 1


def test_a_payment_is_moved_to_a_later_month_with_its_day(
    database: Database, host: psycopg.Connection
) -> None:
    close_month(host, "A", NOVEMBER)
    run_billing(database, NOVEMBER)
    operate(database, "record_payment", values=PAID)
    operate(database, "record_payment", values=PAID | {"paid_reference": "F-2", "is_other": True})

    operate(database, "move_payment", values=move("F-2", "INV-2026-11-001"))

    assert paid(host) == {FIRST: 11000, "INV-2026-11-001": 11000}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (move("X"), "参照番号 'X' の入金はありません"),
        (move(target=FIRST), "すでに請求書 INV-2026-10-001 にあります"),
        (move(target="INV-2026-10-009"), "請求書 INV-2026-10-009 は存在しません"),
        (move(target="INV-2026-10-003"), "請求書 INV-2026-10-003 は存在しません"),
        (move(target="CRN-2026-10-001"), "返還の番号のため、入金を記録できません"),
    ],
)
def test_a_move_that_is_impossible_changes_nothing(
    database: Database, host: psycopg.Connection, values: dict[str, str], message: str
) -> None:
    operate(database, "record_payment", values=PAID)
    replace_first(database)
    customer(host, "B")
    run_billing(database)  # B's number is 003.
    before = host.execute("TABLE batch.payment").fetchall()

    assert message in reasons(operate(database, "move_payment", values=values))["A"]
    assert host.execute("TABLE batch.payment").fetchall() == before


def test_a_reference_that_the_other_invoice_has_is_not_moved(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "record_payment", values=PAID)
    replace_first(database)
    operate(database, "record_payment", values=PAID)

    refusal = reasons(operate(database, "move_payment", values=move(paid_invoice=FIRST)))["A"]

    assert f"請求書 {SECOND} には参照番号 'F-1' がすでにある" in refusal
    assert paid(host) == {FIRST: 11000, SECOND: 11000}


# Refunds -------------------------------------------------------------------------------------------------------------


def test_a_payment_of_a_credited_invoice_is_refunded_once(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "record_payment", values=PAID)
    operate(database, "credit")
    run = open_operation(database, "record_refund", reason="解約", values=REFUND)

    for _ in range(2):
        report = process(database, replace(run, run_date=date(2026, 12, 10)))
        assert report.failures == []

    assert paid(host) == {FIRST: 0}
    assert host.execute("SELECT * FROM batch.receivable").fetchall() == []
    (refund,) = host.execute("SELECT amount, reason FROM batch.payment WHERE kind = 'refund'").fetchall()
    assert refund == (11000, "解約")
    refusal = reasons(operate(database, "record_refund", values=REFUND | {"paid_reference": "R-2"}))["A"]
    assert "2026-10 の請求書に過入金はありません" in refusal


def test_only_what_is_overpaid_is_paid_back(database: Database, host: psycopg.Connection) -> None:
    operate(database, "record_payment", values=PAID | {"paid_amount": "12000"})

    refusal = reasons(operate(database, "record_refund", values=REFUND | {"paid_amount": "1001"}))["A"]
    assert f"請求書 {FIRST} の過入金は 1,000 JPY です" in refusal

    assert operate(database, "record_refund", values=REFUND | {"paid_amount": "1000"}).status == "completed"
    assert paid(host) == {FIRST: 11000}
    assert shown(host, FIRST) == ("PAID", datetime(2026, 11, 27))


def test_a_mistaken_refund_is_reversed_before_its_payment(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "record_payment", values=PAID)
    operate(database, "credit")
    operate(database, "record_refund", values=REFUND)

    refusal = reasons(operate(database, "reverse_payment", values={"paid_reference": "F-1"}))["A"]
    assert "先に返金を取り消してください" in refusal

    result = operate(database, "reverse_payment", values={"paid_reference": "R-1"})
    assert notes(host, result) == [f"請求書 {FIRST} の返金を取り消しました。過入金は 11,000 JPY です"]
    assert operate(database, "reverse_payment", values={"paid_reference": "F-1"}).status == "completed"
    assert paid(host) == {FIRST: 0}


@pytest.mark.parametrize(("operation", "values"), [("move_payment", move()), ("record_refund", REFUND)])
def test_a_payment_belongs_to_one_tenant(
    database: Database, host: psycopg.Connection, operation: str, values: dict[str, str]
) -> None:
    customer(host, "B")
    with pytest.raises(ParameterError, match="1 件だけ"):
        operate(database, operation, values=values, codes=["A", "B"])


# One reference on several invoices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["reverse_payment", "move_payment"])
def test_of_one_reference_on_several_invoices_the_number_is_asked_for(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    operate(database, "record_payment", values=PAID)
    replace_first(database)
    operate(database, "record_payment", values=PAID)
    values = {"paid_reference": "F-1"} | ({"paid_to": SECOND} if operation == "move_payment" else {})

    refusal = reasons(operate(database, operation, values=values))["A"]

    assert f"請求書 {FIRST}、{SECOND} にあります" in refusal
    assert paid(host) == {FIRST: 11000, SECOND: 11000}


def test_the_invoice_number_selects_the_payment_to_reverse(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "record_payment", values=PAID)
    replace_first(database)
    operate(database, "record_payment", values=PAID)

    operate(database, "reverse_payment", values={"paid_reference": "F-1", "paid_invoice": SECOND})

    assert paid(host) == {FIRST: 11000, SECOND: 0}
