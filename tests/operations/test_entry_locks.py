"""Lines and contracts that people change while a run finalises their month: none is forgotten, and none is billed twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.entries import EntryAuthor, lock_entries
from include.skillreport.billing.ledger.settlement import Instructions
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.service import Billing
from include.skillreport.core.database import count_of, tenant_transaction
from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    close_month,
    customer,
    invoice,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.contract_entries import discounts, set_discount

SEPTEMBER = date(2026, 9, 1)
LINE = {"line_date": "2026-10-15", "line_text": "作業費", "line_price": "100"}
_LONGEST = 60

Started = Callable[[Callable[[], RunResult]], "Future[RunResult]"]


@pytest.fixture
def started(database: Database) -> Iterator[Started]:
    """Starts a run, and returns when it waits for a lock."""
    with ThreadPoolExecutor() as pool:

        def start(run: Callable[[], RunResult]) -> Future[RunResult]:
            future = pool.submit(run)
            wait_for_blocked_statement(database)
            return future

        yield start


@pytest.fixture(autouse=True)
def two_months(database: Database, host: psycopg.Connection) -> None:
    """A's September is final, and its October can be billed."""
    customer(host, "A", months=(SEPTEMBER,))
    close_month(host, "A", MONTH)
    run_billing(database, SEPTEMBER)


def settle(connection: psycopg.Connection) -> None:
    """October as BATCH-018-02 finalises it, in the caller's transaction."""
    Billing().settle(connection, MONTH, Instructions(FIRST_OF_NOVEMBER, "a run"))


def entered(host: psycopg.Connection) -> list[tuple[date, str]]:
    rows = host.execute("SELECT charged_on, description FROM batch.extra_charge ORDER BY entered_at")
    return rows.fetchall()


def test_a_line_waits_for_the_run_and_is_refused(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, started: Started
) -> None:
    with tenant_transaction(connection, ["A"]):
        settle(connection)
        entering = started(lambda: operate(database, "extra_line", values=LINE))

    assert "日付を 2026-11 以降にしてください" in reasons(entering.result(_LONGEST))["A"]
    assert entered(host) == []
    assert invoice(host, "A")["total"] == 11_000


def test_a_run_waits_for_a_line_and_bills_it(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, started: Started
) -> None:
    line = ExtraCharge(
        charged_on=date(2026, 10, 15),
        description="作業費",
        quantity=Decimal(1),
        unit=None,
        unit_amount=Decimal(100),
        currency="JPY",
        tax_category=TaxCategory.STANDARD,
    )
    with tenant_transaction(connection, ["A"]):
        Billing().enter_line(connection, "A", line, EntryAuthor("佐藤", None, FIRST_OF_NOVEMBER))
        billing = started(lambda: run_billing(database))

    assert billing.result(_LONGEST).status == "completed"
    assert (invoice(host, "A")["status"], invoice(host, "A")["total"]) == ("finalized", 11_110)


def test_a_removal_waits_for_the_run_that_bills_the_line(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, started: Started
) -> None:
    operate(database, "extra_line", values=LINE)
    with tenant_transaction(connection, ["A"]):
        settle(connection)
        removing = started(lambda: operate(database, "remove_line", values={"line_text": "作業費"}))

    assert "確定した請求書 INV-2026-10-001に載っています" in reasons(removing.result(_LONGEST))["A"]
    assert entered(host) == [(date(2026, 10, 15), "作業費")]


def test_a_difference_is_carried_past_the_month_of_a_run(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, started: Started
) -> None:
    host.execute(
        """
        UPDATE batch.usage_day SET active_users = 27, revision = revision + 1, closed_at = clock_timestamp()
        WHERE usage_date = '2026-09-03'
        """
    )
    with tenant_transaction(connection, ["A"]):
        settle(connection)
        carrying = started(lambda: operate(database, "carry", month=SEPTEMBER))

    outcome = outcomes(host, carrying.result(_LONGEST))["A"]
    assert outcome["details"] == {"carried_to": "2026-11"}
    assert [day for day, _ in entered(host)] == [date(2026, 11, 1)]


def test_a_changed_contract_is_compared_with_the_invoices_of_a_run(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, started: Started
) -> None:
    with tenant_transaction(connection, ["A"]):
        settle(connection)
        changing = started(lambda: set_discount(database, valid_from="2026-10-01"))
        # The change holds already; its comparison waits.
        assert len(discounts(host)) == 1

    ((note,),) = (row["notes"] for row in outcomes(host, changing.result(_LONGEST)).values())
    assert "請求書 INV-2026-10-001（2026-10 分）は 11,000 JPY のままです。今の契約なら 9,900" in note
    assert invoice(host, "A")["total"] == 11_000


def test_runs_do_not_wait_for_each_other(database: Database, connection: psycopg.Connection) -> None:
    with (
        database.connect("batch_tenant") as other,
        tenant_transaction(connection, ["A"]),
        tenant_transaction(other, ["A"]),
    ):
        other.execute("SET LOCAL lock_timeout = '1s'")
        for shard in (connection, other):
            lock_entries(shard, is_shared=True)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            lock_entries(other)


def test_a_shard_of_any_size_takes_few_locks(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    with tenant_transaction(connection, [f"tenant-{number}" for number in range(1_000)]):
        lock_entries(connection, is_shared=True)
        held = count_of(
            host,
            """
            SELECT count(*) FROM pg_locks INNER JOIN pg_database ON pg_locks.database = pg_database.oid
            WHERE pg_locks.locktype = 'advisory' AND pg_locks.classid = 180204 AND pg_database.datname = current_database()
            """,
        )

    assert held == 64
