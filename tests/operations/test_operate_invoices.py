"""The accountant's operations on invoices: explain, approve, void, credit, reissue. A second attempt changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from include.skillreport.operations.operate_invoices import create_batch as invoice_operations
from local_stack.batch_runs import LOCAL, open_run
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    customer,
    details,
    everything_written,
    explain,
    files,
    host_billing,
    invoice,
    invoices,
    open_operation,
    operate,
    outcomes,
    process,
    reasons,
    run_billing,
    states,
)

SEPTEMBER = date(2026, 9, 1)


@pytest.fixture
def jump(database: Database, host: psycopg.Connection) -> None:
    """A's and B's October come to more than half as much again as their September."""
    billing_rows.jump(database, host)


def test_an_explanation_goes_down_to_the_closed_days_and_changes_nothing(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", active_users=25)
    run_billing(database)
    host.execute("UPDATE batch.usage_day SET active_users = 1, revision = 2")
    rows = everything_written(host)

    report = explain(database)

    billed = invoice(host, "A")
    assert report[0] == "INV-2026-10-001 A 2026-10-01 – 2026-10-31 JPY"
    assert f"入力の SHA-256 {billed['input_hash']}" in report[1]
    assert sum(line.startswith("  2026-10-") for line in report) == 31
    assert "  2. 追加利用者: 2,500（端数処理前 2,500）" in report
    assert report[-1] == "合計 13,750 JPY"
    assert everything_written(host) == rows


def test_an_explanation_numbers_lines_like_the_paper_and_shows_zero_lines(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", storage_gb=12)
    run_billing(database)

    report = explain(database)

    lines = invoice(host, "A")["content"]["lines"]
    shown = [line.strip() for line in report if line.startswith("  ") and line[2] in "–0123456789"]
    shown = [line for line in shown if not line.startswith("2026")]
    assert [line["position"] for line in lines] == [1, 2]
    assert [line for line in shown if not line.startswith("–")] == [
        f"{line['position']}. {line['description']}: {int(line['amount']):,}（端数処理前 {int(line['amount']):,}）"
        for line in lines
    ]
    assert "–. 追加利用者: 0（端数処理前 0）" in shown
    assert shown.index("–. 追加利用者: 0（端数処理前 0）") == 1


# Approving -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("jump")
@pytest.mark.parametrize("name", ["HD001", " HD001 ", "ＨＤ００１", "A"])
def test_an_approval_by_code_or_id_finalizes_only_its_invoice(
    database: Database, host: psycopg.Connection, name: str
) -> None:
    run_billing(database)

    result = operate(database, "approve", name)

    approved = invoice(host, "A")
    assert (approved["status"], approved["number"]) == ("finalized", "INV-2026-10-002")
    assert "（+55.0 %、" in approved["hold_reason"]
    assert approved["approved_by"] == result.execution_id
    assert host_billing(host, approved["invoice_id"])["billing_status"] == "INVOICED"
    assert host_billing(host, approved["invoice_id"])["notes"] is None
    assert result.status == "completed"
    assert invoice(host, "B")["status"] == "draft"


@pytest.mark.usefixtures("jump")
def test_an_approval_is_recorded_only_for_a_held_tenant(database: Database, host: psycopg.Connection) -> None:
    result = operate(database, "approve", "HD001", "C", shards=1)

    assert {row["tenant_id"]: row["approved_by"] for row in invoices(host)} == {
        "A": result.execution_id,
        "C": None,
    }


def test_an_invoice_held_for_unplaced_rows_is_approved_unchanged(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", read_events=10, unplaced_events=1)
    run_billing(database)
    held = invoice(host, "A")
    # More rows are closed, which changes no figure, but is another draft.
    host.execute("UPDATE batch.usage_day SET unplaced_events = 9, revision = 2")
    refused = operate(database, "approve")
    assert reasons(refused)["A"].startswith(
        "保留中の下書きから計算が変わりました。利用者を特定できない操作が 279 件"
    )

    approval = operate(database, "approve")

    approved = invoice(host, "A")
    assert approval.status == "completed"
    assert (approved["invoice_id"], approved["status"]) == (held["invoice_id"], "finalized")
    assert approved["approved_by"] == approval.execution_id
    assert host_billing(host, approved["invoice_id"])["notes"] is None


@pytest.mark.parametrize("accepts", [False, True])
def test_a_reissue_with_rows_that_name_no_person_needs_the_operators_consent(
    database: Database, host: psycopg.Connection, accepts: bool
) -> None:
    customer(host, "A")
    run_billing(database)
    host.execute("UPDATE batch.usage_day SET read_events = 10, unplaced_events = 1, revision = 2")

    result = operate(database, "reissue", reason="訂正", values={"accept_change": accepts})

    if accepts:
        assert [status for status, _ in states(host)] == ["void", "finalized"]
    else:
        assert [status for status, _ in states(host)] == ["finalized"]
        (note,) = outcomes(host, result)["A"]["notes"]
        assert "「取消して再発行」と「大きな変動を認める」で" in note


@pytest.mark.usefixtures("jump")
def test_an_approval_of_a_tenant_that_does_not_exist_is_named(
    database: Database, host: psycopg.Connection
) -> None:
    with pytest.raises(ParameterError, match="NOBODY"):
        operate(database, "approve", "HD001", "NOBODY")

    assert invoices(host) == []


def test_an_approval_with_allow_incomplete_bills_only_the_closed_days(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", last=30)

    refused = operate(database, "approve")
    assert outcomes(host, refused)["A"]["error_code"] == "USAGE_NOT_CLOSED"
    assert operate(database, "approve", values={"allow_incomplete": True}).status == "completed"

    assert invoice(host, "A")["number"] == "INV-2026-10-001"


def test_an_approval_leaves_a_finalised_invoice_as_it_is(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    rows = everything_written(host)

    result = operate(database, "approve")

    assert outcomes(host, result)["A"]["details"]["settlement"] == "already finalized"
    assert everything_written(host) == rows


@pytest.mark.usefixtures("jump")
def test_an_approval_applies_only_to_the_draft_that_was_held(
    database: Database, host: psycopg.Connection
) -> None:
    run_billing(database)
    host.execute(
        "UPDATE batch.usage_day SET active_users = 90, revision = 2 WHERE tenant_id = 'A' AND usage_date >= %s",
        [MONTH],
    )

    held = operate(database, "approve", "HD001")

    hold = "保留中の下書きから計算が変わりました。個別明細を除く小計が前月の 10,000 JPY から 45,000 JPY へ、"
    assert outcomes(host, held)["A"]["error_code"] == "APPROVAL_NEEDED"
    assert reasons(held)["HD001"].startswith(hold)
    draft = invoice(host, "A")
    assert (draft["status"], draft["number"], draft["total"], draft["approved_by"]) == (
        "draft",
        None,
        49_500,
        None,
    )
    assert draft["hold_reason"].startswith(hold)

    approved = operate(database, "approve", "HD001")
    billed = invoice(host, "A")
    assert (billed["status"], billed["total"], billed["approved_by"]) == (
        "finalized",
        49_500,
        approved.execution_id,
    )


# Reissuing -------------------------------------------------------------------------------------------------------------


def test_a_reissue_voids_the_invoice_and_issues_a_new_one(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    customer(host, "B", contact_email=None)
    run_billing(database, store=store)
    untouched = invoice(host, "B")
    host.execute("UPDATE batch.usage_day SET active_users = 22, revision = 2 WHERE tenant_id = 'A'")

    result = operate(database, "reissue", reason="使用量の訂正", store=store)

    assert result.status == "completed"
    old, new = invoices(host, "A")
    assert (old["status"], old["number"], old["total"]) == ("void", "INV-2026-10-001", 11_000)
    assert old["void_reason"] == "使用量の訂正"
    assert (new["status"], new["number"], new["total"]) == ("finalized", "INV-2026-10-003", 12_100)
    cancelled = host_billing(host, old["invoice_id"])
    assert (cancelled["billing_status"], cancelled["notes"]) == ("CANCELLED", "使用量の訂正")
    assert cancelled["total_amount"] == 11_000
    assert host_billing(host, new["invoice_id"])["billing_status"] == "INVOICED"
    assert invoice(host, "B") == untouched
    assert "invoices/2026-10/INV-2026-10-003.pdf" in files(store)
    assert "INV-2026-10-001" in files(store)["accounting/2026-10/accounting-2026-10-未確定.csv"].decode(
        "utf-8-sig"
    )
    letters = host.execute('SELECT id FROM "HIS_NotificationLog" ORDER BY id').fetchall()
    assert letters == sorted([(f"invoice-{old['invoice_id']}",), (f"invoice-{new['invoice_id']}",)])


def _days_are_missing(host: psycopg.Connection) -> None:
    host.execute("DELETE FROM batch.usage_day WHERE tenant_id = 'A' AND usage_date = '2026-10-31'")


def _recipient_is_missing(host: psycopg.Connection) -> None:
    billing_rows.billing_profile(host, "A", recipient_name=" ")


def _recipient_cannot_be_printed(host: psycopg.Connection) -> None:
    billing_rows.billing_profile(host, "A", recipient_name="青葉\a商事")


def _nothing_is_billable(host: psycopg.Connection) -> None:
    host.execute("""UPDATE "MST_Tenant" SET subscription_plan = 'FREE'""")


@pytest.mark.parametrize(
    ("break_tenant", "code"),
    [
        (_days_are_missing, "USAGE_NOT_CLOSED"),
        (_recipient_is_missing, "NOT_QUALIFIED"),
        (_recipient_cannot_be_printed, "UNPRINTABLE_CHARACTER"),
        (_nothing_is_billable, "NOT_BILLABLE_ANY_MORE"),
    ],
)
def test_a_reissue_that_comes_to_no_new_invoice_leaves_the_old_one(
    database: Database,
    host: psycopg.Connection,
    break_tenant: Callable[[psycopg.Connection], None],
    code: str,
) -> None:
    customer(host, "A")
    run_billing(database)
    rows = everything_written(host)
    break_tenant(host)

    result = operate(database, "reissue", reason="訂正")

    assert outcomes(host, result)["A"]["error_code"] == code
    assert everything_written(host) == rows


def test_a_reissue_that_would_be_held_keeps_the_issued_invoice(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(SEPTEMBER, MONTH), contact_email="a@example.jp")
    run_billing(database, SEPTEMBER)
    run_billing(database, store=store)
    rows, written = everything_written(host), files(store)
    host.execute("UPDATE batch.usage_day SET active_users = 31, revision = 2 WHERE usage_date >= %s", [MONTH])

    held = operate(database, "reissue", reason="使用量の訂正", store=store)

    outcome = outcomes(host, held)["A"]
    assert (held.status, outcome["status"]) == ("completed", "success")
    assert outcome["details"]["invoice_number"] == "INV-2026-10-001"
    (note,) = outcome["notes"]
    assert note.startswith("再発行を保留にしました。請求書 INV-2026-10-001 は有効なままです。")
    assert note.endswith(
        "テナントコード 'A'、操作「取消して再発行」と「大きな変動を認める」で実行してください。"
    )
    assert everything_written(host) == rows
    assert files(store) == written

    accepted = {"accept_change": True}
    approved = operate(database, "reissue", reason="使用量の訂正", values=accepted, store=store)
    assert approved.status == "completed"
    old, new = invoices(host, "A")
    assert (old["status"], old["voided_by"]) == ("void", approved.execution_id)
    assert (new["status"], new["total"], new["approved_by"]) == ("finalized", 17_050, approved.execution_id)


def test_a_paid_invoice_is_not_reissued_and_stays_paid(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    customer(host, "B")
    run_billing(database)
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'paid' WHERE tenant_id = 'A'""")

    result = operate(database, "reissue", "A", "B", reason="訂正")

    assert reasons(result) == {
        "A": "請求書 INV-2026-10-001 は入金済みのため取り消せません。訂正するには DAG operate_invoices の"
        "「全額の返還」を使ってください。"
    }
    assert outcomes(host, result)["A"]["error_code"] == "ALREADY_PAID"
    paid = invoice(host, "A")
    assert (paid["status"], paid["number"]) == ("finalized", "INV-2026-10-001")
    assert host_billing(host, paid["invoice_id"])["billing_status"] == "paid"
    assert [row["number"] for row in invoices(host, "B")] == ["INV-2026-10-002", "INV-2026-10-003"]


@pytest.mark.parametrize(
    ("codes", "values", "complaint"),
    [
        (["A"], {"operation": "reissue"}, "「理由」（reason）が必要です"),
        (["A"], {"operation": "void", "reason": " 　"}, "「理由」（reason）が必要です"),
        (["A"], {"operation": "credit", "reason": None}, "「理由」（reason）が必要です"),
        ([], {"operation": "void", "reason": "訂正"}, "「テナントコード」（tenants）が必要です"),
        (["", " 　"], {"operation": "credit", "reason": "訂正"}, "「テナントコード」（tenants）が必要です"),
        ([" "], {}, "操作「内訳の表示」には「テナントコード」（tenants）が必要です"),
        (["A"], {"operation": "bill"}, "'bill' は使えません"),
        (["A"], {"operation": "void", "reason": "訂正", "accept_change": True}, "「大きな変動を認める」"),
    ],
)
def test_a_form_that_does_not_hold_is_refused_before_anything_happens(
    database: Database,
    host: psycopg.Connection,
    codes: list[str],
    values: dict[str, Any],
    complaint: str,
) -> None:
    customer(host, "A")
    run_billing(database)
    rows = everything_written(host)
    runs = host.execute("SELECT count(*) FROM batch.execution_log").fetchone()

    with database.connect("batch_platform") as platform, pytest.raises(ParameterError, match=complaint):
        open_run(platform, OPERATE_INVOICES, invoice_operations(LOCAL), MONTH, codes=codes, parameters=values)

    assert everything_written(host) == rows
    assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == runs


# Voiding and crediting -------------------------------------------------------------------------------------------------


def test_a_void_invoice_keeps_its_number_and_bill_again_takes_the_next(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    customer(host, "B")
    run_billing(database)

    result = operate(database, "void", reason="宛先の誤り")

    assert outcomes(host, result)["A"]["details"] == {"voided": "INV-2026-10-001"}
    voided = invoice(host, "A")
    assert (voided["status"], voided["number"], voided["void_reason"], voided["voided_by"]) == (
        "void",
        "INV-2026-10-001",
        "宛先の誤り",
        result.execution_id,
    )
    assert host_billing(host, voided["invoice_id"])["billing_status"] == "CANCELLED"
    assert invoice(host, "B")["status"] == "finalized"

    operate(database, "bill_again", reason="訂正")
    assert [(row["status"], row["number"]) for row in invoices(host, "A")] == [
        ("void", "INV-2026-10-001"),
        ("finalized", "INV-2026-10-003"),
    ]


@pytest.mark.usefixtures("jump")
def test_a_held_draft_can_be_voided_and_takes_no_number(database: Database, host: psycopg.Connection) -> None:
    run_billing(database)

    assert operate(database, "void", reason="誤り").status == "completed"

    dropped = invoice(host, "A")
    assert (dropped["status"], dropped["number"]) == ("void", None)
    assert host_billing(host, dropped["invoice_id"])["billing_status"] == "CANCELLED"


@pytest.mark.parametrize("billing_status", ["INVOICED", "PAID"])
def test_a_credit_cancels_the_invoice_exactly_and_its_month_is_closed(
    database: Database, host: psycopg.Connection, store: ObjectStore, billing_status: str
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", active_users=25)
    billing_rows.discount(host, "A", value=10)
    run_billing(database, store=store)
    host.execute('UPDATE "HIS_TenantBilling" SET billing_status = %s', [billing_status])
    original = invoice(host, "A")
    shown = host_billing(host, original["invoice_id"])

    result = operate(database, "credit", reason="値引きの誤り", store=store)

    assert outcomes(host, result)["A"]["details"] == {"credited": "CRN-2026-10-001"}
    kept, credit = invoices(host, "A")
    changed = {"credited": True, "credited_total": original["total"], "open_amount": 0}
    assert kept == original | changed | {"closes_month": True}
    row = host_billing(host, original["invoice_id"])
    assert row["notes"] == "返還請求書 CRN-2026-10-001（2026-11-01、12375 JPY）で全額を返還済み"
    assert row | {"notes": shown["notes"], "updated_at": shown["updated_at"]} == shown
    assert (credit["kind"], credit["number"], credit["credits_invoice_id"]) == (
        "credit",
        "CRN-2026-10-001",
        original["invoice_id"],
    )
    assert (credit["total"], credit["issued_on"]) == (-original["total"], FIRST_OF_NOVEMBER)
    assert (credit["credit_reason"], credit["approved_by"]) == ("値引きの誤り", None)
    assert credit["content"]["original_number"] == "INV-2026-10-001"
    for mine, theirs in zip(credit["content"]["lines"], original["content"]["lines"], strict=True):
        assert Decimal(mine["amount"]) == -Decimal(theirs["amount"])
    row = host_billing(host, credit["invoice_id"])
    assert (row["billing_type"], row["billing_status"], row["invoice_number"], row["notes"]) == (
        "CREDIT",
        "INVOICED",
        "CRN-2026-10-001",
        "値引きの誤り",
    )
    for name in ("base_amount", "usage_amount", "discount_amount", "subtotal_amount", "total_amount"):
        assert row[name] == -shown[name] != 0, name
    assert {"invoices/2026-10/CRN-2026-10-001.json", "invoices/2026-10/CRN-2026-10-001.pdf"} < set(
        files(store)
    )

    again = operate(database, "bill_again", reason="契約が続いていた", store=store)
    assert outcomes(host, again)["A"]["details"]["invoice_number"] == "INV-2026-10-002"
    assert [row["number"] for row in invoices(host, "A")] == [
        "INV-2026-10-001",
        "CRN-2026-10-001",
        "INV-2026-10-002",
    ]


@pytest.mark.parametrize(
    ("operation", "values", "verb", "number"),
    [
        ("void", {}, "voided", "INV-2026-10-001"),
        ("credit", {}, "credited", "CRN-2026-10-001"),
        ("part_credit", {"credit_lines": ["1=1000"]}, "credited", "CRN-2026-10-001"),
    ],
)
def test_invoices_of_a_tenant_that_the_application_has_deleted_are_corrected(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    operation: str,
    values: dict[str, Any],
    verb: str,
    number: str,
) -> None:
    customer(host, "A", contact_email="keiri@a.example")
    run_billing(database, store=store)
    host.execute("""DELETE FROM "MST_Tenant" """)

    result = operate(database, operation, reason="解約", values=values, store=store)

    outcome = outcomes(host, result)["A"]
    assert outcome["details"] == {verb: number}
    # BATCH-019-01 sends no letter to it.
    (note,) = outcome["notes"]
    assert note.startswith("請求先のメールアドレスがないため、通知していません")
    if verb == "credited":
        assert f"invoices/2026-10/{number}.pdf" in files(store)


def test_a_month_without_a_live_invoice_cannot_be_operated_on(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    customer(host, "B")
    run_billing(database)
    operate(database, "credit", "A", reason="訂正")
    operate(database, "void", "B", reason="訂正")
    rows = everything_written(host)

    for operation, reason in (("credit", "訂正"), ("void", "訂正"), ("explain", "")):
        result = operate(database, operation, "A", "B", reason=reason)
        assert set(reasons(result).values()) == {"2026-10 の有効な請求書がありません。"}
    assert everything_written(host) == rows


def test_an_invoice_over_nothing_cannot_be_credited(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    billing_rows.discount(host, "A")
    run_billing(database)

    result = operate(database, "credit", reason="訂正")

    assert reasons(result) == {
        "A": "番号のない請求（下書きか請求額 0）は返還できません。返還は番号のある請求書にだけ行えます。"
    }
    assert invoice(host, "A")["credited"] is False


def test_one_tenant_that_cannot_be_operated_on_fails_alone(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    customer(host, "B", "FREE")
    customer(host, "C")
    run_billing(database)

    result = operate(database, "void", "A", "B", "C", reason="訂正")

    assert (result.status, list(reasons(result))) == ("partial", ["B"])
    assert {row["status"] for row in invoices(host)} == {"void"}


@pytest.mark.parametrize(("send_status", "withdrawn"), [("PENDING", True), ("SENT", False)])
def test_a_credit_withdraws_the_letter_of_its_original_unless_sent(
    database: Database, host: psycopg.Connection, send_status: str, withdrawn: bool
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    run_billing(database)
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = %s""", [send_status])

    operate(database, "credit", reason="訂正")

    letters = host.execute(
        """SELECT subject, is_deleted FROM "HIS_NotificationLog" WHERE tenant_id = 'A' ORDER BY subject"""
    ).fetchall()
    assert [(subject.rpartition("】")[2], is_deleted) for subject, is_deleted in letters] == [
        ("2026年10月分 ご請求書 INV-2026-10-001", withdrawn),
        ("ご返金・値引きのお知らせ（適格返還請求書 CRN-2026-10-001）", False),
    ]


# The same run again ----------------------------------------------------------------------------------------------------


def test_a_void_that_is_retried_does_not_turn_to_the_next_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    run_billing(database)
    run = open_operation(database, "void", reason="訂正")
    first = details(process(database, run))
    assert invoice(host, "A")["voided_by"] == run.execution_id
    assert details(process(database, run)) == first == {"voided": "INV-2026-10-001"}
    operate(database, "bill_again", reason="訂正")
    rows = everything_written(host)

    assert details(process(database, run)) == first

    assert everything_written(host) == rows
    assert states(host) == [("void", "INV-2026-10-001"), ("finalized", "INV-2026-10-002")]


def test_another_void_voids_the_next_invoice(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    run_billing(database)
    process(database, open_operation(database, "void", reason="訂正"))
    operate(database, "bill_again", reason="訂正")

    assert details(process(database, open_operation(database, "void", reason="訂正"))) == {
        "voided": "INV-2026-10-002"
    }

    assert states(host) == [("void", "INV-2026-10-001"), ("void", "INV-2026-10-002")]


def test_a_void_of_a_held_draft_repeats_its_result_when_retried(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(SEPTEMBER,))
    run_billing(database, SEPTEMBER)
    billing_rows.close_month(host, "A", active_users=100)
    assert run_billing(database).error_count == 1
    run = open_operation(database, "void", reason="訂正")
    first = details(process(database, run))
    rows = everything_written(host)

    assert details(process(database, run)) == first
    assert everything_written(host) == rows


def test_a_credit_that_is_retried_does_not_turn_to_the_next_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    run = open_operation(database, "credit", reason="訂正")
    process(database, run)
    operate(database, "bill_again", reason="訂正")
    rows = everything_written(host)

    assert details(process(database, run)) == {"credited": "CRN-2026-10-001"}

    assert everything_written(host) == rows
    assert sum(row["total"] for row in invoices(host, "A")) == Decimal(11_000)


def test_a_void_of_one_tenant_in_a_run_stops_no_other(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    run_billing(database)
    run = open_operation(database, "void", reason="訂正")
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
