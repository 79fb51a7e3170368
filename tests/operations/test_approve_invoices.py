"""Held invoices that a user approves in Airflow: the request, the effect of an answer, and outdated items."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

from include.skillreport.approvals.requests import (
    ApprovalRequest,
    RequestKind,
    ask_by_hand,
    find_held,
    is_outdated,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.operations.approve_invoices import create_batch as invoice_approval
from local_stack.batch_runs import LOCAL
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.approval_rows import (
    ACCOUNTANT,
    APPROVE,
    HOLD,
    NOW,
    answer,
    asked,
    asked_about,
    items,
    requests,
    text_of,
)
from tests.worlds.billing_rows import (
    MONTH,
    files,
    invoice,
    operate,
    outcomes,
    reasons,
    run_billing,
    states,
)
from tests.worlds.issuer_images import name_of, picture
from tests.worlds.kept_rows import planted_once
from tests.worlds.own_settings import change_billing, demo_issuer

HELD = ["A", "B"]


@pytest.fixture
def billed(database: Database, host: psycopg.Connection) -> RunResult:
    """A's and B's October is held, C's is issued."""

    def plant() -> RunResult:
        billing_rows.jump(database, host)
        return run_billing(database)

    return planted_once(__name__, database, plant)


@pytest.fixture
def request_(database: Database, billed: RunResult) -> ApprovalRequest:
    return asked(database, billed)


def approve(
    database: Database, request: ApprovalRequest, option: str = APPROVE, *codes: str, **options: object
) -> RunResult:
    return answer(database, request, APPROVE_INVOICES, invoice_approval(LOCAL), option, *codes, **options)  # type: ignore[arg-type]


def test_an_approved_invoice_shows_the_issuers_logo_of_that_day(
    database: Database,
    host: psycopg.Connection,
    request_: ApprovalRequest,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, issuer=demo_issuer(logo="issuer/logo.png"))
    store.write("issuer/logo.png", picture())

    result = approve(database, request_, store=store)

    assert result.status == "completed", reasons(result)
    assert invoice(host, "A")["content"]["issuer"]["logo"] == name_of(picture(), "png")


def test_the_request_lists_held_invoices_with_both_amounts_and_reason(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    subject, body = text_of(database, request_)

    assert subject == "保留中の請求書 2 件の承認（2026-10 分）"
    held = invoice(host, "A")
    (row,) = (line for line in body.splitlines() if line.startswith("| HD001 |"))
    assert f"| 2026\\-10 | {held['total']:,f} JPY | 11,000 JPY |" in row
    assert "50 % を超えて変わりました" in row
    assert "| C |" not in body


def test_request_and_reason_compare_with_the_same_earlier_month(
    database: Database, host: psycopg.Connection
) -> None:
    november = date(2026, 11, 1)
    billing_rows.customer(host, "A")
    run_billing(database)
    billing_rows.customer(host, "B")
    run_billing(database, codes=["B"])
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        # A has no invoice of October. B's October has one-off lines only, and its September a plan.
        host.execute("UPDATE batch.invoice SET period_start = '2026-09-01', period_end = '2026-09-30'")
    billing_rows.insert(
        host,
        "extra_charge",
        extra_charge_id="B's",
        tenant_id="B",
        charged_on=date(2026, 10, 5),
        description="設定作業",
        unit_amount=500,
        currency="JPY",
        tax_category="standard",
        entered_by="経理",
    )
    billing_rows.plan_change(host, "B", date(2026, 1, 1), "BASIC")
    billing_rows.plan_change(host, "B", date(2026, 10, 1), None)
    billing_rows.plan_change(host, "B", date(2026, 11, 1), "BASIC")
    run_billing(database, codes=["B"])
    for tenant_id in ("A", "B"):
        billing_rows.close_month(host, tenant_id, november, active_users=31)

    held = run_billing(database, november)

    _, body = text_of(database, asked(database, held))
    rows = [row.split(" から ")[0] for row in body.splitlines() if row.startswith(("| A |", "| B |"))]
    assert rows == [
        f"| {code} | {code} | 2026\\-11 | 17,050 JPY | 11,000 JPY | 個別明細を除く小計が前月の 10,000 JPY"
        for code in "AB"
    ]


def test_an_answer_for_all_finalizes_every_listed_invoice(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest, store: ObjectStore
) -> None:
    result = approve(database, request_, note="確認済み", store=store)

    assert (result.status, result.total_tenants) == ("completed", 2)
    assert [invoice(host, name)["approved_by"] for name in HELD] == [ACCOUNTANT] * 2
    assert [invoice(host, name)["issued_on"] for name in HELD] == [date(2026, 11, 5)] * 2
    assert any(f"{invoice(host, 'A')['number']}.pdf" in name for name in files(store))
    kept = items(host, request_)["A"]
    assert (kept["answer"], kept["answered_by"], kept["answered_at"], kept["note"]) == (
        "approve",
        ACCOUNTANT,
        NOW,
        "確認済み",
    )
    assert (kept["result"], kept["execution_id"]) == ("approved", result.execution_id)
    assert requests(host) == [(request_.request_id, "answered")]


def test_an_answer_for_some_leaves_the_others_on_hold(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    result = approve(database, request_, APPROVE, "HD001")

    assert (result.status, result.total_tenants) == ("completed", 1)
    assert (invoice(host, "A")["status"], invoice(host, "B")["status"]) == ("finalized", "draft")
    assert {name: (kept["answer"], kept["result"]) for name, kept in items(host, request_).items()} == {
        "A": ("approve", "approved"),
        "B": ("hold", "held"),
    }


def test_a_rejected_request_changes_nothing_and_keeps_the_answer(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    rows = billing_rows.everything_written(host)

    result = approve(database, request_, HOLD, note="顧客に確認中")

    assert (result.status, result.total_tenants) == ("completed", 0)
    assert billing_rows.everything_written(host) == rows
    assert {
        (kept["answer"], kept["answered_by"], kept["note"]) for kept in items(host, request_).values()
    } == {("hold", ACCOUNTANT, "顧客に確認中")}


def test_an_invoice_calculated_anew_since_the_request_is_not_approved(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    host.execute("UPDATE batch.usage_day SET active_users = 40, revision = 2 WHERE tenant_id = 'A'")
    run_billing(database, codes=["HD001"])

    result = approve(database, request_)

    assert "承認できません: この承認依頼を出した後に、請求が計算し直されています" in reasons(result)["HD001"]
    assert outcomes(host, result)["A"]["error_code"] == "REQUEST_OUT_OF_DATE"
    assert (invoice(host, "A")["status"], invoice(host, "B")["status"]) == ("draft", "finalized")
    kept = items(host, request_)["A"]
    assert (kept["answer"], kept["result"]) == ("approve", "out_of_date")
    assert kept["result_text"] == reasons(result)["HD001"]


@pytest.mark.parametrize("active_users", [40, 0])
def test_an_invoice_whose_usage_changed_since_the_request_is_not_approved(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest, active_users: int
) -> None:
    """It is not approved with another amount that would be held, nor with one that would need no approval."""
    host.execute(
        "UPDATE batch.usage_day SET active_users = %s, revision = 2 WHERE tenant_id = 'A'", [active_users]
    )

    result = approve(database, request_, APPROVE, "HD001")

    assert "計算の根拠が変わっています" in reasons(result)["HD001"]
    assert states(host, "A") == [("draft", None)]
    assert items(host, request_)["A"]["result"] == "out_of_date"


def test_an_invoice_that_another_operation_approved_or_voided_is_not_changed(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    operate(database, "approve", "HD001", "B")
    operate(database, "void", "B", reason="誤り")
    rows = billing_rows.everything_written(host)

    result = approve(database, request_)

    assert "すでに確定しています" in reasons(result)["HD001"]
    assert "取り消されています" in reasons(result)["B"]
    assert billing_rows.everything_written(host) == rows


def test_a_request_names_only_the_tenants_that_it_lists(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    with pytest.raises(ParameterError, match="'C' は、この承認依頼の一覧にありません"):
        approve(database, request_, APPROVE, "C")
    assert items(host, request_)["A"]["answer"] is None


@pytest.mark.usefixtures("request_")
def test_a_tenant_reads_and_answers_no_item_of_another(database: Database) -> None:
    with database.connect("batch_tenant") as connection:
        for tenant_id, count in (("A", 1), ("C", 0)):
            with tenant_transaction(connection, [tenant_id]):
                seen = connection.execute("SELECT count(*) FROM batch.approval_item").fetchone()
            assert seen == (count,)
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            tenant_transaction(connection, ["A"]),
        ):
            connection.execute("UPDATE batch.approval_item SET answer = 'approve'")


def test_nothing_is_asked_if_nothing_is_held_or_in_a_dry_run(
    database: Database, host: psycopg.Connection, billed: RunResult
) -> None:
    assert asked_about(database, billed, dry_run=True) is None
    operate(database, "approve", "HD001", "B")
    assert asked_about(database, run_billing(database)) is None
    assert requests(host) == []


def test_a_run_that_holds_the_same_again_does_not_ask_again(
    database: Database, host: psycopg.Connection, billed: RunResult, request_: ApprovalRequest
) -> None:
    assert asked(database, billed) == replace(request_, asked_at=asked(database, billed).asked_at)
    assert asked(database, run_billing(database)).request_id == request_.request_id
    assert requests(host) == [(request_.request_id, None)]


def test_a_request_whose_run_has_ended_without_an_answer_is_asked_anew(
    database: Database, host: psycopg.Connection, billed: RunResult, request_: ApprovalRequest
) -> None:
    about = asked_about(database, billed, ended=True)

    assert about is not None
    assert requests(host) == [(request_.request_id, "superseded"), (about.request.request_id, None)]


def test_a_cleared_run_that_holds_less_asks_anew(
    database: Database, host: psycopg.Connection, billed: RunResult, request_: ApprovalRequest
) -> None:
    operate(database, "approve", "B")

    newer = asked(database, billed)

    assert requests(host) == [(request_.request_id, None), (newer.request_id, None)]
    assert {name: kept["superseded_by"] for name, kept in items(host, request_).items()} == {
        "A": newer.request_id,
        "B": None,
    }


def test_a_cleared_run_with_another_list_supersedes_the_request(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    host.execute("UPDATE batch.usage_day SET active_users = 40, revision = 2 WHERE tenant_id = 'A'")
    again = run_billing(database)

    newer = asked(database, again)

    assert requests(host) == [(request_.request_id, "superseded"), (newer.request_id, None)]
    assert {kept["superseded_by"] for kept in items(host, request_).values()} == {newer.request_id}
    result = approve(database, request_)
    assert set(reasons(result)) == {"HD001", "B"}
    assert "新しい方に答えてください" in reasons(result)["B"]
    assert approve(database, newer).status == "completed"
    assert {invoice(host, name)["status"] for name in HELD} == {"finalized"}


def test_a_request_refused_by_airflow_leaves_the_run_and_older_request(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    host.execute("UPDATE batch.usage_day SET active_users = 40, revision = 2 WHERE tenant_id = 'A'")
    again = run_billing(database)

    about = asked_about(database, again, refuse="DAG がありません")

    assert about is not None
    assert about.problem == "DAG がありません"
    assert requests(host) == [(request_.request_id, None), (about.request.request_id, "not_started")]
    remark = host.execute(
        "SELECT details ->> 'not_started' FROM batch.run_remark WHERE execution_id = %s", [again.execution_id]
    ).fetchone()
    assert remark == ("DAG がありません",)
    assert asked(database, again).request_id != about.request.request_id


def test_a_request_is_outdated_once_nothing_of_it_is_held(
    database: Database, request_: ApprovalRequest
) -> None:
    def outdated() -> bool:
        with database.connect("batch_platform") as platform:
            return is_outdated(platform, request_)

    operate(database, "approve", "HD001")
    assert not outdated()

    # A newer request replaces only what is still held.
    with database.connect("batch_platform") as platform:
        held = find_held(platform, RequestKind.INVOICES, MONTH)
        ask_by_hand(platform, APPROVE_INVOICES, MONTH, held, run_id="manual__1", person=ACCOUNTANT)
    assert [item.tenant_code for item in held] == ["B"]
    assert outdated()


def test_a_person_asks_for_what_is_held_now(
    database: Database, host: psycopg.Connection, request_: ApprovalRequest
) -> None:
    with database.connect("batch_platform") as platform:
        held = find_held(platform, RequestKind.INVOICES, MONTH, codes=["B"])
        newer = ask_by_hand(platform, APPROVE_INVOICES, MONTH, held, run_id="manual__1", person=ACCOUNTANT)

    assert [item.tenant_code for item in held] == ["B"]
    assert {name: kept["superseded_by"] for name, kept in items(host, request_).items()} == {
        "A": None,
        "B": newer.request_id,
    }
    assert requests(host) == [(request_.request_id, None), (newer.request_id, None)]
    assert approve(database, newer).status == "completed"
    assert invoice(host, "B")["status"] == "finalized"
