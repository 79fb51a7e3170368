"""A month whose invoice was voided, or credited in full, is billed again only by a run that names the tenant."""

from __future__ import annotations

import logging

import psycopg
import pytest

from include.skillreport.core.execution.object_store import ObjectStore
from tests.batches.tenant_management.billing_rows import (
    customer,
    everything_written,
    files,
    operate,
    outcomes,
    run_billing,
    states,
)
from tests.conftest import Database


@pytest.fixture(params=["void", "credit", "part_credits"])
def voided_or_credited(
    request: pytest.FixtureRequest, database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    """A's October was voided or credited in full. B's is billed."""
    customer(host, "A")
    customer(host, "B")
    run_billing(database, store=store)
    if request.param == "part_credits":
        for amount in (4000, 6000):
            operate(
                database, "part_credit", reason="返金", values={"credit_lines": [f"1={amount}"]}, store=store
            )
    else:
        operate(database, request.param, reason="解約", store=store)


@pytest.mark.usefixtures("voided_or_credited")
def test_a_run_for_all_tenants_skips_the_month_and_reports_the_number(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows, documents = everything_written(host), files(store)

    with caplog.at_level(logging.INFO, "include.skillreport.core.execution.flow"):
        result = run_billing(database, store=store)

    assert result.status == "completed"
    assert everything_written(host) == rows
    assert files(store) == documents
    outcome = outcomes(host, result)["A"]
    (remark,) = outcome["notes"]
    assert remark.startswith("請求書 INV-2026-10-001 を取消か全額返還したため、この月は請求していません")
    assert outcome["details"] == {"settlement": "taken back", "attention": [remark]}
    assert outcomes(host, result)["B"]["details"]["settlement"] == "already finalized"
    assert "■ 確認が必要なテナント（1 件）" in caplog.messages
    assert f"・A: {remark}" in caplog.messages


@pytest.mark.usefixtures("voided_or_credited")
def test_a_dry_run_for_all_tenants_says_the_same(database: Database, host: psycopg.Connection) -> None:
    result = run_billing(database, dry_run=True)

    assert outcomes(host, result)["A"]["details"]["settlement"] == "taken back"


@pytest.mark.usefixtures("voided_or_credited")
def test_a_run_that_names_the_tenant_bills_the_month_again(
    database: Database, host: psycopg.Connection
) -> None:
    trial = run_billing(database, codes=["A"], dry_run=True)
    result = run_billing(database, codes=["A"])

    assert outcomes(host, trial)["A"]["details"]["totalAmountJPY"] == 11_000
    assert outcomes(host, result)["A"]["details"]["settlement"] == "finalized"
    assert states(host)[-1] == ("finalized", "INV-2026-10-003")


def test_a_held_draft_continues_in_a_run_for_all_tenants(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    operate(database, "void", reason="宛先の誤り")
    host.execute("UPDATE batch.usage_day SET read_events = 10, unplaced_events = 1, revision = 2")
    held = run_billing(database, codes=["A"])
    assert outcomes(host, held)["A"]["error_code"] == "APPROVAL_NEEDED"
    host.execute("UPDATE batch.usage_day SET unplaced_events = 0, revision = 3")

    result = run_billing(database)

    assert outcomes(host, result)["A"]["details"]["settlement"] == "finalized"
    assert states(host) == [("void", "INV-2026-10-001"), ("finalized", "INV-2026-10-002")]
