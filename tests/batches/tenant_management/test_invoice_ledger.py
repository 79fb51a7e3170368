"""Invoices in the database: numbers without a gap after a kill, one live invoice, and finalised invoices that never change."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import date
from decimal import Decimal
from itertools import count
from multiprocessing.context import ForkProcess
from multiprocessing.synchronize import Event
from typing import Any

import psycopg
import pytest
from psycopg import errors

from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.batches.tenant_billing.batch import TenantBillingBatch
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import credit_invoice, void_invoice
from include.skillreport.billing.ledger.entries import EntryAuthor
from include.skillreport.billing.ledger.finalization import FinalDocument, finalize
from include.skillreport.billing.ledger.settlement import (
    Instructions,
    Settlement,
    TenantSettlement,
    price_tenants,
    settle_tenants,
)
from include.skillreport.billing.ledger.stored_invoice import find_invoice, invoice_of_month
from include.skillreport.billing.periods import Period
from include.skillreport.billing.service import Billing
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.batch import Run, UnitFailure, UnitResult, Work
from include.skillreport.core.execution.run_log import RunResult
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from tests.conftest import Database, wait_for_blocked_statement
from tests.noted_statements import note_statements
from tests.waiting import LIMIT_SECONDS, wait_until
from tests.worlds import billing_rows, host_rows
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    OCTOBER,
    customer,
    everything_written,
    host_billing,
    invoice,
    invoices,
    numbers,
    run_billing,
)

TERMS = load_terms()
BY_TEST = EntryAuthor("test", "test", FIRST_OF_NOVEMBER)

_runs = count(1)


def settle(
    connection: psycopg.Connection, *tenant_ids: str, period: Period = OCTOBER, **instructions: Any
) -> list[TenantSettlement]:
    """Settle these tenants' month in one transaction."""
    with tenant_transaction(connection, tenant_ids):
        return settle_here(connection, period, **instructions)


def settle_each(connection: psycopg.Connection, *tenant_ids: str, period: Period = OCTOBER) -> None:
    """Settle these tenants' month one after the other, so that their numbers are in this order."""
    for tenant_id in tenant_ids:
        settle(connection, tenant_id, period=period)


def settle_here(
    connection: psycopg.Connection, period: Period = OCTOBER, **instructions: Any
) -> list[TenantSettlement]:
    """Settle the tenants of the open transaction, as a separate run unless there is an actor."""
    given: dict[str, Any] = {"issued_on": period.next_day, "actor": f"run {next(_runs)}"} | instructions
    return settle_tenants(connection, period, TERMS, Instructions(**given))


def credit(connection: psycopg.Connection, tenant_id: str, number: str, reason: str = "訂正") -> Invoice:
    """Credit an invoice in a separate transaction."""
    with tenant_transaction(connection, [tenant_id]):
        return credit_invoice(
            connection,
            TERMS,
            find_invoice(connection, number),
            reason,
            BY_TEST,
        )


def void(connection: psycopg.Connection, tenant_id: str, number: str, reason: str = "訂正") -> None:
    """Void an invoice in a separate transaction."""
    with tenant_transaction(connection, [tenant_id]):
        void_invoice(connection, TERMS, find_invoice(connection, number), reason, actor="test")


def expected_numbers(count: int, series: str = "INV") -> list[str]:
    """The first numbers of October."""
    return [f"{series}-2026-10-{number:03}" for number in range(1, count + 1)]


# Many at once, and some of them killed -----------------------------------------------------------------------------------

TENANTS, SHARD_SIZE, LANES = 200, 5, 5


class StuckBatch(TenantBillingBatch):
    """Finalises its tenants, reports this, and never ends its transaction once it has processed one of them."""

    def __init__(self, tenant_id: str, finalized: Event) -> None:
        super().__init__(Billing())
        self._tenant_id = tenant_id
        self._finalized = finalized

    def process(self, work: Work) -> list[UnitResult | UnitFailure]:
        results = super().process(work)
        if self._tenant_id in work.tenant_ids:
            self._finalized.set()
            signal.pause()
        return results


def bill_shards(
    database: Database, run: Run, shards: Sequence[list[str]], stuck_at: str | None, finalized: Event
) -> None:
    """One process of a run: it processes its shards, one after the other. Runs in a separate process."""
    batch = create_batch(LOCAL) if stuck_at is None else StuckBatch(stuck_at, finalized)
    with database.working() as (platform, connection):
        for tenant_ids in shards:
            process_tenants(connection, platform, batch, run, tenant_ids)


def is_killed(process: ForkProcess, finalized: Event) -> bool:
    """Kill the process once it has finalised. It holds the counter, and the others wait until the server notices its death."""
    if process.is_alive() and finalized.is_set():
        process.kill()
        process.join()
    return not process.is_alive()


@pytest.mark.slow("runs sessions against each other")
def test_numbers_have_neither_gap_nor_repeat_when_processes_compete_and_are_killed(
    database: Database, host: psycopg.Connection
) -> None:
    ids = [f"T{number:03}" for number in range(TENANTS)]
    for tenant_id in ids:
        host_rows.tenant(host, tenant_id, subscription_plan="BASIC", contact_email="billing@example.jp")
    billing_rows.close_month(host, ids[0])
    host.execute(
        """
        INSERT INTO batch.usage_day
        SELECT (jsonb_populate_record(day, jsonb_build_object('tenant_id', tenant.tenant_id))).*
        FROM batch.usage_day AS day
        INNER JOIN batch.all_tenant AS tenant ON tenant.tenant_id <> day.tenant_id
        """
    )
    with database.connect("batch_platform") as platform:
        run, _ = open_run(platform, TENANT_BILLING, create_batch(LOCAL), MONTH)
    shards = [ids[start : start + SHARD_SIZE] for start in range(0, TENANTS, SHARD_SIZE)]
    lanes = [shards[lane::LANES] for lane in range(LANES)]
    # Two processes compete for each of the first three lanes, from both ends; of the last two, each has one process that dies in
    # its third shard. One of those that compete dies as well.
    plans: list[tuple[list[list[str]], str | None]] = [
        *((lane, None) for lane in lanes[:3]),
        *((lane[::-1], None) for lane in lanes[:2]),
        *((lane[::-1], lane[4][0]) for lane in lanes[2:3]),
        *((lane, lane[2][3]) for lane in lanes[3:]),
    ]
    # They begin at once: none has anything to import.
    fork = multiprocessing.get_context("fork")
    processes: list[tuple[ForkProcess, Event]] = []
    with ExitStack() as cleanup:
        for lane, stuck_at in plans:
            finalized = fork.Event()
            process = fork.Process(target=bill_shards, args=(database, run, lane, stuck_at, finalized))
            process.start()
            cleanup.callback(process.kill)
            processes.append((process, finalized))
        stuck = processes[5:]
        wait_until(
            lambda: sum(is_killed(process, finalized) for process, finalized in stuck) == len(stuck),
            "each process that is to be killed comes to its shard",
        )
        for process, _ in processes:
            process.join(LIMIT_SECONDS)
    assert [process.exitcode for process, _ in processes] == [0] * 5 + [-9] * 3

    left = numbers(host)
    assert left == expected_numbers(len(left))
    # Both lanes with a single process were left after two of their eight shards.
    assert len(left) == TENANTS - 2 * 6 * SHARD_SIZE
    assert {row["status"] for row in invoices(host)} == {"finalized"}

    assert run_billing(database, shards=40).status == "completed"

    assert numbers(host) == expected_numbers(TENANTS)
    assert [row["tenant_id"] for row in sorted(invoices(host), key=lambda row: str(row["tenant_id"]))] == ids
    assert host.execute("SELECT last_number FROM batch.invoice_counter").fetchall() == [(TENANTS,)]
    for table in ("HIS_TenantBilling", "HIS_NotificationLog"):
        count = host.execute(f'SELECT count(*), count(DISTINCT tenant_id) FROM "{table}"').fetchone()
        assert count == (TENANTS, TENANTS), table


def test_two_runs_at_once_end_with_one_set_of_invoices(database: Database, host: psycopg.Connection) -> None:
    ids = [customer(host, f"T{number:02}", contact_email="billing@example.jp") for number in range(30)]
    results: list[RunResult] = []
    start = threading.Barrier(2)

    def work(shards: int) -> None:
        start.wait()
        results.append(run_billing(database, shards=shards))

    threads = [threading.Thread(target=work, args=(shards,)) for shards in (6, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.status for result in results] == ["completed", "completed"]
    assert numbers(host) == expected_numbers(30)
    assert sorted(row["tenant_id"] for row in invoices(host)) == ids
    settlements = [
        details["settlement"]
        for (details,) in host.execute("SELECT details FROM batch.tenant_outcome").fetchall()
    ]
    assert settlements.count("finalized") == settlements.count("already finalized") == 30
    assert host.execute('SELECT count(*) FROM "HIS_NotificationLog"').fetchone() == (30,)


def settle_elsewhere(
    database: Database, tenant_id: str, **instructions: Any
) -> tuple[threading.Thread, list[TenantSettlement]]:
    """Settle the tenant on another connection, as far as it comes while this one's transaction is open; its results follow."""
    settled: list[TenantSettlement] = []

    def work() -> None:
        with database.connect("batch_tenant") as connection:
            settled.extend(settle(connection, tenant_id, **instructions))

    thread = threading.Thread(target=work)
    thread.start()
    wait_for_blocked_statement(database)
    return thread, settled


def test_the_second_run_finds_the_month_finalised(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    with tenant_transaction(connection, ["A"]):
        settle_here(connection)
        thread, settled = settle_elsewhere(database, "A")
    thread.join()

    (second,) = settled
    assert (second.settlement, second.invoice) == (Settlement.ALREADY_FINALIZED, None)
    assert second.notes == ("同時に動いた別の実行が確定したため、そのままです",)
    assert numbers(host) == expected_numbers(1)


def test_the_second_run_finalises_if_the_first_one_fails(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    with tenant_transaction(connection, ["A"]) as transaction:
        settle_here(connection)
        thread, settled = settle_elsewhere(database, "A")
        raise psycopg.Rollback(transaction)
    thread.join()

    (second,) = settled
    assert (second.settlement, second.number) == (Settlement.FINALIZED, "INV-2026-10-001")
    assert len(invoices(host)) == 1


def test_two_recalculations_at_once_void_the_invoice_once_and_issue_one(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")
    again: dict[str, Any] = {"recalculate": True, "reason": "訂正"}
    with tenant_transaction(connection, ["A"]):
        settle_here(connection, **again)
        thread, settled = settle_elsewhere(database, "A", **again)
    thread.join()

    (second,) = settled
    assert second.settlement is not Settlement.FINALIZED
    assert "入金済み" not in (second.reason or "")
    assert [(row["status"], row["number"]) for row in invoices(host)] == [
        ("void", "INV-2026-10-001"),
        ("finalized", "INV-2026-10-002"),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [("void", "credit"), ("credit", "void"), ("credit", "credit"), ("void", "void")],
)
def test_two_concurrent_operators_void_or_credit_an_invoice_once(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, first: str, second: str
) -> None:
    customer(host, "A")
    settle(connection, "A")

    def act(on: psycopg.Connection, action: str, stored: Any) -> None:
        if action == "void":
            void_invoice(on, TERMS, stored, "訂正", actor=f"to {action}")
        else:
            credit_invoice(on, TERMS, stored, "訂正", EntryAuthor("test", f"to {action}", FIRST_OF_NOVEMBER))

    def act_late() -> None:
        with database.connect("batch_tenant") as other, tenant_transaction(other, ["A"]):
            stored = find_invoice(other, "INV-2026-10-001")
            with tenant_transaction(connection, ["A"]):
                act(connection, first, find_invoice(connection, "INV-2026-10-001"))
            act(other, second, stored)

    with pytest.raises(BillingError, match=r"請求書 INV-2026-10-001 は(取消済み|返還済み)です"):
        act_late()

    original = invoices(host)[0]
    credits = [row for row in invoices(host) if row["kind"] == "credit"]
    assert (original["status"] == "void", original["credited"], len(credits)) == (
        (True, False, 0) if first == "void" else (False, True, 1)
    )


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("part", "1 行目の返還額 8,000 JPY は、0 より大きく残額 2,000 JPY 以下"),
        ("void", "一部返還済みのため取り消せません"),
        ("reissue", "一部返還済みのため取り消せません"),
    ],
)
def test_a_second_credit_note_waits_and_takes_only_what_is_left(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, second: str, message: str
) -> None:
    customer(host, "A")
    settle(connection, "A")
    refusals: list[str] = []

    def act_elsewhere() -> None:
        with database.connect("batch_tenant") as other:
            if second == "reissue":
                refusals.extend(
                    each.reason or "" for each in settle(other, "A", recalculate=True, reason="訂正")
                )
                return
            with suppress(BillingError), tenant_transaction(other, ["A"]):
                stored = find_invoice(other, "INV-2026-10-001")
                try:
                    if second == "void":
                        void_invoice(other, TERMS, stored, "訂正", actor="second")
                    else:
                        credit_part(other)
                except BillingError as error:
                    refusals.append(str(error))
                    raise

    with tenant_transaction(connection, ["A"]):
        credit_part(connection)
        thread = threading.Thread(target=act_elsewhere)
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    (refusal,) = refusals
    assert message in refusal
    assert [(row["status"], row["number"]) for row in invoices(host)] == [
        ("finalized", "INV-2026-10-001"),
        ("finalized", "CRN-2026-10-001"),
    ]


def credit_part(connection: psycopg.Connection) -> None:
    """Credit ¥8,000 of A's base fee of ¥10,000."""
    credit_invoice(
        connection,
        TERMS,
        find_invoice(connection, "INV-2026-10-001"),
        "障害",
        BY_TEST,
        parts=[CreditedPart(1, amount=Decimal(8000))],
    )


def test_an_invoice_that_is_paid_while_it_is_recalculated_stands(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    settle(connection, "A")
    with host.transaction():
        host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID'""")
        rows = everything_written(host)
        thread, settled = settle_elsewhere(database, "A", recalculate=True, reason="訂正")
    thread.join()

    assert [(each.settlement, each.code) for each in settled] == [(Settlement.FAILED, "ALREADY_PAID")]
    assert everything_written(host) == rows


def test_an_invoice_that_is_paid_while_it_is_voided_stands(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    settle(connection, "A")
    with tenant_transaction(connection, ["A"]):
        read_before = find_invoice(connection, "INV-2026-10-001")
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'paid'""")
    rows = everything_written(host)

    with (
        pytest.raises(BillingError, match="入金済みのため取り消せません"),
        tenant_transaction(connection, ["A"]),
    ):
        void_invoice(connection, TERMS, read_before, "訂正", actor="test")

    assert everything_written(host) == rows


def test_a_second_void_does_not_claim_that_the_invoice_is_paid(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")
    with tenant_transaction(connection, ["A"]):
        read_before = find_invoice(connection, "INV-2026-10-001")
    void(connection, "A", "INV-2026-10-001")

    with pytest.raises(BillingError) as refused, tenant_transaction(connection, ["A"]):
        void_invoice(connection, TERMS, read_before, "訂正", actor="test")

    assert "入金済み" not in str(refused.value)


@pytest.mark.parametrize("percent_off", [0, 100])
def test_the_same_actor_finds_its_own_invoice_as_it_was_finalised(
    host: psycopg.Connection, connection: psycopg.Connection, percent_off: int
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    if percent_off:
        billing_rows.discount(host, "A", value=percent_off)
    (first,) = settle(connection, "A", actor="one run", resumable=True)
    rows = everything_written(host)

    (again,) = settle(connection, "A", actor="one run", resumable=True)

    assert (again.settlement, again.number, again.total, again.currency, again.records) == (
        first.settlement,
        first.number,
        first.total,
        first.currency,
        first.records,
    )
    assert first.records > 0
    assert first.settlement in (Settlement.FINALIZED, Settlement.NOTHING_TO_PAY)
    assert everything_written(host) == rows
    assert [each.settlement for each in settle(connection, "A")] == [Settlement.ALREADY_FINALIZED]
    settle(connection, "A", actor="one run", recalculate=True, reason="訂正")
    assert sorted(row["status"] for row in invoices(host)) == ["finalized", "void"]


# Numbers -----------------------------------------------------------------------------------------------------------------


def test_a_transaction_that_is_rolled_back_gives_its_numbers_back(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B", "C"):
        customer(host, tenant_id)
    with tenant_transaction(connection, ["A", "B"]) as transaction:
        assert {settled.number for settled in settle_here(connection)} == set(expected_numbers(2))
        raise psycopg.Rollback(transaction)

    assert everything_written(host) == {name: [] for name in everything_written(host)}
    assert [settled.number for settled in settle(connection, "C")] == expected_numbers(1)


def test_numbers_grow_past_999(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    for tenant_id in ("A", "B", "C"):
        customer(host, tenant_id)
    billing_rows.insert(host, "invoice_counter", series="INV", billing_month=MONTH, last_number=998)

    assert {settled.number for settled in settle(connection, "A", "B", "C")} == {
        "INV-2026-10-999",
        "INV-2026-10-1000",
        "INV-2026-10-1001",
    }


def test_numbers_follow_the_order_of_tenants_not_of_drafts(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    tenant_ids = ["A", "B", "C", "D"]
    for tenant_id in reversed(tenant_ids):
        customer(host, tenant_id)
        settle(connection, tenant_id, hold_reason="再開後の最初の実行")
    drafts = {row["invoice_id"]: row["tenant_id"] for row in invoices(host)}

    with tenant_transaction(connection, tenant_ids):
        numbered = finalize(
            connection,
            TERMS,
            {
                each: FinalDocument(tenant_id, FIRST_OF_NOVEMBER, None, approved_by="test")
                for each, tenant_id in drafts.items()
            },
        )

    by_tenant = {drafts[each]: number for each, number in numbered.items()}
    assert [by_tenant[each] for each in tenant_ids] == expected_numbers(4)


def test_two_documents_of_a_tenant_are_not_numbered_together(connection: psycopg.Connection) -> None:
    document = FinalDocument("A", FIRST_OF_NOVEMBER, None)
    with pytest.raises(ValueError, match="two documents of one tenant"):
        finalize(connection, TERMS, {"one": document, "other": document})


def test_months_and_credits_have_series_of_their_own(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    november = Period.month_of(FIRST_OF_NOVEMBER)
    for tenant_id in ("A", "B"):
        customer(host, tenant_id, months=(MONTH, november.start))
    settle_each(connection, "A", "B")
    settle(connection, "A", period=november)

    assert credit(connection, "B", "INV-2026-10-002").number == "CRN-2026-10-001"
    assert credit(connection, "A", "INV-2026-11-001").number == "CRN-2026-11-001"
    assert credit(connection, "A", "INV-2026-10-001").number == "CRN-2026-10-002"

    assert host.execute("TABLE batch.invoice_counter ORDER BY 1, 2").fetchall() == [
        ("CRN", MONTH, 2),
        ("CRN", november.start, 1),
        ("INV", MONTH, 2),
        ("INV", november.start, 1),
    ]


def test_a_voided_number_is_never_given_again(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")
    void(connection, "A", "INV-2026-10-001")

    (again,) = settle(connection, "A", bills_again=True, reason="訂正")
    assert again.number == "INV-2026-10-002"


# Stored content ----------------------------------------------------------------------------------------------------------


def test_a_stored_invoice_is_read_as_it_was_calculated(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A", "STANDARD", months=(), currency_code="USD")
    billing_rows.close_month(host, "A", active_users=47, storage_gb=51, reports_generated=3)
    billing_rows.discount(host, "A", name="割引", value="12.5")
    billing_rows.exchange_rate(host, OCTOBER.end, "151.235")
    (settled,) = settle(connection, "A")
    assert settled.invoice is not None

    with tenant_transaction(connection, ["A"]):
        stored = find_invoice(connection, "INV-2026-10-001")
        assert invoice_of_month(connection, "A", OCTOBER) == stored

    assert stored.invoice == settled.invoice.finalized(
        "INV-2026-10-001", FIRST_OF_NOVEMBER, date(2026, 11, 30)
    )
    assert stored.inputs == settled.inputs
    assert stored.input_hash == stored.inputs.digest()
    assert (stored.tenant_id, stored.state.status, stored.state.is_paid, stored.state.credited) == (
        "A",
        "finalized",
        False,
        False,
    )


def test_pricing_writes_nothing(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    customer(host, "A")
    with tenant_transaction(connection, ["A"]):
        (priced,) = price_tenants(
            connection, OCTOBER, TERMS, Instructions(issued_on=FIRST_OF_NOVEMBER, actor="somebody")
        )

    assert (priced.settlement, priced.number, priced.invoice and priced.invoice.total) == (
        Settlement.PRICED,
        None,
        Decimal(11_000),
    )
    assert invoices(host) == []


def test_tenants_of_a_transaction_are_settled_together_each_on_its_own_days(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", active_users=21)
    customer(host, "B", months=())
    billing_rows.close_month(host, "B", active_users=22)
    billing_rows.discount(host, "B", name="B だけ", kind="fixed", value=1, currency="JPY")

    settled = settle(connection, "B", "A")

    assert [(each.tenant_id, each.invoice and each.invoice.subtotal) for each in settled] == [
        ("A", Decimal(10_500)),
        ("B", Decimal(10_999)),
    ]


def test_all_tenants_of_a_transaction_need_the_statements_of_one(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B", "C", "D"):
        customer(host, tenant_id)
    statements = note_statements(connection)
    settle(connection, "A")
    of_one = statements.copy()
    statements.clear()
    settle(connection, "B", "C", "D")

    assert len(invoices(host)) == 4
    assert statements == of_one


# Taking back -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", " ", "　"])
def test_no_void_credit_or_reissue_without_a_reason(
    host: psycopg.Connection, connection: psycopg.Connection, reason: str
) -> None:
    customer(host, "A")
    settle(connection, "A")
    rows = everything_written(host)

    for take_back in (void, credit):
        with pytest.raises(BillingError, match="理由が必要です"):
            take_back(connection, "A", "INV-2026-10-001", reason)
    with pytest.raises(BillingError, match="理由が必要です"):
        settle(connection, "A", recalculate=True, reason=reason)

    assert everything_written(host) == rows


def test_a_void_or_credited_invoice_cannot_be_voided_or_credited_again(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    settle_each(connection, "A", "B")
    void(connection, "A", "INV-2026-10-001")
    credit(connection, "B", "INV-2026-10-002")
    rows = everything_written(host)

    for take_back in (void, credit):
        with pytest.raises(BillingError, match="請求書 INV-2026-10-001 は取消済みです"):
            take_back(connection, "A", "INV-2026-10-001")
        with pytest.raises(BillingError, match="請求書 INV-2026-10-002 は返還済みです"):
            take_back(connection, "B", "INV-2026-10-002")

    assert everything_written(host) == rows


def test_a_credit_is_final(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    customer(host, "A")
    settle(connection, "A")
    credit(connection, "A", "INV-2026-10-001")
    rows = everything_written(host)

    for take_back in (credit, void):
        with pytest.raises(BillingError):
            take_back(connection, "A", "CRN-2026-10-001")

    assert everything_written(host) == rows


def test_a_paid_invoice_is_credited_and_stays_paid(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID', notes = '入金確認'""")
    paid = host_billing(host, invoice(host, "A")["invoice_id"])

    with pytest.raises(BillingError, match="入金済みのため取り消せません"):
        void(connection, "A", "INV-2026-10-001")
    assert credit(connection, "A", "INV-2026-10-001").total == Decimal(-11_000)

    row = host_billing(host, paid["id"])
    assert row["notes"] == ("入金確認。返還請求書 CRN-2026-10-001（2026-11-01、11000 JPY）で全額を返還済み")
    assert row | {"notes": paid["notes"], "updated_at": paid["updated_at"]} == paid


def test_only_the_application_says_that_an_invoice_is_paid(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    """If the application marks a draft's row as paid, the row is still paid when the invoice is finalised."""
    september = Period.month_of(date(2026, 9, 1))
    customer(host, "A", months=(september.start,))
    settle(connection, "A", period=september)
    billing_rows.close_month(host, "A", active_users=100)
    assert [settled.settlement for settled in settle(connection, "A")] == [Settlement.HELD]
    invoice_id = invoice(host, "A")["invoice_id"]
    assert host_billing(host, invoice_id)["billing_status"] == "CALCULATED"
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID' WHERE id = %s""", [invoice_id])

    settle(connection, "A", approved=["A"], actor="経理部 佐藤")

    assert invoice(host, "A")["approved_by"] == "経理部 佐藤"
    row = host_billing(host, invoice_id)
    assert (row["billing_status"], row["invoice_number"]) == ("PAID", "INV-2026-10-001")


# Other tenants -----------------------------------------------------------------------------------------------------------


def test_only_the_transactions_tenant_is_settled(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)

    assert [settled.tenant_id for settled in settle(connection, "B")] == ["B"]
    assert settle(connection, "nobody") == []
    assert [row["tenant_id"] for row in invoices(host)] == ["B"]


# Nothing finalised changes -----------------------------------------------------------------------------------------------

FROZEN = {
    "tenant_id": "'B'",
    "period_start": "'2026-11-01'",
    "period_end": "'2026-10-30'",
    "number": "'INV-2026-10-777'",
    "issued_on": "'2026-11-02'",
    "due_on": "'2026-12-31'",
    "accrued_on": "'2026-10-30'",
    "booked_on": "'2026-11-30'",
    "currency": "'USD'",
    "total": "1",
    "content": 'content || \'{"total": "1"}\'',
    "inputs": 'inputs || \'{"currency": "USD"}\'',
    "input_hash": "''",
    "finalized_at": "now()",
    "hold_reason": "'held'",
    "approved_by": "'somebody'",
    "execution_id": "'another run'",
    "status": "'draft'",
}


@pytest.mark.parametrize("status", ["finalized", "void"])
def test_a_numbered_invoice_cannot_be_changed_or_deleted_by_a_superuser(
    host: psycopg.Connection, connection: psycopg.Connection, status: str
) -> None:
    customer(host, "A")
    settle(connection, "A")
    if status == "void":
        host.execute("UPDATE batch.invoice SET status = 'void', void_reason = '訂正', voided_by = 'test'")
    rows = everything_written(host)

    for column, value in FROZEN.items():
        with pytest.raises(errors.RestrictViolation, match="invoice INV-2026-10-001 "):
            host.execute(f"UPDATE batch.invoice SET {column} = {value}".encode())
    with pytest.raises(errors.RestrictViolation, match="cannot be deleted"):
        host.execute("DELETE FROM batch.invoice")
    if status == "void":
        with pytest.raises(errors.RestrictViolation, match="cannot go from void to finalized"):
            host.execute("UPDATE batch.invoice SET status = 'finalized'")

    assert everything_written(host) == rows


def test_the_steps_across_tenants_only_read_invoices_and_their_numbers(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")

    with database.connect("batch_platform") as platform:
        for table in ("invoice", "invoice_counter"):
            assert platform.execute(f"SELECT FROM batch.{table}".encode()).rowcount == 1
        for statement in (
            "INSERT INTO batch.invoice (invoice_id) VALUES ('1')",
            "UPDATE batch.invoice SET total = 1",
            "DELETE FROM batch.invoice",
            "INSERT INTO batch.invoice_counter VALUES ('INV', '2026-10-01', 7)",
            "UPDATE batch.invoice_counter SET last_number = 0",
            "DELETE FROM batch.invoice_counter",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                platform.execute(statement.encode())


@pytest.mark.parametrize("change", ["credited = false", "invoice_id = 'another'"])
def test_a_credited_invoice_stays_credited_and_every_invoice_keeps_its_id(
    host: psycopg.Connection, connection: psycopg.Connection, change: str
) -> None:
    customer(host, "A")
    settle(connection, "A")
    credit(connection, "A", "INV-2026-10-001")
    rows = everything_written(host)

    with pytest.raises(errors.RestrictViolation):
        host.execute(f"UPDATE batch.invoice SET {change}".encode())

    assert everything_written(host) == rows


@pytest.mark.parametrize("credit_status", [None, "draft", "void"])
def test_an_invoice_cannot_be_credited_without_a_final_credit_note(
    host: psycopg.Connection, connection: psycopg.Connection, credit_status: str | None
) -> None:
    customer(host, "A")
    settle(connection, "A")
    if credit_status:
        host.execute(
            """
            INSERT INTO batch.invoice (
                invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash,
                credits_invoice_id, credit_reason, execution_id, status, voided_at, void_reason, voided_by
            )
            SELECT
                'credit', tenant_id, 'credit', period_start, period_end, currency, -total, content, inputs, input_hash,
                invoice_id, '訂正', '', %(status)s, CASE %(status)s WHEN 'void' THEN now() END,
                CASE %(status)s WHEN 'void' THEN '訂正' END, CASE %(status)s WHEN 'void' THEN 'test' END
            FROM batch.invoice
            """,
            {"status": credit_status},
        )
    rows = everything_written(host)
    credited = "UPDATE batch.invoice SET credited = true WHERE kind = 'invoice'"

    with pytest.raises(errors.RestrictViolation, match="invoice INV-2026-10-001 has no credit"):
        host.execute(credited.encode())
    with (
        pytest.raises(errors.RestrictViolation, match="has no credit"),
        tenant_transaction(connection, ["A"]),
    ):
        connection.execute(credited.encode())

    assert everything_written(host) == rows


def test_a_void_needs_a_reason_and_the_name_of_its_author(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")
    rows = everything_written(host)

    for given in ("void_reason = '訂正'", "voided_by = 'test'"):
        with pytest.raises(errors.CheckViolation):
            host.execute(f"UPDATE batch.invoice SET status = 'void', {given}".encode())

    assert everything_written(host) == rows


def test_the_owner_of_the_tables_reads_invoices_and_changes_none(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")
    rows = everything_written(host)

    with database.connect("batch_owner") as owner:
        assert owner.execute("SELECT tenant_id FROM batch.invoice").fetchall() == [("A",)]
        assert owner.execute("UPDATE batch.invoice SET total = 1").rowcount == 0
        assert owner.execute("DELETE FROM batch.invoice").rowcount == 0

    assert everything_written(host) == rows


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE batch.invoice SET number = 'INV-2026-10-777'",
        "UPDATE batch.invoice SET finalized_at = now()",
        "UPDATE batch.invoice SET voided_at = now()",
        "UPDATE batch.invoice SET booked_on = '2026-10-01'",
        "UPDATE batch.invoice SET tenant_id = 'B'",
        "UPDATE batch.invoice SET period_start = '2026-11-01'",
        "UPDATE batch.invoice SET invoice_id = 'mine'",
        "DELETE FROM batch.invoice",
        """
        INSERT INTO batch.invoice (
            invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash, execution_id,
            number
        ) VALUES ('1', 'A', 'invoice', '2026-11-01', '2026-11-30', 'JPY', 1, '{}', '{}', '', '', 'INV-2026-11-001')
        """,
        """
        INSERT INTO batch.invoice (
            invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash, execution_id,
            status
        ) VALUES ('1', 'A', 'invoice', '2026-11-01', '2026-11-30', 'JPY', 1, '{}', '{}', '', '', 'finalized')
        """,
        "SELECT * FROM batch.invoice_counter",
        "UPDATE batch.invoice_counter SET last_number = 0",
        "SELECT batch.guard_invoice()",
    ],
)
def test_a_tenants_step_cannot_write_what_is_the_databases_to_give(
    host: psycopg.Connection, connection: psycopg.Connection, statement: str
) -> None:
    """Not even on a draft."""
    customer(host, "A", tenant_name=" ")
    billing_rows.billing_profile(host, "A", recipient_name=" ")
    assert [settled.code for settled in settle(connection, "A")] == ["NOT_QUALIFIED"]
    assert invoice(host, "A")["status"] == "draft"
    rows = everything_written(host)

    with pytest.raises(errors.InsufficientPrivilege), tenant_transaction(connection, ["A"]):
        connection.execute(statement.encode())

    assert everything_written(host) == rows


def test_a_second_live_invoice_of_a_month_is_refused_by_the_database(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    customer(host, "A")
    settle(connection, "A")

    with pytest.raises(errors.UniqueViolation, match="invoice_live"), tenant_transaction(connection, ["A"]):
        connection.execute(
            """
            INSERT INTO batch.invoice (
                invoice_id, tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash, execution_id
            )
            SELECT 'second', tenant_id, kind, period_start, period_end, currency, total, content, inputs, input_hash, ''
            FROM batch.invoice
            """
        )

    assert len(invoices(host)) == 1
