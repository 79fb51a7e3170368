"""The hook that other teams' DAGs bill with: one tenant at a time, by the same rules, and with the reason where it cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from skill_batch.hooks.billing import BillingHook
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.settlement import Settlement
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.core.settings import SETTINGS_VARIABLE
from tests.batches.tenant_management import billing_rows
from tests.batches.tenant_management.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    customer,
    everything_written,
    host_billing,
    invoice,
    invoices,
    run_billing,
)
from tests.conftest import Database

SEPTEMBER = date(2026, 9, 1)


@pytest.fixture
def database(shared_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """With both Airflow connections pointing at it."""
    for role in ("batch_tenant", "batch_platform"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{role.upper()}_DB", shared_database.airflow_connection(role))
    return shared_database


@pytest.fixture
def hook(database: Database) -> BillingHook:  # noqa: ARG001 - the connections must be there first
    return BillingHook()


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the installation's variable names."""
    monkeypatch.setenv("AIRFLOW_VAR_BATCH_STORAGE_URL", f" file://{tmp_path}/storage ")
    return tmp_path / "storage"


def finalize(hook: BillingHook, tenant_id: str = "A", month: date = MONTH) -> str:
    """Finalise the tenant's month, and nothing that is finalised already; returns the number."""
    settled = hook.finalize(tenant_id, month, issued_on=FIRST_OF_NOVEMBER, actor="the billing DAG")
    assert settled.settlement is Settlement.FINALIZED, settled
    assert settled.number is not None
    return settled.number


@pytest.mark.parametrize("call", ["approve", "reissue", "void", "credit"])
def test_with_a_sample_nothing_is_finalised_and_nothing_finalised_is_touched(
    hook: BillingHook, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    customer(host, "A", months=(SEPTEMBER, MONTH))
    number = finalize(hook, month=SEPTEMBER)
    rows = everything_written(host)
    monkeypatch.delenv(SETTINGS_VARIABLE)
    hook = BillingHook()  # a hook reads the terms once

    if call == "approve":
        settled = hook.approve("A", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="somebody")
        assert (settled.settlement, settled.number) == (Settlement.SAMPLE, None)
        assert invoice(host, "A")["status"] == "draft"
    elif call == "reissue":
        settled = hook.reissue("A", SEPTEMBER, "訂正", issued_on=FIRST_OF_NOVEMBER, actor="somebody")
        assert (settled.settlement, settled.code) == (Settlement.FAILED, "SAMPLE_TERMS")
    else:
        dates = {"issued_on": FIRST_OF_NOVEMBER} if call == "credit" else {}
        with pytest.raises(BillingError, match="見本"):
            getattr(hook, call)("A", number, "訂正", actor="somebody", **dates)
    changed = {name for name, now in everything_written(host).items() if now != rows[name]}
    assert changed == ({"invoice"} if call == "approve" else set())


# Whom, and with what -----------------------------------------------------------------------------------------------------


def test_the_tenants_of_a_month_are_those_in_use_and_those_that_still_owe_it(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A", tenant_code="CODE-A", tenant_name="青葉商事")
    customer(host, "B", months=(), status="EXPIRED", contract_end_date=datetime(2026, 10, 9))
    customer(host, "C", months=(), status="EXPIRED", contract_end_date=datetime(2026, 9, 9))
    customer(host, "D", months=(), status="TRIAL")
    customer(host, "E", months=(), status="SUSPENDED")

    assert hook.billable_tenants(date(2026, 10, 17)) == [
        Tenant("A", "CODE-A", "青葉商事"),
        Tenant("B", "B", "B"),
        Tenant("D", "D", "D"),
    ]
    assert [tenant.id for tenant in hook.billable_tenants(SEPTEMBER)] == ["A", "B", "C", "D"]


def test_a_tenant_is_found_by_its_code_and_else_by_its_id_whatever_its_status(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A", tenant_code="B")
    customer(host, "B", tenant_code="HD001", status="deleted")

    assert hook.tenant_id_of("B") == "A"
    assert hook.tenant_id_of("HD001") == "B"
    assert hook.tenant_id_of("A") == "A"
    with pytest.raises(BillingError, match="テナント 'nobody' は存在しません"):
        hook.tenant_id_of("nobody")


def test_the_closed_days_are_those_of_the_tenant_and_the_month(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(SEPTEMBER,))
    billing_rows.close_month(host, "A", first=30, api_calls=7, storage_gb=1)
    customer(host, "B")

    assert [(day.usage_date, day.api_calls, day.storage_bytes) for day in hook.usage_of("A", MONTH)] == [
        (date(2026, 10, 30), 7, 1_073_741_824),
        (date(2026, 10, 31), 7, 1_073_741_824),
    ]
    assert hook.usage_of("nobody", MONTH) == ()


def test_a_figure_without_a_record_is_none_and_not_0(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A", months=())
    billing_rows.without_records(host, "A")

    day = hook.usage_of("A", MONTH)[0]
    assert (day.active_users, day.api_calls, day.storage_bytes, day.reports_generated) == (
        25,
        None,
        None,
        None,
    )
    assert [
        line.split("  ")[2:5] for line in hook.explain("A", finalize(hook)) if "2026-10-01  " in line
    ] == [["25", "記録なし", "記録なし"]]


# Pricing and finalising --------------------------------------------------------------------------------------------------


def test_a_price_is_an_answer_and_writes_nothing(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", last=30, active_users=25)

    refused = hook.price("A", MONTH)
    priced = hook.price("A", date(2026, 10, 17), allow_incomplete=True)

    assert (refused.settlement, refused.code) == (Settlement.FAILED, "USAGE_NOT_CLOSED")
    assert refused.reason is not None
    assert "（1 日: 2026-10-31）" in refused.reason
    assert (priced.settlement, priced.invoice and priced.invoice.total) == (
        Settlement.PRICED,
        Decimal(13_750),
    )
    assert not any(everything_written(host).values())


def test_a_month_is_finalised_once_and_only_for_the_tenant(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    customer(host, "B")

    first = hook.finalize("A", date(2026, 10, 31), issued_on=date(2026, 11, 5), actor="請求 DAG")
    rows = everything_written(host)
    second = hook.finalize("A", MONTH, issued_on=date(2026, 11, 6), actor="somebody else")

    assert (first.settlement, first.number) == (Settlement.FINALIZED, "INV-2026-10-001")
    billed = invoice(host, "A")
    assert (billed["issued_on"], billed["execution_id"], billed["approved_by"]) == (
        date(2026, 11, 5),
        "請求 DAG",
        None,
    )
    assert host_billing(host, billed["invoice_id"])["billing_status"] == "INVOICED"
    assert host.execute('SELECT scheduled_at FROM "HIS_NotificationLog"').fetchall() == [
        (datetime(2026, 11, 5, 0, 0),)
    ]
    assert (second.settlement, second.number) == (Settlement.ALREADY_FINALIZED, "INV-2026-10-001")
    assert everything_written(host) == rows
    assert [row["tenant_id"] for row in invoices(host)] == ["A"]


def test_what_the_batch_has_finalised_the_hook_leaves_as_it_is(
    hook: BillingHook, database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)

    settled = hook.finalize("A", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="somebody")

    assert settled.settlement is Settlement.ALREADY_FINALIZED


def test_incomplete_days_are_billed_with_allow_incomplete(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", last=1)

    settled = hook.finalize("A", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="somebody", allow_incomplete=True)

    assert settled.number == "INV-2026-10-001"


def test_a_held_invoice_is_approved_under_the_name_of_who_did_it(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(SEPTEMBER,))
    finalize(hook, month=SEPTEMBER)
    billing_rows.close_month(host, "A", active_users=100)

    held = hook.finalize("A", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="somebody")
    assert (held.settlement, held.code, held.number) == (Settlement.HELD, "APPROVAL_NEEDED", None)
    assert invoice(host, "A")["status"] == "draft"

    approved = hook.approve("A", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="経理部 佐藤")
    assert (approved.settlement, approved.number) == (Settlement.FINALIZED, "INV-2026-10-001")
    assert invoice(host, "A")["approved_by"] == "経理部 佐藤"


def test_a_month_without_a_price_list_has_no_price(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A", months=(date(2026, 3, 1),))

    priced = hook.price("A", date(2026, 3, 1))

    assert (priced.settlement, priced.code) == (Settlement.FAILED, "NO_PRICE_LIST")


# Taking back -------------------------------------------------------------------------------------------------------------


def test_a_reissued_invoice_gets_a_new_number_and_the_old_one_is_kept(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A")
    finalize(hook)
    host.execute("UPDATE batch.usage_day SET active_users = 100, revision = 2")

    reissued = hook.reissue("A", MONTH, "使用量の訂正", issued_on=FIRST_OF_NOVEMBER, actor="somebody")

    assert (reissued.settlement, reissued.number) == (Settlement.FINALIZED, "INV-2026-10-002")
    old, new = invoices(host, "A")
    assert (old["status"], old["number"], old["void_reason"]) == ("void", "INV-2026-10-001", "使用量の訂正")
    assert (new["status"], new["total"]) == ("finalized", 55_000)
    assert host_billing(host, old["invoice_id"])["billing_status"] == "CANCELLED"


def test_a_new_total_that_would_be_held_leaves_the_old_invoice_unless_it_is_approved(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(SEPTEMBER, MONTH))
    finalize(hook, month=SEPTEMBER)
    finalize(hook)
    host.execute(
        "UPDATE batch.usage_day SET active_users = 100, revision = 2 WHERE usage_date >= %s", [MONTH]
    )
    rows = everything_written(host)

    held = hook.reissue("A", MONTH, "使用量の訂正", issued_on=FIRST_OF_NOVEMBER, actor="経理部 佐藤")

    assert (held.settlement, held.code) == (Settlement.HELD, "APPROVAL_NEEDED")
    assert everything_written(host) == rows

    approved = hook.reissue(
        "A", MONTH, "使用量の訂正", issued_on=FIRST_OF_NOVEMBER, actor="経理部 佐藤", approve=True
    )
    assert (approved.settlement, approved.number) == (Settlement.FINALIZED, "INV-2026-10-002")
    old, new = invoices(host, "A")
    assert (old["status"], old["voided_by"]) == ("void", "経理部 佐藤")
    assert (new["approved_by"], new["total"]) == ("経理部 佐藤", 55_000)


def test_who_has_finalised_an_invoice_may_also_reissue_it(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A")
    hook.finalize("A", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="経理部 佐藤")
    host.execute("UPDATE batch.usage_day SET active_users = 22, revision = 2")

    reissued = hook.reissue("A", MONTH, "使用量の訂正", issued_on=FIRST_OF_NOVEMBER, actor="経理部 佐藤")

    assert (reissued.settlement, reissued.number) == (Settlement.FINALIZED, "INV-2026-10-002")
    assert [(row["status"], row["total"]) for row in invoices(host, "A")] == [
        ("void", 11_000),
        ("finalized", 12_100),
    ]


def test_a_paid_invoice_is_not_reissued(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A")
    finalize(hook)
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID'""")
    rows = everything_written(host)

    refused = hook.reissue("A", MONTH, "訂正", issued_on=FIRST_OF_NOVEMBER, actor="somebody")

    assert (refused.settlement, refused.code) == (Settlement.FAILED, "ALREADY_PAID")
    assert everything_written(host) == rows


@pytest.mark.parametrize("reason", ["", "  "])
@pytest.mark.parametrize("method", ["reissue", "void", "credit"])
def test_nothing_is_taken_back_without_a_reason(
    hook: BillingHook, host: psycopg.Connection, method: str, reason: str
) -> None:
    customer(host, "A")
    number = finalize(hook)
    rows = everything_written(host)
    attempts: dict[str, Callable[[], object]] = {
        "reissue": lambda: hook.reissue("A", MONTH, reason, issued_on=FIRST_OF_NOVEMBER, actor="somebody"),
        "void": lambda: hook.void("A", number, reason, actor="somebody"),
        "credit": lambda: hook.credit("A", number, reason, issued_on=FIRST_OF_NOVEMBER, actor="somebody"),
    }

    with pytest.raises(BillingError, match="理由が必要です"):
        attempts[method]()

    assert everything_written(host) == rows


def test_a_voided_invoice_is_given_back_as_it_stands(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A")
    number = finalize(hook)

    voided = hook.void("A", number, "宛先の誤り", actor="経理部 佐藤")

    assert (voided.status, voided.invoice.number) == ("void", number)
    row = invoice(host, "A")
    assert (row["void_reason"], row["voided_by"]) == ("宛先の誤り", "経理部 佐藤")
    assert finalize(hook) == "INV-2026-10-002"
    with pytest.raises(BillingError, match="請求書 INV-2026-10-001 は取消済みです"):
        hook.void("A", number, "もう一度", actor="somebody")


def test_a_credit_is_given_back_with_its_number_and_leaves_the_original_credited(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A")
    number = finalize(hook)

    credit = hook.credit("A", number, "訂正", issued_on=date(2026, 11, 9), actor="somebody")

    assert (credit.invoice.number, credit.invoice.original_number) == ("CRN-2026-10-001", number)
    assert (credit.status, credit.invoice.total, credit.invoice.issued_on) == (
        "finalized",
        Decimal(-11_000),
        date(2026, 11, 9),
    )
    assert hook.invoice("A", number).credited
    assert invoices(host, "A")[1]["execution_id"] == "somebody"
    with pytest.raises(BillingError, match="返還済みです"):
        hook.credit("A", number, "もう一度", issued_on=date(2026, 11, 9), actor="somebody")


# Errors ------------------------------------------------------------------------------------------------------------------


def test_a_part_is_credited_and_the_month_stays_billed(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "T1")
    hook.finalize("T1", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="test")

    note = hook.credit(
        "T1",
        "INV-2026-10-001",
        "障害",
        issued_on=FIRST_OF_NOVEMBER,
        actor="test",
        parts=[CreditedPart(1, amount=Decimal(1000))],
    )

    assert (note.invoice.number, note.invoice.total) == ("CRN-2026-10-001", Decimal(-1100))
    original = hook.invoice("T1", "INV-2026-10-001")
    assert (original.credited, original.credited_total) == (False, Decimal(1100))


def test_a_one_off_line_is_on_the_invoice_of_its_month(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "T1")
    line = ExtraCharge(
        charged_on=date(2026, 10, 5),
        description="作業費",
        quantity=Decimal(2),
        unit="式",
        unit_amount=Decimal(2500),
        currency="JPY",
        tax_category=TaxCategory.STANDARD,
    )

    hook.enter_line("T1", line, entered_by="経理")

    settlement = hook.finalize("T1", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="test")
    assert settlement.total == Decimal(16_500)
    assert settlement.invoice is not None
    assert settlement.invoice.lines[-1].description == "作業費"


def test_a_month_without_a_difference_carries_nothing(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "T1")
    hook.finalize("T1", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="test")

    with pytest.raises(BillingError, match="差額はありません"):
        hook.carry_difference("T1", MONTH, entered_by="経理")


def test_a_tenant_that_does_not_exist_is_named(hook: BillingHook) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: hook.price("nobody", MONTH),
        lambda: hook.finalize("nobody", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="somebody"),
        lambda: hook.approve("nobody", MONTH, issued_on=FIRST_OF_NOVEMBER, actor="somebody"),
        lambda: hook.reissue("nobody", MONTH, "訂正", issued_on=FIRST_OF_NOVEMBER, actor="somebody"),
    ]
    for attempt in attempts:
        with pytest.raises(BillingError, match="テナント 'nobody' は存在しません"):
            attempt()


@pytest.mark.parametrize("number", ["INV-2026-10-777", "INV-2026-10-002", "", "' OR true --"])
def test_a_number_that_the_tenant_does_not_have_is_named(
    hook: BillingHook, host: psycopg.Connection, number: str
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
        finalize(hook, tenant_id)
    rows = everything_written(host)

    attempts: list[Callable[[], object]] = [
        lambda: hook.invoice("A", number),
        lambda: hook.explain("A", number),
        lambda: hook.document("A", number),
        lambda: hook.void("A", number, "訂正", actor="somebody"),
        lambda: hook.credit("A", number, "訂正", issued_on=FIRST_OF_NOVEMBER, actor="somebody"),
    ]
    for attempt in attempts:
        with pytest.raises(BillingError, match=f"請求書 {number} は存在しません"):
            attempt()

    assert everything_written(host) == rows


def test_a_connection_that_works_is_said_to_work(hook: BillingHook) -> None:
    assert hook.test_connection() == (True, "Connection successfully tested")
    with hook.get_conn() as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("batch_tenant",)


def test_a_connection_that_is_missing_is_named(hook: BillingHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_BATCH_PLATFORM_DB")

    works, message = hook.test_connection()

    assert not works
    assert message.startswith("Airflow の接続 'batch_platform_db' が定義されていません")


# Explanations and documents ----------------------------------------------------------------------------------------------


def test_an_explanation_says_what_was_calculated_then(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", active_users=25)
    number = finalize(hook)
    host.execute("DELETE FROM batch.usage_day")

    lines = list(hook.explain("A", number))

    assert lines[0] == "INV-2026-10-001 A 2026-10-01 – 2026-10-31 JPY"
    assert "  2. 追加利用者: 2,500（端数処理前 2,500）" in lines
    assert lines[-1] == "合計 13,750 JPY"


def test_the_explanation_of_a_credit_names_the_invoice_that_it_cancels(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A")
    number = finalize(hook)
    hook.credit("A", number, "訂正", issued_on=FIRST_OF_NOVEMBER, actor="somebody")

    assert list(hook.explain("A", "CRN-2026-10-001")) == [
        "CRN-2026-10-001 は INV-2026-10-001 の全額を取り消す返還請求書です。内訳は元の請求書を表示してください。"
    ]


def test_a_document_has_the_bytes_that_are_in_the_object_store(
    hook: BillingHook, host: psycopg.Connection, storage: Path
) -> None:
    customer(host, "A")
    number = finalize(hook)
    hook.write_documents("A", date(2026, 10, 17))
    hook.write_accounting_files(date(2026, 11, 17))

    folder = storage / "invoices/2026-10"
    assert sorted(path.name for path in folder.iterdir()) == [
        "INV-2026-10-001.json",
        "INV-2026-10-001.pdf",
    ]
    for format_name in ("pdf", "json"):
        content = (folder / f"{number}.{format_name}").read_bytes()
        assert hook.document("A", number, format_name) == content
        recorded = host.execute(
            "SELECT location, sha256 FROM batch.invoice_document WHERE format = %s", [format_name]
        ).fetchone()
        assert recorded == (
            f"file://{folder}/{number}.{format_name}",
            hashlib.sha256(content).hexdigest(),
        )
    assert (
        Invoice.model_validate_json(hook.document("A", number, "json")) == hook.invoice("A", number).invoice
    )
    assert hook.document("A", number) == hook.document("A", number, "pdf")
    assert number in (storage / "accounting/2026-11/accounting-2026-11.csv").read_text("utf-8-sig")
