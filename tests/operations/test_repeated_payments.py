"""The same money is recorded once, whichever door it comes through, unless a person says that it is other money."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.payments import record_payments
from include.skillreport.billing.receivables.payment import Payment
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds.bank_files import TODAY, confirm, payments, put, run, transfer, waiting
from tests.worlds.billing_rows import close_month, invoices, outcomes, reasons, run_billing
from tests.worlds.payment_rows import operate, pay
from tests.worlds.zengin_files import OWN_ACCOUNT

A1, B1 = "INV-2026-10-001", "INV-2026-10-002"
NOVEMBER = date(2026, 11, 1)
HEADER = "請求書番号,入金日,金額,通貨,方法,参照番号"


pytestmark = [
    pytest.mark.usefixtures("billed"),
    pytest.mark.billed("A", "B", payment_source="operations", own_accounts=[OWN_ACCOUNT]),
]


def bill_november(database: Database, host: psycopg.Connection) -> None:
    """A's November, ¥11,000, with the number 001."""
    close_month(host, "A", NOVEMBER)
    run_billing(database, NOVEMBER)


def import_file(database: Database, store: ObjectStore, *rows: str, **values: Any) -> Any:
    store.write("payments/p.csv", "\n".join([HEADER, *rows, ""]).encode())
    values = {"payment_file": "p.csv", **values}
    return operate(database, "import_payments", values=values, store=store, codes=())


def paid(host: psycopg.Connection) -> dict[str, Decimal]:
    return {each["tenant_id"]: each["paid_total"] for each in invoices(host)}


def test_a_payment_of_the_same_day_and_amount_needs_a_word(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database, reference="F-1")

    refused = pay(database, reference="F-2")

    assert reasons(refused)["A"].startswith(
        "記録済みの入金と同じ額です。請求書 INV-2026-10-001 の 'F-2'（11,000 JPY）は、"
        "2026-11-27 の請求書 INV-2026-10-001 の入金 'F-1'"
    )
    assert paid(host)["A"] == 11_000
    for values in ({"paid_on": "2026-11-28"}, {"amount": "10999"}):
        assert pay(database, reference=f"F-{values}", **values).status == "completed"
    assert pay(database, reference="F-2", is_other=True).status == "completed"
    assert paid(host) == {"A": 11_000 * 3 + 10_999, "B": 0}


def test_a_reversed_payment_and_that_of_another_tenant_are_no_repeat(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database, reference="F-1")
    operate(database, "reverse_payment", reason="誤り", values={"paid_reference": "F-1"})

    pay(database, reference="F-2")
    pay(database, reference="F-3", codes=["B"])

    assert paid(host) == {"A": 11_000, "B": 11_000}


def test_a_file_lists_rows_that_the_bank_has_and_records_others(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(11_000), transfer(11_000, "ｶ)ﾍﾞﾂ", reference="2"))
    run(database, store)
    for transfer_id, number in zip(sorted(waiting(host)), (A1, B1), strict=True):
        confirm(database, store, f"{transfer_id}={number}")
    rows = [
        f"{A1},2026-11-27,11000,JPY,銀行振込,F-1",
        f"{A1},2026-11-27,300,JPY,銀行振込,F-2",
        f"{B1},2026-11-27,11000,JPY,銀行振込,F-3",
    ]

    result = import_file(database, store, *rows)

    assert {
        tenant: reason.count("は、2026-11-27 の請求書") for tenant, reason in reasons(result).items()
    } == {
        "A": 1,
        "B": 1,
    }
    assert paid(host) == {"A": 11_300, "B": 11_000}
    assert outcomes(host, result)["A"]["details"] == {"paid": [A1], "payments": 1}

    assert import_file(database, store, *rows, is_other=True).status == "completed"
    assert paid(host) == {"A": 22_300, "B": 22_000}


@pytest.mark.parametrize("entered", [[(A1, 11_000)], [(A1, 4_000), (A1, 7_000)]])
def test_a_transfer_that_was_entered_since_the_matching_is_not_confirmed(
    database: Database, host: psycopg.Connection, store: ObjectStore, entered: list[tuple[str, int]]
) -> None:
    put(store, transfer(11_000))
    run(database, store)
    (transfer_id,) = waiting(host)
    assert waiting(host) == {transfer_id: "unknown_payer"}
    for place, (_, amount) in enumerate(entered):
        # Somebody has written the day of the bank's notice.
        pay(database, str(amount), reference=f"F-{place}", paid_on="2026-11-30")

    refused = confirm(database, store, f"{transfer_id}={A1}")

    assert "記録済みの入金と同じ額です" in reasons(refused)["A"]
    assert paid(host) == {"A": 11_000, "B": 0}
    assert waiting(host) == {transfer_id: "already_entered"}

    # Now the person has seen it.
    assert confirm(database, store, f"{transfer_id}={A1}").status == "completed"
    assert paid(host) == {"A": 22_000, "B": 0}


def test_an_equal_transfer_of_another_file_waits_although_its_payer_is_known(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(11_000, reference="1"))
    run(database, store)
    (first,) = waiting(host)
    confirm(database, store, f"{first}={A1}")
    bill_november(database, host)

    put(store, transfer(11_000, reference="2"), name="second.txt")
    run(database, store)

    (second,) = waiting(host)
    assert waiting(host) == {second: "repeated"}
    assert [amount for _, _, amount, _, _ in payments(host)] == [11_000]
    confirm(database, store, f"{second}=INV-2026-11-001")
    assert waiting(host) == {}


def test_two_equal_transfers_of_one_file_are_two(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(11_000, reference="1"), transfer(11_000, reference="2"))

    run(database, store)

    assert sorted(waiting(host).values()) == ["unknown_payer", "unknown_payer"]


def test_one_of_two_who_enter_the_same_money_at_once_is_refused(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    bill_november(database, host)
    refusals: list[str] = []

    def enter(working: psycopg.Connection, number: str, reference: str) -> None:
        record_payments(
            working,
            [Payment(number, date(2026, 12, 5), Decimal(11_000), "JPY", "銀行振込", reference)],
            source="operation",
            today=TODAY,
            entered_by=reference,
            execution_id=reference,
        )

    def second() -> None:
        with (
            database.connect("batch_tenant") as other,
            suppress(BillingError),
            tenant_transaction(other, ["A"]),
        ):
            try:
                enter(other, "INV-2026-11-001", "second")
            except BillingError as error:
                refusals.append(error.code)
                raise

    thread = threading.Thread(target=second)
    with tenant_transaction(connection, ["A"]):
        enter(connection, A1, "first")
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    assert refusals == ["SAME_PAYMENT"]


def test_a_part_of_an_overpayment_moves_and_the_rest_stays(
    database: Database, host: psycopg.Connection
) -> None:
    bill_november(database, host)
    pay(database, "20000")
    values = {"paid_reference": "F-1", "paid_to": "INV-2026-11-001"}

    result = operate(
        database, "move_payment", reason="11 月分を含む", values={**values, "moved_amount": "3,000"}
    )

    assert outcomes(host, result)["A"]["notes"] == [
        "請求書 INV-2026-10-001 の入金のうち 3,000 JPY を請求書 INV-2026-11-001 へ付け替えました",
        "請求書 INV-2026-10-001 は 6,000 JPY の過入金です。返金を記録するか、別の請求書へ付け替えてください",
        "請求書 INV-2026-11-001 は一部入金です。残り 8,000 JPY",
    ]
    live = host.execute(
        "SELECT number, amount, reference FROM batch.payment JOIN batch.invoice USING (invoice_id) "
        "WHERE reversed_at IS null ORDER BY number"
    ).fetchall()
    assert live == [(A1, 17_000, "F-1-2"), ("INV-2026-11-001", 3_000, "F-1")]
    too_much = operate(
        database,
        "move_payment",
        reason="x",
        values={**values, "paid_reference": "F-1-2", "moved_amount": "17001"},
    )
    assert "の入金は 17,000 JPY です" in reasons(too_much)["A"]


def test_moving_the_payment_of_a_cancelled_transfer_says_so(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    bill_november(database, host)
    put(store, transfer(11_000))
    run(database, store)
    (transfer_id,) = waiting(host)
    confirm(database, store, f"{transfer_id}={A1}")
    host.execute("UPDATE batch.bank_transfer SET cancelled_by = transfer_id")

    result = operate(
        database,
        "move_payment",
        reason="x",
        values={"paid_reference": transfer_id, "paid_to": "INV-2026-11-001"},
    )

    assert f"振込 {transfer_id} は、ほかの入金に使われたか、取り消されたか" in reasons(result)["A"]
    assert payments(host) == [("A", A1, 11_000, "bank", transfer_id)]


@pytest.mark.parametrize(
    "change",
    [
        "reversed_at = now()",
        "reversed_at = null, reversed_by = null, reversal_reason = null, reversal_execution_id = null",
        "transfer_id = (SELECT max(transfer_id) FROM batch.bank_transfer)",
    ],
)
def test_the_database_takes_a_transfers_payment_back_once(
    database: Database, host: psycopg.Connection, store: ObjectStore, change: str
) -> None:
    put(store, transfer(11_000, reference="1"), transfer(11_000, reference="2"))
    run(database, store)
    transfer_id = min(waiting(host))
    confirm(database, store, f"{transfer_id}={A1}")
    if "reversed_at" in change:
        operate(database, "reverse_payment", reason="誤り", values={"paid_reference": transfer_id})
    before = host.execute("TABLE batch.bank_transfer").fetchall()

    with pytest.raises(psycopg.errors.CheckViolation, match="取り消し済みか、別の振込"):
        host.execute(f"UPDATE batch.payment SET {change}")

    assert host.execute("TABLE batch.bank_transfer").fetchall() == before
