"""The first run of BATCH-018-02 after a pause: it keeps drafts, and an approval finalises them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from skill_batch.board.pages.invoices import load_month
from include.skillreport.approvals.requests import unconfirmed
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.operations.approve_invoices import create_batch as invoice_approval
from local_stack.batch_runs import LOCAL
from tests.conftest import Database
from tests.worlds.approval_rows import ACCOUNTANT, answer, asked_about, text_of
from tests.worlds.billing_rows import (
    MONTH,
    close_month,
    customer,
    invoice,
    jump,
    outcomes,
    reasons,
    run_billing,
)

TICK = datetime(2026, 11, 1, 2, tzinfo=JAPAN)
LATE = TICK + timedelta(days=14)


def resumed(database: Database, **options: Any) -> RunResult:
    """The run of the first of November, two weeks late."""
    return run_billing(database, ticked_at=TICK, run_at=LATE, **options)


@pytest.fixture
def customers(host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)


@pytest.mark.usefixtures("customers")
def test_a_late_run_keeps_drafts_and_completes(database: Database, host: psycopg.Connection) -> None:
    result = resumed(database)

    assert (result.status, reasons(result)) == ("completed", {})
    draft = invoice(host, "A")
    assert (draft["status"], draft["number"]) == ("draft", None)
    assert draft["hold_reason"] == "予定（2026-11-01 02:00）から 24 時間を過ぎて始まりました"
    assert host.execute('SELECT count(*) FROM "HIS_NotificationLog"').fetchone() == (0,)
    asked = asked_about(database, result)
    assert asked is not None
    subject, body = text_of(database, asked.request)
    assert subject == "保留中の請求書 2 件の承認（2026-10 分）"
    assert "24 時間を過ぎて始まりました" in body
    with database.connect("batch_board") as reader:
        assert [each.row["is_approvable"] for each in load_month(reader, MONTH, MONTH).held] == [True, True]


@pytest.mark.usefixtures("customers")
def test_an_approval_finalises_what_waited_and_names_the_person(
    database: Database, host: psycopg.Connection
) -> None:
    asked = asked_about(database, resumed(database))
    assert asked is not None

    result = answer(
        database, asked.request, APPROVE_INVOICES, invoice_approval(LOCAL), at=LATE.astimezone(UTC)
    )

    assert (result.status, reasons(result)) == ("completed", {})
    issued = invoice(host, "A")
    assert (issued["status"], issued["approved_by"]) == ("finalized", ACCOUNTANT)


@pytest.mark.parametrize("is_red", [True, False])
def test_a_month_whose_days_were_missed_is_billed_as_any_other(
    database: Database, host: psycopg.Connection, is_red: bool
) -> None:
    """Step 3 of docs/operate/runs.md: the run after the outage was red and is cleared, or, of several months, there was none."""
    customer(host, "A", months=())
    close_month(host, "A", last=19)
    if is_red:
        failed = resumed(database, run_id="scheduled")
        assert (failed.status, outcomes(host, failed)["A"]["error_code"]) == ("failed", "USAGE_NOT_CLOSED")
    close_month(host, "A", first=20)

    if is_red:
        asked = asked_about(database, resumed(database, run_id="scheduled"))
        assert asked is not None
        at = LATE.astimezone(UTC)
        result = answer(database, asked.request, APPROVE_INVOICES, invoice_approval(LOCAL), at=at)
    else:
        result = run_billing(database, run_at=LATE)

    assert (result.status, reasons(result)) == ("completed", {})
    issued = invoice(host, "A")
    assert (issued["status"], issued["number"], issued["total"]) == ("finalized", "INV-2026-10-001", 11_000)


@pytest.mark.usefixtures("customers")
def test_finalised_invoices_stay_and_a_clear_keeps_drafts(
    database: Database, host: psycopg.Connection
) -> None:
    run_billing(database, codes=["A"])
    before = invoice(host, "A")

    resumed(database, run_id="scheduled")
    # A cleared run is opened again. Meanwhile, November's tick has started.
    host.execute(
        "INSERT INTO batch.started_tick VALUES ('BATCH-018-02', %s, 'later', null)",
        [TICK + timedelta(days=30)],
    )
    result = resumed(database, run_id="scheduled")

    assert result.status == "completed"
    assert invoice(host, "A") == before
    assert invoice(host, "B")["status"] == "draft"


@pytest.mark.usefixtures("customers")
def test_a_run_by_hand_finalises(database: Database, host: psycopg.Connection) -> None:
    resumed(database)

    assert run_billing(database).status == "completed"

    assert {invoice(host, tenant_id)["status"] for tenant_id in ("A", "B")} == {"finalized"}


def test_unusual_drafts_keep_their_own_reason(database: Database, host: psycopg.Connection) -> None:
    jump(database, host)

    result = resumed(database)

    assert result.status == "completed"
    assert "24 時間を過ぎて始まりました。" in invoice(host, "A")["hold_reason"]
    assert "50 % を超えて変わりました" in invoice(host, "A")["hold_reason"]
    assert outcomes(host, result)["C"]["details"]["settlement"] == "held"


@pytest.mark.usefixtures("customers")
def test_the_request_of_a_late_run_alone_is_alerted_about(
    database: Database, host: psycopg.Connection
) -> None:
    asked = asked_about(database, resumed(database, run_id="late"))
    assert asked is not None

    with database.connect("batch_platform") as platform:
        (waiting,) = unconfirmed(platform)
        assert (waiting.request_id, waiting.batch_ids, waiting.waiting) == (
            asked.request.request_id,
            ["BATCH-018-02"],
            2,
        )
        host.execute("UPDATE batch.started_tick SET deferral_reason = null")
        assert unconfirmed(platform) == []
