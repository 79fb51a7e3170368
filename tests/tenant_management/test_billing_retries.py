"""BATCH-018-02 retried or cleared: the same run, once more, finds done what it has done, and takes back no other invoice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from include.catalog import TENANT_BILLING
from include.execution.object_store import ObjectStore
from include.execution.run_log import close_execution
from include.execution.tenant_work import Run, ShardReport, process_shard
from include.tenant_management.tenant_billing import create_batch
from local_stack.whole_run import open_run
from tests.conftest import Database
from tests.tenant_management import billing_rows
from tests.tenant_management.billing_rows import (
    MONTH,
    customer,
    everything_written,
    invoice,
    invoices,
    run_billing,
)

SEPTEMBER = date(2026, 9, 1)


class FullStore(ObjectStore):
    """Its disk is full."""

    def write(self, key: str, content: bytes) -> str:  # noqa: ARG002
        raise OSError("No space left on device")


def opened(database: Database, action: str = "bill", *, code: str = "A", **parameters: Any) -> Run:
    """A run for one tenant that has only been opened."""
    form = {"action": action, "tenants": [code], "reason": "訂正"} | parameters
    with database.connect("batch_platform") as platform:
        return open_run(platform, TENANT_BILLING, create_batch(), MONTH, codes=[code], parameters=form)[0]


def process(
    database: Database, run: Run, store: ObjectStore | None = None, tenant_ids: Sequence[str] = ("A",)
) -> ShardReport:
    """The tenants' step of the run: first, or once more after its task was cleared."""
    with database.connect("batch_platform") as platform, database.connect("batch_tenant") as connection:
        return process_shard(connection, platform, create_batch(), run, tenant_ids, store)


def details(report: ShardReport) -> dict[str, Any]:
    """What the only tenant's outcome says."""
    assert report.failures == []
    (result,) = report.results
    return dict(result.details)


def states(host: psycopg.Connection) -> list[tuple[str, str | None]]:
    """Status and number of A's invoices and credits."""
    return [(row["status"], row["number"]) for row in invoices(host, "A")]


def written(store: ObjectStore) -> list[str]:
    """The files' names."""
    root = Path(store.location("root")).parent
    return sorted(path.name for path in root.rglob("*") if path.is_file())


# Billing -----------------------------------------------------------------------------------------------------------------


def test_a_run_that_is_retried_says_again_what_it_has_billed_and_its_totals_stay(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    run = opened(database)
    (failure,) = process(database, run, FullStore(Path("/nowhere"))).failures
    assert (failure.code, invoice(host, "A")["number"]) == ("OSError", "INV-2026-10-001")
    rows = everything_written(host)

    said = details(process(database, run, store))

    assert said == {
        "settlement": "finalized",
        "invoice_number": "INV-2026-10-001",
        "generatedInvoices": 1,
        "totalAmountJPY": 11_000,
    }
    assert everything_written(host) == rows | {"document": everything_written(host)["document"]}
    assert written(store) == ["INV-2026-10-001.json", "INV-2026-10-001.pdf"]
    with database.connect("batch_platform") as platform:
        assert close_execution(platform, run).status == "completed"
    assert host.execute("SELECT result -> 'totals' FROM batch.execution_log").fetchone() == (
        {"generatedInvoices": 1, "totalAmountJPY": 11_000},
    )


def test_a_month_of_nothing_to_pay_is_that_again_when_it_is_retried(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    billing_rows.discount(host, "A")
    run = opened(database)
    first = details(process(database, run))
    rows = everything_written(host)

    assert details(process(database, run)) == first == {"settlement": "nothing to pay", "totalAmountJPY": 0}
    assert everything_written(host) == rows


def test_a_retry_does_not_take_the_invoice_of_another_run_for_its_own(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run = opened(database)
    process(database, run)
    process(database, opened(database, force_recalculate=True))

    assert details(process(database, run)) == {
        "settlement": "already finalized",
        "invoice_number": "INV-2026-10-002",
    }
    assert states(host) == [("void", "INV-2026-10-001"), ("finalized", "INV-2026-10-002")]


def test_a_recalculation_that_is_retried_voids_and_issues_once(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    run_billing(database)
    host.execute("UPDATE batch.usage_day SET active_users = 22, revision = 2")
    run = opened(database, force_recalculate=True)
    assert [failure.code for failure in process(database, run, FullStore(Path("/nowhere"))).failures] == [
        "OSError"
    ]

    said = details(process(database, run, store))

    assert (said["settlement"], said["invoice_number"], said["totalAmountJPY"]) == (
        "finalized",
        "INV-2026-10-002",
        12_100,
    )
    assert states(host) == [("void", "INV-2026-10-001"), ("finalized", "INV-2026-10-002")]
    assert [row["voided_by"] for row in invoices(host, "A")] == [run.execution_id, None]
    assert written(store) == ["INV-2026-10-002.json", "INV-2026-10-002.pdf"]
    assert details(process(database, run, store)) == said
    assert len(states(host)) == 2


# Taking back -------------------------------------------------------------------------------------------------------------


def test_a_void_that_is_retried_does_not_turn_to_the_next_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    run_billing(database)
    run = opened(database, "void")
    first = details(process(database, run))
    assert invoice(host, "A")["voided_by"] == run.execution_id
    assert details(process(database, run)) == first == {"voided": "INV-2026-10-001"}
    run_billing(database)
    rows = everything_written(host)

    assert details(process(database, run)) == first

    assert everything_written(host) == rows
    assert states(host) == [("void", "INV-2026-10-001"), ("finalized", "INV-2026-10-002")]


def test_another_void_voids_the_next_invoice(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    run_billing(database)
    process(database, opened(database, "void"))
    run_billing(database)

    assert details(process(database, opened(database, "void"))) == {"voided": "INV-2026-10-002"}

    assert states(host) == [("void", "INV-2026-10-001"), ("void", "INV-2026-10-002")]


def test_a_void_of_a_held_draft_says_the_same_when_it_is_retried(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(SEPTEMBER,))
    run_billing(database, SEPTEMBER)
    billing_rows.close_month(host, "A", active_users=100)
    assert run_billing(database).error_count == 1
    run = opened(database, "void")
    first = details(process(database, run))
    rows = everything_written(host)

    assert details(process(database, run)) == first
    assert everything_written(host) == rows


def test_a_credit_that_is_retried_is_the_same_credit_and_its_files_are_written_then(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    run = opened(database, "credit")
    (failure,) = process(database, run, FullStore(Path("/nowhere"))).failures
    assert (failure.code, states(host)[1:]) == ("OSError", [("finalized", "CRN-2026-10-001")])

    said = details(process(database, run, store))

    assert said == {"credited": "CRN-2026-10-001"}
    assert states(host) == [("finalized", "INV-2026-10-001"), ("finalized", "CRN-2026-10-001")]
    assert {"CRN-2026-10-001.json", "CRN-2026-10-001.pdf"} < set(written(store))


def test_a_credit_that_is_retried_does_not_turn_to_the_next_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    run = opened(database, "credit")
    process(database, run)
    run_billing(database)
    rows = everything_written(host)

    assert details(process(database, run)) == {"credited": "CRN-2026-10-001"}

    assert everything_written(host) == rows
    assert sum(row["total"] for row in invoices(host, "A")) == Decimal(11_000)


def test_what_one_tenants_run_has_taken_back_stops_no_other_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    run_billing(database)
    run = opened(database, "void")
    process(database, run)
    host.execute(
        """
        INSERT INTO batch.tenant_outcome
        SELECT (jsonb_populate_record(outcome, '{"tenant_id": "B"}')).*
        FROM batch.tenant_outcome AS outcome WHERE execution_id = %s
        """,
        [run.execution_id],
    )

    assert details(process(database, run, tenant_ids=["B"])) == {"voided": "INV-2026-10-002"}
    assert {row["status"] for row in invoices(host)} == {"void"}
