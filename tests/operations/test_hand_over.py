"""The accountant takes over the files of a calendar month."""

from __future__ import annotations

from datetime import date, datetime

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from tests.batches.tenant_management.billing_rows import customer, files, operate, outcomes, run_billing
from tests.conftest import Database

NOVEMBERS_LIST = "accounting/2026-11/accounting-2026-11.csv"


def hand_over(
    database: Database,
    store: ObjectStore,
    month: str = "2026-11-01",
    run_date: date = date(2026, 12, 1),
    reason: str = "",
) -> RunResult:
    run_at = datetime(run_date.year, run_date.month, run_date.day, 10, tzinfo=JAPAN)
    values = {"accounting_month": month, "reason": reason}
    return operate(database, "hand_over", codes=[], values=values, store=store, run_at=run_at)


@pytest.fixture(autouse=True)
def billed(database: Database, host: psycopg.Connection, store: ObjectStore) -> None:
    """A's October, invoiced on 1 November."""
    customer(host, "A")
    run_billing(database, store=store)


def test_a_month_is_handed_over_without_naming_a_tenant(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    result = hand_over(database, store, "2026-11-26")

    assert (result.status, result.total_tenants, outcomes(host, result)) == ("completed", 0, {})
    assert host.execute("SELECT month, handed_over_by FROM batch.accounting_month").fetchall() == [
        (date(2026, 11, 1), result.execution_id)
    ]


def test_later_documents_change_no_file_of_a_handed_over_month(
    database: Database, store: ObjectStore
) -> None:
    hand_over(database, store)
    before = {
        name: content for name, content in files(store).items() if name.startswith("accounting/2026-11/")
    }
    assert NOVEMBERS_LIST in before

    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=100"]}, store=store)

    after = {
        name: content for name, content in files(store).items() if name.startswith("accounting/2026-11/")
    }
    assert after == before
    assert "CRN-2026-10-001" in files(store)["accounting/2026-12/accounting-2026-12.csv"].decode("utf-8-sig")


def test_a_month_that_is_not_over_is_refused(database: Database, store: ObjectStore) -> None:
    result = hand_over(database, store, run_date=date(2026, 11, 30))

    assert result.status == "failed"
    assert "2026-11" in (result.error or "")


def test_a_day_that_is_none_is_refused_before_anything_happens(
    database: Database, store: ObjectStore
) -> None:
    with pytest.raises(ParameterError, match="accounting_month"):
        hand_over(database, store, "11月")


def test_the_first_hand_over_closes_earlier_months_with_a_reason(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    january = date(2027, 1, 1)
    refused = hand_over(database, store, "2026-12-01", january)
    assert "先に会計月 2026-11 を引き渡してください。2026-12 までの書類を別の方法で渡し済みなら" in (
        refused.error or ""
    )

    before = files(store)[NOVEMBERS_LIST]
    assert hand_over(database, store, "2026-12-01", january, "メールで渡し済み").status == "completed"

    assert host.execute("SELECT month FROM batch.accounting_month").fetchall() == [(date(2026, 12, 1),)]
    operate(
        database,
        "part_credit",
        reason="障害",
        values={"credit_lines": ["1=100"]},
        store=store,
        run_at=datetime(2027, 1, 4, tzinfo=JAPAN),
    )
    assert files(store)[NOVEMBERS_LIST] == before
    january_list = files(store)["accounting/2027-01/accounting-2027-01.csv"].decode("utf-8-sig")
    assert "CRN-2026-10-001" in january_list
    assert "\nINV-2026-10-001" not in january_list
