"""People, imports and the bank decide about one transfer at once: one wins, the others are refused, and nothing is paid twice."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.ledger.transfers import MatchReport, match_transfers, set_aside
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.shard_work import ShardReport
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from include.skillreport.operations.import_payments import create_batch
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import payment_rows
from tests.worlds.bank_files import TODAY, confirm, open_amounts, payments, put, run, transfer, waiting
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

pytestmark = [
    pytest.mark.usefixtures("billed"),
    pytest.mark.billed("A", "B", "C", payment_source="operations", own_accounts=[OWN_ACCOUNT]),
]

A1, B1, C1 = "INV-2026-10-001", "INV-2026-10-002", "INV-2026-10-003"


@pytest.fixture
def transfer_id(database: Database, host: psycopg.Connection, store: ObjectStore) -> str:
    """A transfer of ¥11,000 of an unknown payer."""
    put(store, transfer(11_000))
    run(database, store)
    (only,) = waiting(host)
    return only


def opened(database: Database, operation: str = "import", **values: Any) -> Run:
    """A run that has only been opened."""
    at = datetime(TODAY.year, TODAY.month, TODAY.day, 8, 30, tzinfo=JAPAN)
    parameters = {"operation": operation, **values}
    with database.connect("batch_platform") as platform:
        return open_run(
            platform, IMPORT_PAYMENTS, create_batch(LOCAL), TODAY, parameters=parameters, run_at=at
        )[0]


def process(database: Database, run: Run, *tenant_ids: str) -> ShardReport:
    """The tenants' step of an opened run."""
    with database.working() as (platform, connection):
        return process_tenants(connection, platform, create_batch(LOCAL), run, tenant_ids)


@contextmanager
def uncommitted(database: Database, run: Run, *tenant_ids: str) -> Iterator[None]:
    """The tenants' step of an opened run, which is committed at the end of the block."""
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, tenant_ids):
        create_batch(LOCAL).process(Work(run, connection, tenant_ids))
        yield


def refusal(report: ShardReport) -> str:
    """Why the only tenant failed."""
    (failure,) = report.failures
    assert failure.code == "TRANSFER_TAKEN"
    return failure.message


def know(host: psycopg.Connection, tenant_id: str) -> None:
    """The payer of the transfers is the tenant's."""
    host.execute(
        """
        INSERT INTO batch.payer (tenant_id, payer_key, payer_code, payer_name, confirmed_by, execution_id)
        VALUES (%s, '[ｶ]ｱｵﾊﾞ', '', 'ｱｵﾊﾞ', 'keiri', 'earlier')
        """,
        [tenant_id],
    )


def test_of_two_tenants_only_one_gets_the_transfer(
    database: Database, host: psycopg.Connection, transfer_id: str
) -> None:
    for_a = opened(database, "confirm", transfers=[f"{transfer_id}={A1}"])
    for_b = opened(database, "confirm", transfers=[f"{transfer_id}={B1}"])
    with ThreadPoolExecutor(1) as pool:
        with uncommitted(database, for_a, "A"):
            second = pool.submit(process, database, for_b, "B")
            wait_for_blocked_statement(database)
        report = second.result()

    assert refusal(report).startswith(f"振込 {transfer_id} は、ほかの入金に使われたか、")
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]
    assert open_amounts(host, [A1, B1]) == {A1: 0, B1: 11_000}


def test_two_confirmations_of_one_invoice_count_once(
    database: Database, host: psycopg.Connection, transfer_id: str
) -> None:
    runs = [opened(database, "confirm", transfers=[f"{transfer_id}={A1}"]) for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        with uncommitted(database, runs[0], "A"):
            second = pool.submit(process, database, runs[1], "A")
            wait_for_blocked_statement(database)
        report = second.result()

    (result,) = report.results
    assert result.notes == (f"請求書 {A1} のこの入金は記録済みのため、そのままです",)
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]


def test_a_confirmation_wins_over_an_import_that_has_matched_before(
    database: Database, host: psycopg.Connection, transfer_id: str
) -> None:
    importing = opened(database)
    confirming = opened(database, "confirm", transfers=[f"{transfer_id}={B1}"])
    know(host, "A")
    with database.connect("batch_platform") as platform:
        assert match_transfers(platform, fee_tolerance=880, today=TODAY).automatic == 1
    assert process(database, confirming, "B").failures == []

    report = process(database, importing, "A", "B", "C")

    assert transfer_id in refusal(report)
    assert {result.unit_id for result in report.results} == {"B", "C"}
    assert [row[:3] for row in payments(host)] == [("B", B1, 11_000)]
    assert open_amounts(host, [A1]) == {A1: 11_000}


def test_an_import_wins_over_a_confirmation_that_was_opened_before(
    database: Database, host: psycopg.Connection, store: ObjectStore, transfer_id: str
) -> None:
    confirming = opened(database, "confirm", transfers=[f"{transfer_id}={B1}"])
    know(host, "A")
    run(database, store)

    assert transfer_id in refusal(process(database, confirming, "B"))
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]


def test_an_entered_payment_belongs_to_one_transfer_only(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    payment_rows.pay(database)
    put(store, transfer(11_000), transfer(11_000, reference="2"))
    run(database, store)
    first, second = waiting(host)
    runs = [opened(database, "same_payment", same_transfers=[each]) for each in (first, second)]

    assert process(database, runs[0], "A").failures == []
    refused = process(database, runs[1], "A")
    # As a worker that Airflow has given up, and the next attempt.
    again = process(database, runs[0], "A")

    assert [failure.code for failure in refused.failures] == ["PAYMENT_TAKEN"]
    assert again.failures == []
    assert payments(host) == [("A", A1, 11_000, "operation", first)]
    assert waiting(host) == {second: "already_entered"}


def test_a_transfer_that_is_being_confirmed_is_not_set_aside(
    database: Database, host: psycopg.Connection, transfer_id: str
) -> None:
    confirming = opened(database, "confirm", transfers=[f"{transfer_id}={A1}"])

    def leave_out() -> list[str]:
        with database.connect("batch_platform") as platform:
            return set_aside(platform, [transfer_id], "預金利息", "keiri")

    with ThreadPoolExecutor(1) as pool:
        with uncommitted(database, confirming, "A"):
            left_out = pool.submit(leave_out)
            wait_for_blocked_statement(database)
        assert left_out.result() == [transfer_id]
    assert [row[:2] for row in payments(host)] == [("A", A1)]


def test_a_transfer_that_is_being_set_aside_is_not_confirmed(
    database: Database, host: psycopg.Connection, transfer_id: str
) -> None:
    confirming = opened(database, "confirm", transfers=[f"{transfer_id}={A1}"])
    with ThreadPoolExecutor(1) as pool:
        with database.connect("batch_platform") as platform, platform.transaction():
            assert set_aside(platform, [transfer_id], "預金利息", "keiri") == []
            second = pool.submit(process, database, confirming, "A")
            wait_for_blocked_statement(database)
        assert transfer_id in refusal(second.result())
    assert payments(host) == []


@pytest.mark.parametrize("is_first", [True, False])
def test_the_bank_cancels_a_transfer_that_is_being_confirmed(
    database: Database, host: psycopg.Connection, store: ObjectStore, transfer_id: str, is_first: bool
) -> None:
    confirming = opened(database, "confirm", transfers=[f"{transfer_id}={A1}"])
    put(store, transfer(11_000, is_cancellation=True), name="2.txt")
    with ThreadPoolExecutor(1) as pool:
        if is_first:
            with uncommitted(database, confirming, "A"):
                importing = pool.submit(run, database, store)
                wait_for_blocked_statement(database)
            assert importing.result().status == "completed"
        else:
            run(database, store)
            assert transfer_id in refusal(process(database, confirming, "A"))

    assert payments(host) == []
    assert open_amounts(host, [A1]) == {A1: 11_000}
    assert waiting(host) == {}


def test_two_imports_of_one_file_store_it_once(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    """As a worker that Airflow has given up, and the next attempt."""
    know(host, "A")
    content = zengin_file([transfer(11_000), transfer(500, "ｼﾗﾅｲ")])
    stores = [store, ObjectStore(Path(store.location("other")))]
    for each in stores:
        put(each, content=content)
    with ThreadPoolExecutor(2) as pool:
        with database.connect() as other, other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(360000, 0)")
            runs = [pool.submit(run, database, each) for each in stores]
            wait_for_blocked_statement(database, 2)
        results = [each.result() for each in runs]

    assert [result.status for result in results] == ["completed", "completed"]
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]
    assert len(waiting(host)) == 1
    assert [each.names("bank-files/incoming") for each in stores] == [[], []]


def test_a_matching_waits_for_the_payments_that_are_being_recorded(
    database: Database, host: psycopg.Connection, transfer_id: str
) -> None:
    """Both change the transfer and its choices, in different order."""
    confirming = opened(database, "confirm", transfers=[f"{transfer_id}={A1}"])
    know(host, "A")

    def match() -> MatchReport:
        with database.connect("batch_platform") as platform:
            return match_transfers(platform, fee_tolerance=880, today=TODAY)

    with ThreadPoolExecutor(2) as pool:
        with database.connect() as other, other.transaction():
            other.execute('SELECT FROM "HIS_TenantBilling" FOR UPDATE')
            confirmed = pool.submit(process, database, confirming, "A")
            wait_for_blocked_statement(database)
            matched = pool.submit(match)
            wait_for_blocked_statement(database, 2)
        assert confirmed.result().failures == []
        assert matched.result().automatic == 0
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]


def test_many_people_at_once_spend_no_transfer_twice(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, *(transfer(1_000 * number, reference=f"{number}") for number in range(1, 7)))
    run(database, store)
    amounts: dict[str, Decimal] = dict(
        host.execute("SELECT transfer_id, amount FROM batch.bank_transfer").fetchall()
    )

    def person(seed: int) -> Sequence[str]:
        source = random.Random(seed)  # noqa: S311
        said: list[str] = []
        for _ in range(3):
            chosen = source.sample(list(amounts), 3)
            lines = [f"{each}={source.choice((A1, B1, C1))}" for each in chosen]
            try:
                result = confirm(database, store, *lines, triggered_by=f"person {seed}")
                said.append(result.status)
                assert result.error is None, result
            except ParameterError as error:
                said.append(str(error))
        return said

    with ThreadPoolExecutor(3) as pool:
        said = [each for of_person in pool.map(person, range(3)) for each in of_person]

    spent: dict[str, Decimal] = dict.fromkeys(amounts, Decimal(0))
    paid: dict[str, Decimal] = dict.fromkeys((A1, B1, C1), Decimal(0))
    for _, number, amount, _, transfer_id in payments(host):
        spent[str(transfer_id)] += amount
        paid[number] += amount
    assert all(spent[each] in (0, amounts[each]) for each in amounts), said
    assert open_amounts(host) == {number: 11_000 - amount for number, amount in paid.items()}
    settled = host.execute("SELECT transfer_id, settled FROM batch.bank_transfer").fetchall()
    assert dict(settled) == spent
