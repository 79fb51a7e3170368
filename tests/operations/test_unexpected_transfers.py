"""The ordinary unexpected around the bank's transfers: reissues, refunds, mistakes that are taken back, failures of one tenant."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.ledger.overdue_letters import queue_reminders
from include.skillreport.billing.receivables.matching import Doubt
from include.skillreport.billing.service import Billing
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from include.skillreport.operations.import_payments import create_batch
from local_stack.batch_runs import LOCAL, close_run, open_run, process_tenants
from tests.conftest import Database
from tests.worlds import payment_rows
from tests.worlds.bank_files import (
    A1,
    B1,
    C1,
    PAID_ON,
    TODAY,
    confirm,
    know,
    only_transfer,
    open_amounts,
    payments,
    put,
    run,
    transfer,
    waiting,
)
from tests.worlds.billing_rows import (
    close_month,
    customer,
    invoice,
    outcomes,
    run_billing,
)
from tests.worlds.zengin_files import OWN_ACCOUNT

OTHER_ACCOUNT = "0009-001-1-0000042"

pytestmark = [
    pytest.mark.usefixtures("billed"),
    pytest.mark.billed("A", "B", "C", payment_source="operations", own_accounts=[OWN_ACCOUNT, OTHER_ACCOUNT]),
]


def payers(host: psycopg.Connection) -> list[str]:
    """The tenants with a remembered payer."""
    return [row[0] for row in host.execute("SELECT tenant_id FROM batch.payer ORDER BY 1").fetchall()]


def test_a_fee_before_the_reissue_is_recorded(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    payment_rows.operate(database, "reissue", reason="宛名の誤り")
    put(store, transfer(10_340))
    result = run(database, store)
    assert outcomes(host, result)["A"]["error_message"] is None
    assert len(payments(host)) == 1


def test_a_transfer_whose_record_fails_waits_until_its_cause_is_removed(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    # A person has entered the first of two transfers of a day. The bank kept the same fee from both.
    payment_rows.pay(database, "5000")
    fee = {"fee_on": "2026-11-27", "fee_amount": "660"}
    payment_rows.operate(database, "fee_difference", values=fee)
    put(store, transfer(4_680))

    result = run(database, store)

    assert outcomes(host, result)["A"]["error_code"] == "SAME_FEE_ENTERED"
    transfer_id = only_transfer(host)
    assert waiting(host) == {transfer_id: "not_recorded"}
    with database.connect("batch_platform") as platform:
        digest = create_batch(LOCAL).digest(Work(Run(result.execution_id, TODAY, TODAY), platform))
    assert digest.lines[1:] == [f"{Doubt.NOT_RECORDED.label}: 1 件 → {Doubt.NOT_RECORDED.advice}"]

    # The payer has sent what was taken for the first fee.
    payment_rows.operate(
        database, "take_back_adjustment", values={"adjustment": "fee"}, reason="差額が届いた"
    )
    payment_rows.pay(database, "660", reference="F-2")
    assert run(database, store).status == "completed"
    assert waiting(host) == {}
    assert ("A", A1, 4_680, "bank", transfer_id) in payments(host)
    assert open_amounts(host, [A1]) == {A1: 0}


def test_a_fee_is_known_after_the_reversal_of_another_transfer(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    payment_rows.pay(database, "5000")
    fee = {"fee_on": "2026-11-27", "fee_amount": "440"}
    payment_rows.operate(database, "fee_difference", values=fee)
    put(store, transfer(4_900))
    run(database, store)
    assert open_amounts(host, [A1]) == {A1: 0}
    (transfer_id,) = (row[4] for row in payments(host) if row[4])
    reference = {"paid_reference": transfer_id}
    payment_rows.operate(database, "reverse_payment", values=reference, reason="B の入金だった")

    again = payment_rows.operate(database, "fee_difference", values=fee)

    assert outcomes(host, again)["A"]["error_code"] == "SAME_FEE_ENTERED"
    assert open_amounts(host, [A1]) == {A1: 5_560}


def test_a_prepayment_with_a_fee_is_confirmed(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(10_340, booked_on=date(2026, 10, 20)))
    run(database, store)
    result = confirm(database, store, f"{only_transfer(host)}={A1},手数料")
    assert outcomes(host, result)["A"]["error_message"] is None


def test_a_cancellation_leaves_the_fee_of_another_transfer(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(5_000))
    run(database, store)
    confirm(database, store, f"{only_transfer(host)}={A1}")
    put(store, transfer(5_340, reference="2"), name="2.txt")
    run(database, store)
    assert open_amounts(host, [A1]) == {A1: 0}
    put(store, transfer(5_000, is_cancellation=True), name="3.txt")
    run(database, store)
    assert open_amounts(host, [A1]) == {A1: Decimal(5_000)}


@pytest.mark.parametrize(
    "other",
    [
        {"account": OTHER_ACCOUNT},
        {"payer_code": "2"},
        {"payer": "ｶ)ﾐﾄﾞﾘ"},
        {"amount": 5_000},
        {"booked_on": date(2026, 12, 1)},
    ],
    ids=["another account", "another code", "another name", "another amount", "after it"],
)
def test_a_cancellation_leaves_a_newer_transfer_that_it_cannot_mean(
    database: Database, host: psycopg.Connection, store: ObjectStore, other: dict[str, Any]
) -> None:
    known: dict[str, Any] = {"amount": 11_000, "payer_code": "1", "reference": ""}
    know(host, "A", code="1")
    put(store, transfer(**known))
    run(database, store)
    put(store, transfer(**(known | {"booked_on": date(2026, 11, 28)} | other)), name="2.txt")
    run(database, store)
    confirm(database, store, f"{only_transfer(host)}={B1}")
    assert [row[:2] for row in payments(host)] == [("A", A1), ("B", B1)]

    put(store, transfer(**known, booked_on=date(2026, 11, 30), is_cancellation=True), name="3.txt")
    run(database, store)

    assert [row[:2] for row in payments(host)] == [("B", B1)]
    assert waiting(host) == {}


def test_each_of_two_equal_cancellations_hits_another_transfer(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, *[transfer(11_000, reference="")] * 2)
    run(database, store)
    confirm(database, store, f"{only_transfer(host)}={B1}")
    cancellation = transfer(11_000, reference="", is_cancellation=True)
    left = [len(payments(host))]
    for count in (1, 2):
        # The second file has the first cancellation too.
        put(store, *[cancellation] * count, name=f"cancelled-{count}.txt")
        run(database, store)
        left.append(len(payments(host)))
    assert left == [2, 1, 0]
    assert waiting(host) == {}


def test_a_fee_that_a_person_took_back_is_not_taken_back_again(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(10_340))
    run(database, store)
    assert invoice(host, "A")["fee_total"] == 660
    payment_rows.operate(database, "take_back_adjustment", values={"adjustment": "fee"}, reason="誤り")
    put(store, transfer(10_340, is_cancellation=True), name="2.txt")

    assert run(database, store).status == "completed"

    assert payments(host) == []
    unpaid = invoice(host, "A")
    assert (unpaid["open_amount"], unpaid["fee_total"]) == (11_000, 0)


def test_two_payments_by_hand_are_two_transfers(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    payment_rows.pay(database, "5500", reference="F-1")
    payment_rows.pay(database, "5500", reference="F-2", is_other=True)
    put(store, transfer(5_500), transfer(5_500, reference="2"))
    run(database, store)
    assert set(waiting(host).values()) == {"already_entered"}
    run(database, store, "same_payment", values={"same_transfers": list(waiting(host))}, triggered_by="keiri")
    assert waiting(host) == {}


def test_a_payer_of_a_mistaken_confirmation_is_not_sure(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(11_000))
    run(database, store)
    transfer_id = only_transfer(host)
    confirm(database, store, f"{transfer_id}={A1}")
    payment_rows.operate(
        database, "reverse_payment", values={"paid_reference": transfer_id}, reason="B の入金だった"
    )
    put(store, transfer(11_000, reference="2"), name="2.txt")
    run(database, store)
    assert payments(host) == []


def mistake(database: Database, host: psycopg.Connection, store: ObjectStore, number: str) -> None:
    """A transfer that is confirmed for an invoice of B, and taken back."""
    put(store, transfer(11_000, reference=number), name=f"{number}.txt")
    run(database, store)
    (transfer_id,) = (each for each, doubt in waiting(host).items() if doubt != "taken_back")
    confirm(database, store, f"{transfer_id}={B1}")
    values = {"paid_reference": transfer_id}
    payment_rows.operate(database, "reverse_payment", "B", values=values, reason="A の入金だった")


@pytest.mark.parametrize("is_first_mistaken", [False, True])
def test_a_mistake_at_one_of_two_payers_makes_none_sure(
    database: Database, host: psycopg.Connection, store: ObjectStore, is_first_mistaken: bool
) -> None:
    if is_first_mistaken:
        mistake(database, host, store, "1")
        put(store, transfer(5_500, reference="2"), name="2.txt")
        run(database, store)
        (transfer_id,) = (each for each, doubt in waiting(host).items() if doubt != "taken_back")
        confirm(database, store, f"{transfer_id}={B1}")
    else:
        know(host, "B")
    know(host, "A")
    mistake(database, host, store, "3")
    before = len(payments(host))

    put(store, transfer(11_000, booked_on=PAID_ON + timedelta(1)), name="4.txt")
    run(database, store)

    assert "several_tenants" in waiting(host).values()
    assert len(payments(host)) == before


def test_a_reversal_of_a_transfer_takes_its_fee_back(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(10_340))
    run(database, store)
    transfer_id = str(payments(host)[0][4])
    payment_rows.operate(
        database, "reverse_payment", values={"paid_reference": transfer_id}, reason="B の入金だった"
    )
    confirm(database, store, f"{transfer_id}={B1},手数料")
    assert open_amounts(host, [A1, B1]) == {A1: 11_000, B1: 0}


def test_a_payer_only_once_stays_unknown_after_another_confirmation(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(22_000))
    run(database, store)
    transfer_id = only_transfer(host)
    confirm(database, store, f"{transfer_id}={A1},{B1}", values={"only_once": True})
    payment_rows.operate(
        database, "reverse_payment", "B", values={"paid_reference": transfer_id}, reason="C の入金だった"
    )
    confirm(database, store, f"{transfer_id}={C1}")
    assert payers(host) == ["C"]


def test_a_payer_of_two_tenants_is_not_remembered_after_a_failure(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(22_000))
    run(database, store)
    batch = create_batch(LOCAL)
    with database.working() as (platform, connection):
        opened, tenants = open_run(
            platform,
            IMPORT_PAYMENTS,
            batch,
            TODAY,
            parameters={"operation": "confirm", "transfers": [f"{only_transfer(host)}={A1},{B1}"]},
        )
        payment_rows.operate(database, "void", "B", reason="誤り")
        process_tenants(connection, platform, batch, opened, tenants, store)
        closed = close_run(platform, IMPORT_PAYMENTS, batch, opened, store=store)
    assert closed.result.status == "partial"
    assert payers(host) == []


def test_the_rest_of_a_transfer_can_be_set_aside(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(22_000))
    run(database, store)
    transfer_id = only_transfer(host)
    confirm(database, store, f"{transfer_id}={A1},{B1}")
    payment_rows.operate(
        database, "reverse_payment", "B", values={"paid_reference": transfer_id}, reason="役員の私費だった"
    )
    values = {"transfer_ids": [transfer_id], "reason": "預り金"}
    assert run(database, store, "set_aside", values=values).status == "completed"


def test_no_invoice_of_an_amount_that_waits_is_reminded(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    more = ["D", "E", "F", "G"]
    for tenant_id in more:
        customer(host, tenant_id)
    run_billing(database)
    put(store, *(transfer(11_000, f"ｼﾗﾅｲ{number}") for number in range(7)))
    run(database, store)
    tenants = ["A", "B", "C", *more]
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, tenants):
        reminders = queue_reminders(connection, Billing().terms, date(2026, 12, 7), "reminding run")
    reminded = [each.tenant_id for each in reminders if "の入金かもしれません" not in str(each.problem)]
    assert reminded == []


def test_a_refund_does_not_stop_the_other_payments_of_its_tenant(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(12_000))
    run(database, store)
    confirm(database, store, f"{only_transfer(host)}={A1}")
    values = {
        "paid_on": "2026-12-01",
        "paid_amount": "1000",
        "paid_method": "銀行振込",
        "paid_reference": "R-1",
    }
    assert (
        payment_rows.operate(database, "record_refund", values=values, reason="過入金").status == "completed"
    )
    november = date(2026, 11, 1)
    close_month(host, "A", november, last=30)
    run_billing(database, november, codes=["A"])
    paid = transfer(11_000, booked_on=date(2026, 12, 5), reference="9")
    put(store, transfer(12_000, is_cancellation=True), paid, name="2.txt")
    result = run(database, store)
    assert "返金があります" in outcomes(host, result)["A"]["error_message"]
    assert open_amounts(host, ["INV-2026-11-001"]) == {"INV-2026-11-001": 0}
