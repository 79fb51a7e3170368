"""A month is handed over when BATCH-018-02 has billed it, and nothing is left unless the person accepts it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import psycopg
import pytest

from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.errors import BillingError
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import EarlierStepFailedError
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.accounting_rows import (
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    hand_over,
    listed,
)
from tests.worlds.billing_rows import (
    customer,
    jump,
    open_billing,
    operate,
    run_billing,
    states,
)
from tests.worlds.own_settings import change_billing


def refused(platform: psycopg.Connection, store: ObjectStore, code: str, month: date = OCTOBER) -> str:
    """The sentence with which the hand-over is refused."""
    with pytest.raises(BillingError) as refusal:
        hand_over(platform, store, month, DECEMBER)
    assert refusal.value.code == code
    return str(refusal.value)


def fail_before_tenants(database: Database, platform: psycopg.Connection) -> None:
    """A run that has billed no tenant."""
    run_log.close_execution(platform, open_billing(database), EarlierStepFailedError("wait_for_usage", "X"))


# The run of the month ----------------------------------------------------------------------------------------------------


def test_a_month_without_a_run_is_refused_with_what_to_do(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, dry_run=True)
    run_billing(database, NOVEMBER)

    assert refused(platform, store, "MONTH_NOT_BILLED") == (
        "会計月 2026-10 は確定できません。2026-10 分の BATCH-018-02 を実行していません。"
        "DAG batch_018_02_tenant_billing を業務日 2026-10-01 で実行してください。"
    )


def test_a_run_that_works_is_waited_for(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    run = open_billing(database)

    assert "2026-10 分の BATCH-018-02 が実行中です（batch_018_02_tenant_billing の local" in refused(
        platform, store, "MONTH_RUN_RUNNING"
    )

    run_log.close_execution(platform, run)
    host.execute(
        "UPDATE batch.execution_log SET reopened_at = now() WHERE execution_id = %s", [run.execution_id]
    )
    assert "実行中です" in refused(platform, store, "MONTH_RUN_RUNNING")


@pytest.mark.parametrize("by_name", [True, False])
def test_a_run_that_has_not_billed_all_tenants_is_refused(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    by_name: bool,
) -> None:
    customer(host, "A")
    if by_name:
        run_billing(database, codes=["A"])
    else:
        fail_before_tenants(database, platform)

    assert "全テナントでは終わっていません（batch_018_02_tenant_billing の local" in refused(
        platform, store, "MONTH_RUN_UNFINISHED"
    )


def test_a_run_that_fails_later_takes_nothing_back(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    customer(host, "B", plan="FREE")
    run_billing(database)
    fail_before_tenants(database, platform)

    hand_over(platform, store)

    assert listed(store, "2026-10", is_final=True) == [("INV-2026-10-001", "請求", "確定", "11000")]


def test_with_issued_on_the_run_of_the_month_before_counts(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, accounting={"booked_on": "issued_on"})
    customer(host, "A")
    assert "2026-10 分の BATCH-018-02 を実行していません" in refused(
        platform, store, "MONTH_NOT_BILLED", NOVEMBER
    )

    run_billing(database)

    hand_over(platform, store, NOVEMBER, DECEMBER)
    assert listed(store, "2026-11", is_final=True) == [("INV-2026-10-001", "請求", "確定", "11000")]


@pytest.mark.parametrize("first_month", [NOVEMBER, None])
def test_a_month_before_the_first_billed_one_needs_no_run(
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    first_month: date | None,
) -> None:
    change_billing(monkeypatch, tmp_path, first_month=first_month)

    hand_over(platform, store)

    assert listed(store, "2026-10", is_final=True) == []


def test_a_month_without_documents_closes_only_if_it_was_billed(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(OCTOBER, NOVEMBER, DECEMBER))
    run_billing(database)
    hand_over(platform, store)
    run_billing(database, DECEMBER)

    with pytest.raises(BillingError, match="2026-11 分の BATCH-018-02 を実行していません"):
        hand_over(platform, store, DECEMBER, date(2027, 1, 1), "December")


def test_the_first_hand_over_names_an_earlier_month_that_was_never_billed(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(OCTOBER, NOVEMBER))
    run_billing(database, NOVEMBER)

    sentence = refused(platform, store, "MONTH_NOT_BILLED", NOVEMBER)
    assert "2026-10 分の BATCH-018-02 を実行していません" in sentence

    accepted = Accepted(earlier_months=True)
    assert hand_over(platform, store, NOVEMBER, DECEMBER, accepted=accepted).month == NOVEMBER


# Tenants that failed -----------------------------------------------------------------------------------------------------


def test_failed_tenants_are_named_until_a_later_run_settles_them(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    for tenant_id in ("B", "C"):
        customer(host, tenant_id, months=(), tenant_code=f"CODE-{tenant_id}")
    run_billing(database)

    sentence = refused(platform, store, "MONTH_HAS_FAILED_TENANTS")
    assert "失敗したままのテナントが 2 件あります（CODE-B: 使用量が締まっていない日があります" in sentence
    assert "CODE-C: " in sentence
    assert "「失敗したテナントを除いて確定する」を選んでください" in sentence

    billing_rows.close_month(host, "B")
    run_billing(database, codes=["CODE-B"])
    sentence = refused(platform, store, "MONTH_HAS_FAILED_TENANTS")
    assert "1 件あります（CODE-C: " in sentence
    assert "CODE-B" not in sentence

    billing_rows.close_month(host, "C")
    run_billing(database)
    hand_over(platform, store)
    assert len(listed(store, "2026-10", is_final=True)) == 3


def test_a_month_is_handed_over_without_accepted_failed_tenants(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=())
    assert run_billing(database).status == "failed"

    hand_over(platform, store, accepted=Accepted(failed_tenants=True))

    assert listed(store, "2026-10", is_final=True) == []


# Held drafts -------------------------------------------------------------------------------------------------------------


def test_held_drafts_are_named_until_they_are_approved(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    jump(database, host)
    run_billing(database)
    accepted = Accepted(earlier_months=True, failed_tenants=True)

    with pytest.raises(
        BillingError, match=r"保留中の請求が 2 件あります（B、HD001）.*を残して確定する」"
    ) as refusal:
        hand_over(platform, store, accepted=accepted)
    assert refusal.value.code == "MONTH_HAS_HELD_INVOICES"

    operate(database, "approve", "HD001", "B")
    hand_over(platform, store, accepted=Accepted(earlier_months=True))
    assert len(listed(store, "2026-10", is_final=True)) == 3


def test_an_accepted_held_draft_is_booked_after_its_approval(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    jump(database, host)
    run_billing(database)
    hand_over(platform, store, accepted=Accepted(earlier_months=True, held_drafts=True))

    operate(database, "approve", "HD001", store=store, run_at=datetime(2026, 11, 4, tzinfo=JAPAN))

    assert len(listed(store, "2026-10", is_final=True)) == 1
    assert listed(store, "2026-11") == [("INV-2026-10-002", "請求", "確定", "17050")]


@pytest.mark.parametrize("operation", ["void", "credit"])
def test_an_approved_invoice_that_is_taken_back_is_settled(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    operation: str,
) -> None:
    jump(database, host)
    run_billing(database)
    operate(database, "approve", "HD001", "B")
    operate(database, operation, "HD001", reason="請求しない")

    hand_over(platform, store, accepted=Accepted(earlier_months=True))

    assert len(listed(store, "2026-10", is_final=True)) == 3


def test_a_voided_held_draft_counts_as_failed(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    jump(database, host)
    run_billing(database)
    operate(database, "approve", "B")
    operate(database, "void", "HD001", reason="請求しない")
    assert states(host)[-1][0] == "void"

    with pytest.raises(BillingError, match=r"失敗したままのテナントが 1 件あります（HD001: ") as refusal:
        hand_over(platform, store, accepted=Accepted(earlier_months=True))
    assert refusal.value.code == "MONTH_HAS_FAILED_TENANTS"
