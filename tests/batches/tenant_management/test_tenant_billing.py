"""BATCH-018-02 on real rows: the billed tenants and amounts, failures of single tenants, and the effect of a second run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import UnitFailure
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.local_run import KilledError
from tests.conftest import Database
from tests.worlds import billing_rows, host_rows
from tests.worlds.accounting_rows import keys, listed
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    OCTOBER,
    bill_as_task,
    customer,
    everything_written,
    files,
    host_billing,
    invoice,
    invoices,
    numbers,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.documents import pages_of

SEPTEMBER, NOVEMBER = date(2026, 9, 1), date(2026, 11, 1)


# An ordinary month -------------------------------------------------------------------------------------------------------


def test_invisible_characters_of_the_applications_names_are_removed(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", tenant_name="青葉\u202e商\u200b事", address="千代田\u20661-1")

    result = run_billing(database)

    recipient = invoice(host, "A")["content"]["recipient"]
    assert (recipient["name"], recipient["address"]) == ("青葉商事", "千代田1-1")
    assert outcomes(host, result)["A"]["notes"] == ["請求先の名前か住所から、見えない文字を除きました"]


def test_a_months_usage_becomes_a_numbered_invoice(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", last=30, active_users=12, api_calls=4_000, storage_gb=12)
    billing_rows.close_month(host, "A", first=31, active_users=25, api_calls=5_000, storage_gb=12)

    result = run_billing(database)

    assert result.status == "completed"
    billed = invoice(host, "A")
    assert (billed["status"], billed["number"], billed["issued_on"], billed["due_on"]) == (
        "finalized",
        "INV-2026-10-001",
        FIRST_OF_NOVEMBER,
        date(2026, 11, 30),
    )
    # 10,000, 5 more users at 500, 2 more GB at 100, 25,000 more calls in 3 packages at 200; and 10 % tax.
    assert [line["amount"] for line in billed["content"]["lines"]] == ["10000", "2500", "200", "600"]
    assert billed["total"] == Decimal(14_630)
    outcome = outcomes(host, result)["A"]
    assert outcome["details"] == {
        "settlement": "finalized",
        "invoice_number": "INV-2026-10-001",
        "generatedInvoices": 1,
        "totalAmountJPY": 14_630,
    }
    assert (outcome["records"], outcome["notes"]) == (31, [])


def test_the_applications_row_has_the_amounts_and_the_japanese_dates_at_midnight(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "STANDARD", months=())
    billing_rows.close_month(host, "A", reports_generated=10)
    billing_rows.discount(host, "A", name="割引", value=10)
    billing_rows.discount(host, "A", name="値引き", kind="fixed", value=790, currency="JPY")
    billing_rows.commitment(host, "A", 40_000)

    run_billing(database)

    billed = invoice(host, "A")
    row = host_billing(host, billed["invoice_id"])
    midnight = datetime(2026, 10, 1, 0, 0, 0)
    assert (row["billing_period_start"], row["billing_period_end"]) == (midnight, datetime(2026, 10, 31))
    assert (row["invoice_date"], row["due_date"]) == (datetime(2026, 11, 1), datetime(2026, 11, 30))
    assert {name: row[name] for name in row if name.endswith(("_amount", "_rate"))} == {
        "base_amount": 30_000,
        "usage_amount": 3_100,
        "discount_amount": 3_310 + 790,
        "additional_amount": 11_000,
        "subtotal_amount": 40_000,
        "tax_rate": 10,
        "tax_amount": 4_000,
        "total_amount": 44_000,
    }
    assert (row["tenant_id"], row["billing_type"], row["plan_id"], row["plan_name"]) == (
        "A",
        "MONTHLY",
        "STANDARD",
        "スタンダードプラン",
    )
    assert (row["currency_code"], row["billing_status"], row["invoice_number"], row["notes"]) == (
        "JPY",
        "INVOICED",
        "INV-2026-10-001",
        None,
    )


def test_a_figure_without_records_is_a_remark_and_not_a_line(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=())
    billing_rows.without_records(host, "A")
    remarks = [
        "ストレージの記録がないため、「追加ストレージ」は請求していません",
        "API 呼び出しの記録がないため、「API 呼び出し（1 万回単位）」は請求していません",
    ]

    (dry,) = bill_as_task(database, dry_run=True).results
    result = run_billing(database, store=store)

    assert (list(dry.notes), result.status) == (remarks, "completed")
    assert outcomes(host, result)["A"]["notes"] == remarks
    billed = invoice(host, "A")
    assert [line["amount"] for line in billed["content"]["lines"]] == ["10000", "2500"]
    assert billed["content"]["remarks"] == remarks
    assert [day["api_calls"] for day in billed["inputs"]["usage_days"]] == [None] * 31
    details = json.loads(host_billing(host, billed["invoice_id"])["usage_details"])
    assert details == [
        *billed["content"]["lines"],
        *({"kind": "remark", "description": remark} for remark in remarks),
    ]
    pdf = next(content for key, content in files(store).items() if key.endswith(".pdf"))
    text = "".join(pages_of(pdf)[0].split())
    assert all("".join(remark.split()) in text for remark in remarks)
    assert "0回" not in text


def test_every_commitment_of_the_month_counts_for_its_own_days(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    for first, last, amount in ((1, 30, 400_000), (31, 31, 550_000)):
        days = {"valid_from": MONTH.replace(day=first), "valid_to": MONTH.replace(day=last)}
        billing_rows.commitment(host, "A", amount, **days)
    before, after = {"valid_to": date(2026, 9, 30)}, {"valid_from": date(2026, 11, 1)}
    billing_rows.commitment(host, "A", 900_000, **before)
    billing_rows.commitment(host, "A", 900_000, **after)

    run_billing(database)

    billed = invoice(host, "A")
    assert billed["content"]["subtotal"] == "404838"
    assert [own["amount"] for own in billed["inputs"]["commitments"]] == ["400000", "550000"]


def test_a_foreign_currency_is_billed_with_its_tax_in_yen(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "STANDARD", currency_code="usd")
    billing_rows.exchange_rate(host, date(2026, 10, 30), "150.25")
    billing_rows.exchange_rate(host, date(2026, 10, 15), "999")
    billing_rows.exchange_rate(host, date(2026, 11, 1), "888")

    run_billing(database)

    billed = invoice(host, "A")
    assert (billed["currency"], billed["total"]) == ("USD", Decimal("220.00"))
    (in_yen,) = billed["content"]["yen_tax"]["totals"]
    assert (in_yen["taxable_amount"], in_yen["tax_amount"]) == ("30050", "3005")
    assert billed["content"]["yen_tax"]["rate_date"] == "2026-10-30"
    assert host_billing(host, billed["invoice_id"])["tax_amount"] == Decimal("20.00")


def test_a_plan_that_began_after_the_month_does_not_price_it(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "PREMIUM")
    billing_rows.plan_change(host, "A", date(2026, 4, 1), "BASIC")
    billing_rows.plan_change(host, "A", date(2026, 11, 1), "PREMIUM")

    run_billing(database)

    assert invoice(host, "A")["total"] == Decimal(11_000)


def test_free_and_trial_tenants_get_no_invoice_and_use_up_no_number(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "FREE")
    customer(host, "B", "PREMIUM", status="TRIAL")
    customer(host, "C", "BASIC")
    billing_rows.plan_change(host, "C", date(2026, 1, 1), "TRIAL")
    customer(host, "D", "BASIC")

    result = run_billing(database)

    assert result.status == "completed"
    assert [(row["tenant_id"], row["number"]) for row in invoices(host)] == [("D", "INV-2026-10-001")]
    assert host.execute('SELECT tenant_id FROM "HIS_TenantBilling"').fetchall() == [("D",)]
    for tenant_id in ("A", "B", "C"):
        outcome = outcomes(host, result)[tenant_id]
        assert outcome["details"] == {"settlement": "not billable"}
        assert outcome["notes"] == ["請求対象の契約がありません（無料・試用のプラン）"]


def test_days_after_a_trial_are_billed_without_closed_trial_days(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.plan_change(host, "A", date(2026, 9, 1), "TRIAL")
    billing_rows.plan_change(host, "A", date(2026, 10, 22), "BASIC")
    billing_rows.close_month(host, "A", first=22, active_users=1)

    assert run_billing(database).status == "completed"

    (line,) = invoice(host, "A")["content"]["lines"]
    assert (line["amount"], line["service_from"]) == ("3225", "2026-10-22")


def test_a_total_of_nothing_is_closed_without_number_documents_or_letter(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    billing_rows.discount(host, "A", value=100)
    customer(host, "B", contact_email=None)

    result = run_billing(database, store=store)

    billed = invoice(host, "A")
    assert (billed["status"], billed["number"], billed["total"]) == ("finalized", None, 0)
    assert outcomes(host, result)["A"]["details"] == {"settlement": "nothing to pay", "totalAmountJPY": 0}
    row = host_billing(host, billed["invoice_id"])
    assert (row["billing_status"], row["invoice_number"], row["total_amount"], row["notes"]) == (
        "INVOICED",
        None,
        0,
        "請求額 0 のため請求書番号なし",
    )
    assert numbers(host) == ["INV-2026-10-001"]
    assert host.execute("SELECT DISTINCT tenant_id FROM batch.invoice_document").fetchall() == [("B",)]
    assert host.execute('SELECT count(*) FROM "HIS_NotificationLog"').fetchone() == (0,)
    again = run_billing(database)
    assert outcomes(host, again)["A"]["details"] == {"settlement": "already finalized"}


def test_an_invoice_is_dated_on_the_run_but_after_its_month(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    customer(host, "B")

    bill_as_task(database, codes=["A"], run_date=date(2026, 12, 3))
    bill_as_task(database, codes=["B"], run_date=date(2026, 10, 20))

    assert [(row["issued_on"], row["due_on"]) for row in invoices(host)] == [
        (date(2026, 12, 3), date(2027, 1, 4)),
        (date(2026, 11, 1), date(2026, 11, 30)),
    ]


# The same month again ----------------------------------------------------------------------------------------------------


def test_a_finalised_month_stays_as_it_is_and_the_run_says_so(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    customer(host, "B", "STANDARD", contact_email="b@example.jp")
    run_billing(database, store=store)
    rows, written = everything_written(host), files(store)

    again = run_billing(database, store=store)

    assert again.status == "completed"
    assert everything_written(host) == rows
    assert files(store) == written
    assert outcomes(host, again)["A"]["details"] == {
        "settlement": "already finalized",
        "invoice_number": "INV-2026-10-001",
    }
    assert outcomes(host, again)["A"]["notes"] == [
        "請求書 INV-2026-10-001 は確定済みのため、そのままです（計算し直すには DAG operate_invoices の「取消して再発行」）"
    ]


def test_days_that_were_closed_again_change_no_finalised_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    host.execute("UPDATE batch.usage_day SET active_users = 1000, revision = 2")
    rows = everything_written(host)

    assert run_billing(database).status == "completed"

    assert everything_written(host) == rows


def test_the_business_date_may_be_any_day_of_the_month(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    run_billing(database, date(2026, 10, 17))
    run_billing(database, date(2026, 10, 31))

    assert (invoice(host, "A")["period_start"], invoice(host, "A")["period_end"]) == (
        OCTOBER.start,
        OCTOBER.end,
    )


# Failures of single tenants ------------------------------------------------------------------------------------------------


def test_days_that_are_not_closed_stop_their_tenant_until_they_are(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", without=(7, 31))
    customer(host, "B")

    first = run_billing(database)

    assert (first.status, first.success_count) == ("partial", 1)
    assert reasons(first)["A"].startswith(
        "使用量が締まっていない日があります（2 日: 2026-10-07、2026-10-31）"
    )
    assert outcomes(host, first)["A"]["error_code"] == "USAGE_NOT_CLOSED"
    assert [row["tenant_id"] for row in invoices(host)] == ["B"]

    billing_rows.close_month(host, "A", first=7, last=7)
    billing_rows.close_month(host, "A", first=31, last=31)
    assert run_billing(database).status == "completed"
    assert (invoice(host, "A")["number"], invoice(host, "B")["number"]) == (
        "INV-2026-10-002",
        "INV-2026-10-001",
    )


def test_an_operator_may_bill_the_days_that_are_closed(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", without=(7,), api_calls=10_000)

    assert run_billing(database, parameters={"allow_incomplete": True}).status == "completed"

    billed = invoice(host, "A")
    assert billed["total"] == Decimal(15_400)  # 200,000 of 300,000 calls in 20 packages
    assert (billed["inputs"]["allow_incomplete"], len(billed["inputs"]["usage_days"])) == (True, 30)


def test_a_month_without_any_closed_day_is_never_billed(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A", months=())

    result = run_billing(database, parameters={"allow_incomplete": True})

    assert outcomes(host, result)["A"]["error_code"] == "USAGE_NOT_CLOSED"
    assert "（31 日: 2026-10-01、" in reasons(result)["A"]
    assert "2026-10-10 ほか 21 日）" in reasons(result)["A"]
    assert invoices(host) == []


def _no_plan(host: psycopg.Connection) -> None:
    customer(host, "X", None)


def _unknown_plan(host: psycopg.Connection) -> None:
    customer(host, "X", "GOLD")


def _no_price(host: psycopg.Connection) -> None:
    customer(host, "X", "BASIC", currency_code="USD")


def _no_exchange_rate(host: psycopg.Connection) -> None:
    customer(host, "X", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 9, 30), "150")
    billing_rows.exchange_rate(host, date(2026, 11, 1), "150")


def _no_recipient(host: psycopg.Connection) -> None:
    customer(host, "X")
    billing_rows.billing_profile(host, "X", recipient_name="　")


def _unprintable_recipient(host: psycopg.Connection) -> None:
    customer(host, "X", tenant_name="株式会社\U0001f680")


def _recipient_that_rings(host: psycopg.Connection) -> None:
    customer(host, "X", tenant_name="株式会社\a鈴")


def _discount_in_another_currency(host: psycopg.Connection) -> None:
    customer(host, "X")
    billing_rows.discount(host, "X", kind="fixed", value=5, currency="USD")


def _commitment_in_another_currency(host: psycopg.Connection) -> None:
    customer(host, "X")
    billing_rows.commitment(host, "X", 100, currency="USD")


def _left_on_an_unknown_day(host: psycopg.Connection) -> None:
    customer(host, "X", status="EXPIRED")


def _left_on_no_day(host: psycopg.Connection) -> None:
    customer(host, "X", status="EXPIRED", contract_end_date="9999-12-31 23:59:59")


def _always_under_contract(host: psycopg.Connection) -> None:
    customer(host, "X", contract_start_date="-infinity")


def _never_under_contract(host: psycopg.Connection) -> None:
    customer(host, "X", contract_start_date="9999-12-31 23:59:59")


def _created_before_all_time(host: psycopg.Connection) -> None:
    customer(host, "X", created_at="-infinity")


@pytest.mark.parametrize(
    ("break_tenant", "drafts", "code", "reason"),
    [
        (_no_plan, 0, "NO_PLAN", "プランが設定されていません。アプリのテナントのプランか"),
        (_unknown_plan, 0, "UNKNOWN_PLAN", "プラン 'GOLD' は料金表（2026-04-01 版）にありません。"),
        (_no_price, 0, "NO_PRICE", "プラン BASIC に通貨 USD の価格がありません（料金表 2026-04-01 版）。"),
        (_no_exchange_rate, 0, "NO_EXCHANGE_RATE", "USD の円換算レートがありません（2026-10-31 以前、"),
        (_no_recipient, 1, "NOT_QUALIFIED", "適格請求書の記載事項が欠けているため確定できません: 交付を受ける"),
        (_unprintable_recipient, 1, "UNPRINTABLE_CHARACTER", "請求書に印刷できない文字「\U0001f680」があります。"),
        (_recipient_that_rings, 1, "UNPRINTABLE_CHARACTER", "請求書に印刷できない文字「U+0007」があります。"),
        (_discount_in_another_currency, 0, "DISCOUNT_CURRENCY", "値引き「特別値引き」の通貨 USD がテナントの通貨 JPY"),
        (_commitment_in_another_currency, 0, "COMMITMENT_CURRENCY", "最低利用料金の通貨 USD がテナントの通貨 JPY"),
        (_left_on_an_unknown_day, 0, "CONTRACT_END_UNKNOWN", "状態が EXPIRED ですが、契約終了日もプランの終了も"),
        (_left_on_no_day, 0, "CONTRACT_END_UNKNOWN", "状態が EXPIRED ですが、契約終了日もプランの終了も"),
        (_always_under_contract, 0, "CONTRACT_START_UNKNOWN", "契約開始日が日付ではありません"),
        (_never_under_contract, 0, "CONTRACT_START_UNKNOWN", "契約開始日が日付ではありません"),
        (_created_before_all_time, 0, "CONTRACT_START_UNKNOWN", "契約開始日が日付ではありません"),
    ],
)  # fmt: skip
def test_a_tenant_that_cannot_be_billed_fails_alone_with_the_reason(
    database: Database,
    host: psycopg.Connection,
    break_tenant: Callable[[psycopg.Connection], None],
    drafts: int,
    code: str,
    reason: str,
) -> None:
    customer(host, "A")
    break_tenant(host)
    customer(host, "Z")

    result = run_billing(database, shards=1)

    assert (result.status, result.success_count, result.error_count) == ("partial", 2, 1)
    assert outcomes(host, result)["X"]["error_code"] == code
    assert reasons(result)["X"].startswith(reason)
    assert [(row["status"], row["number"]) for row in invoices(host, "X")] == [("draft", None)] * drafts
    assert {row["tenant_id"] for row in invoices(host) if row["number"]} == {"A", "Z"}
    assert numbers(host) == ["INV-2026-10-001", "INV-2026-10-002"]


def test_a_month_before_the_first_price_list_is_not_billed(
    database: Database, host: psycopg.Connection
) -> None:
    march = date(2026, 3, 1)
    customer(host, "A", months=(march,))

    result = run_billing(database, march)

    assert reasons(result)["A"].startswith("2026-03 に有効な料金表がありません（最初の版は 2026-04-01）。")
    assert outcomes(host, result)["A"]["error_code"] == "NO_PRICE_LIST"
    assert invoices(host, month=march) == []


# Tenants that left -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["EXPIRED", "INACTIVE", "deleted", "SUSPENDED"])
def test_a_tenant_that_left_in_the_month_pays_its_days(
    database: Database, host: psycopg.Connection, status: str
) -> None:
    # Until the end of October 15 in Japan, which the host's column holds in UTC.
    customer(host, "A", months=(), status=status, contract_end_date=datetime(2026, 10, 15, 14, 59))
    billing_rows.close_month(host, "A", last=15)

    assert run_billing(database).status == "completed"

    billed = invoice(host, "A")
    (line,) = billed["content"]["lines"]
    assert (line["amount"], line["service_to"]) == ("4838", "2026-10-15")
    assert billed["number"] == "INV-2026-10-001"


@pytest.mark.parametrize("never", ["infinity", "-infinity", "294276-12-31", "9999-12-31 23:59:59"])
def test_a_contract_whose_end_is_no_date_does_not_end(
    database: Database, host: psycopg.Connection, never: str
) -> None:
    customer(host, "A", contract_end_date=never)

    assert run_billing(database).status == "completed"

    assert invoice(host, "A")["total"] == 11_000


def test_a_tenant_that_left_with_unclosed_days_is_reported(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(), status="EXPIRED", contract_end_date=datetime(2026, 10, 2, 14, 59))

    result = run_billing(database)

    assert reasons(result)["A"].startswith(
        "使用量が締まっていない日があります（2 日: 2026-10-01、2026-10-02）"
    )


def test_a_tenant_whose_plan_ended_in_the_month_pays_until_then(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(), is_deleted=True)
    billing_rows.close_month(host, "A", last=20)
    billing_rows.plan_change(host, "A", date(2026, 4, 1), "BASIC")
    billing_rows.plan_change(host, "A", date(2026, 10, 21), None)

    assert run_billing(database).status == "completed"

    assert invoice(host, "A")["content"]["lines"][0]["service_to"] == "2026-10-20"


@pytest.mark.parametrize("first_day_without", [date(2026, 11, 1), date(2026, 11, 20)])
def test_a_tenant_whose_plan_ended_after_the_month_pays_all_of_it(
    database: Database, host: psycopg.Connection, first_day_without: date
) -> None:
    customer(host, "A", status="EXPIRED")
    billing_rows.plan_change(host, "A", date(2026, 4, 1), "BASIC")
    billing_rows.plan_change(host, "A", first_day_without, None)

    result = run_billing(database)

    assert reasons(result) == {}
    assert invoice(host, "A")["total"] == Decimal(11_000)


def test_tenants_that_left_before_the_month_are_not_in_the_run(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(), status="EXPIRED", contract_end_date=datetime(2026, 9, 30, 14, 59))
    customer(host, "B", months=(), status="deleted")
    billing_rows.plan_change(host, "B", date(2026, 4, 1), "BASIC")
    billing_rows.plan_change(host, "B", OCTOBER.start, None)
    customer(host, "C")

    result = run_billing(database)

    assert list(outcomes(host, result)) == ["C"]
    with pytest.raises(ParameterError, match="稼働中でないテナントは処理できません: A（EXPIRED）"):
        run_billing(database, codes=["A"])


def test_a_contract_ended_before_the_month_is_not_billed(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", contract_end_date=datetime(2026, 9, 30, 14, 59))

    result = run_billing(database)

    why = "請求対象の契約がありません（契約は 2026-09-30 まで）。稼働中です。契約を更新したなら、アプリの契約終了日を直してください"
    assert outcomes(host, result)["A"]["details"] == {"settlement": "not billable", "attention": [why]}
    assert invoices(host) == []


@pytest.mark.parametrize(
    ("contract", "reason"),
    [
        (
            {"contract_end_date": datetime(2026, 9, 30, 14, 59)},
            "稼働中で、契約期間の外の 31 日（2026-10-01 から）に利用があります。",
        ),
        (
            {"contract_end_date": datetime(2026, 10, 29, 14, 59)},
            "稼働中で、契約期間の外の 2 日（2026-10-30 から）に利用があります。",
        ),
        (
            {"contract_start_date": datetime(2026, 10, 2, 15, 0)},
            "稼働中で、契約期間の外の 2 日（2026-10-01 から）に利用があります。",
        ),
        (
            {"contract_start_date": datetime(2026, 11, 10)},
            "稼働中で、契約期間の外の 31 日（2026-10-01 から）に利用があります。",
        ),
    ],
)
@pytest.mark.parametrize("figure", ["active_users", "api_calls"])
def test_usage_outside_the_contract_of_an_active_tenant_is_an_error(
    database: Database, host: psycopg.Connection, contract: dict[str, Any], reason: str, figure: str
) -> None:
    customer(host, "A", months=(), **contract)
    used: dict[str, Any] = {figure: 1}
    billing_rows.close_month(host, "A", **used)

    result = run_billing(database)

    assert outcomes(host, result)["A"]["error_code"] == "USED_OUTSIDE_CONTRACT"
    assert reasons(result)["A"].startswith(reason)
    assert invoices(host) == []


@pytest.mark.parametrize("status", ["TRIAL", "EXPIRED"])
def test_use_after_the_contract_stops_only_active_tenants(
    database: Database, host: psycopg.Connection, status: str
) -> None:
    customer(host, "A", months=(), status=status, contract_end_date=datetime(2026, 10, 15, 14, 59))
    billing_rows.plan_change(host, "A", date(2026, 4, 1), "BASIC")
    billing_rows.close_month(host, "A", active_users=1)

    assert run_billing(database).status == "completed"

    assert invoice(host, "A")["content"]["lines"][0]["service_to"] == "2026-10-15"


def test_files_that_lie_there_after_the_contract_are_no_use_of_it(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(), contract_end_date=datetime(2026, 9, 30, 14, 59))
    billing_rows.close_month(host, "A", storage_gb=100, registered_users=3)

    result = run_billing(database)

    assert outcomes(host, result)["A"]["details"]["settlement"] == "not billable"


def test_the_last_days_of_a_tenant_that_left_are_billed(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A", months=(), status="EXPIRED", contract_end_date=datetime(2026, 10, 15, 14, 59))
    billing_rows.close_month(host, "A", last=13)
    for day in (14, 15, 16):
        billing_rows.run_usage(database, MONTH.replace(day=day))
    closed = host.execute("SELECT max(usage_date), count(*) FROM batch.usage_day").fetchone()
    assert closed == (date(2026, 10, 15), 15)

    assert run_billing(database).status == "completed"

    (line,) = invoice(host, "A")["content"]["lines"]
    assert (line["amount"], line["service_to"]) == ("4838", "2026-10-15")


def test_a_tenant_that_was_created_after_the_month_owes_nothing_for_it(
    database: Database, host: psycopg.Connection
) -> None:
    # November 1 in Japan begins at 15:00 UTC of the day before.
    customer(host, "A", months=(), created_at=datetime(2026, 10, 31, 15, 0))

    result = run_billing(database)

    assert outcomes(host, result)["A"]["details"] == {"settlement": "not billable"}
    assert invoices(host) == []


def test_without_a_contract_day_billing_starts_at_the_tenants_creation(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(), created_at=datetime(2026, 10, 21, 15, 0))
    billing_rows.close_month(host, "A", first=22)

    assert run_billing(database).status == "completed"

    (line,) = invoice(host, "A")["content"]["lines"]
    assert (line["amount"], line["service_from"]) == ("3225", "2026-10-22")


def test_the_current_plan_is_not_assumed_for_an_earlier_month(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "PREMIUM")
    billing_rows.plan_change(host, "A", date(2026, 11, 1), "PREMIUM")

    result = run_billing(database)

    assert outcomes(host, result)["A"]["error_code"] == "NO_PLAN"
    assert invoices(host) == []


def test_a_contract_that_began_in_the_month_is_billed_from_then_on(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(), contract_start_date=datetime(2026, 10, 10, 15, 0))
    billing_rows.close_month(host, "A", first=11)

    assert run_billing(database).status == "completed"

    assert invoice(host, "A")["content"]["lines"][0]["service_from"] == "2026-10-11"


# Approval ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def jump(database: Database, host: psycopg.Connection) -> None:
    """A's and B's October come to more than half as much again as their September."""
    billing_rows.jump(database, host)


@pytest.mark.usefixtures("jump")
def test_a_jump_is_held_as_a_draft_with_the_approval_operation(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    result = run_billing(database, store=store)

    assert result.status == "partial"
    hold = (
        "個別明細を除く小計が前月の 10,000 JPY から 15,500 JPY へ、50 % を超えて変わりました"
        "（+55.0 %、請求額は 11,000 JPY から 17,050 JPY）"
    )
    assert reasons(result)["HD001"] == (
        f"{hold}。内容を確認し、正しければ DAG operate_invoices を対象月 2026-10-01、テナントコード 'HD001'、"
        "操作「保留中の請求の承認」で実行してください。"
    )
    assert outcomes(host, result)["A"]["error_code"] == "APPROVAL_NEEDED"
    draft = invoice(host, "A")
    assert (draft["status"], draft["number"], draft["hold_reason"]) == ("draft", None, hold)
    row = host_billing(host, draft["invoice_id"])
    assert (row["billing_status"], row["invoice_number"], row["notes"]) == ("CALCULATED", None, hold)
    assert invoice(host, "C")["number"] == "INV-2026-10-001"
    assert [key for key in files(store) if "INV" in key] == [
        "invoices/2026-10/INV-2026-10-001.json",
        "invoices/2026-10/INV-2026-10-001.pdf",
    ]


@pytest.mark.usefixtures("jump")
def test_a_draft_is_calculated_anew_by_the_next_run(database: Database, host: psycopg.Connection) -> None:
    run_billing(database)
    draft = invoice(host, "A")
    host.execute(
        "UPDATE batch.usage_day SET active_users = 22, revision = 2 WHERE tenant_id = 'A' AND usage_date >= %s",
        [MONTH],
    )

    result = run_billing(database)

    assert list(reasons(result)) == ["B"]
    billed = invoice(host, "A")
    assert billed["invoice_id"] == draft["invoice_id"]
    assert (draft["total"], billed["total"]) == (17_050, 12_100)
    assert (billed["status"], billed["hold_reason"]) == ("finalized", None)
    assert billed["input_hash"] != draft["input_hash"]
    assert host_billing(host, billed["invoice_id"])["total_amount"] == 12_100


@pytest.mark.parametrize("gap", ["no run", "void", "credited"])
def test_a_jump_is_compared_with_the_last_month_with_an_invoice(
    database: Database, host: psycopg.Connection, gap: str
) -> None:
    august = date(2026, 8, 1)
    customer(host, "A", months=(august,))
    run_billing(database, august)
    if gap != "no run":
        billing_rows.close_month(host, "A", SEPTEMBER, active_users=30)
        run_billing(database, SEPTEMBER)
        operate(database, "void" if gap == "void" else "credit", month=SEPTEMBER, reason="訂正")
    billing_rows.close_month(host, "A", active_users=31)

    result = run_billing(database)

    assert outcomes(host, result)["A"]["error_code"] == "APPROVAL_NEEDED"
    assert "の 10,000 JPY から 15,500 JPY へ、50 % を超えて変わりました（+55.0 %、" in reasons(result)["A"]


def test_a_later_month_is_nothing_to_compare_an_earlier_one_with(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(NOVEMBER,))
    run_billing(database, NOVEMBER)
    billing_rows.close_month(host, "A", active_users=31)

    assert run_billing(database).status == "completed"


def test_the_month_after_an_invoice_over_nothing_is_held(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(SEPTEMBER, MONTH))
    billing_rows.discount(host, "A", valid_to=date(2026, 9, 30))
    run_billing(database, SEPTEMBER)

    assert "（前月は 0、" in reasons(run_billing(database))["A"]


UNPLACED = "利用者を特定できない操作が 24 件（読み取り 310 件の 7.7 %）あり、利用者数に含めていません"


def test_too_many_rows_without_a_person_hold_only_their_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B", "C"):
        customer(host, tenant_id, months=())
        # B stays below one percent, C below ten rows.
        unplaced = {"A": 8, "B": 4, "C": 3}[tenant_id]
        read = {"A": 100, "B": 400, "C": 3}[tenant_id]
        billing_rows.close_month(host, tenant_id, last=3, read_events=read, unplaced_events=unplaced)
        billing_rows.close_month(host, tenant_id, first=4, last=4, read_events=10)
        billing_rows.close_month(host, tenant_id, first=5)

    (dry, *_) = bill_as_task(database, dry_run=True).results
    result = run_billing(database)

    assert dry.notes[0].startswith(UNPLACED)
    assert result.status == "partial"
    assert list(reasons(result)) == ["A"]
    assert reasons(result)["A"].startswith(UNPLACED)
    assert reasons(result)["A"].endswith("操作「保留中の請求の承認」で実行してください。")
    assert outcomes(host, result)["A"]["error_code"] == "APPROVAL_NEEDED"
    draft = invoice(host, "A")
    assert (draft["status"], draft["hold_reason"].startswith(UNPLACED)) == ("draft", True)
    assert numbers(host) == ["INV-2026-10-001", "INV-2026-10-002"]


def test_too_many_accounts_without_an_employee_hold_their_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", last=30, registered_users=29, unplaced_accounts=11)
    billing_rows.close_month(host, "A", first=31, registered_users=28, unplaced_accounts=12)

    assert reasons(run_billing(database))["A"].startswith(
        "従業員のないアカウントが 12 件（アカウント 40 件の 30.0 %）あり、利用者数に含めていません"
    )


@pytest.mark.usefixtures("jump")
def test_a_jump_and_rows_without_a_person_are_both_reported(
    database: Database, host: psycopg.Connection
) -> None:
    host.execute("UPDATE batch.usage_day SET read_events = 10, unplaced_events = 1 WHERE tenant_id = 'A'")

    (held, _) = reasons(run_billing(database)).values()

    assert "（+55.0 %、請求額は 11,000 JPY から 17,050 JPY）。利用者を特定できない操作が 31 件" in held


def test_days_that_are_closed_again_with_every_row_placed_are_billed(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    billing_rows.close_month(host, "A", read_events=10, unplaced_events=1)
    assert list(reasons(run_billing(database))) == ["A"]
    host.execute("UPDATE batch.usage_day SET unplaced_events = 0, revision = 2")

    assert run_billing(database).status == "completed"

    billed = invoice(host, "A")
    assert (billed["status"], billed["hold_reason"], billed["approved_by"]) == ("finalized", None, None)


# The letter --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "tenant", "address"),
    [
        ("profile@example.jp", {"contact_email": "contact@example.jp"}, "profile@example.jp"),
        (
            None,
            {"contact_email": "contact@example.jp", "admin_email": "admin@example.jp"},
            "contact@example.jp",
        ),
        (None, {"contact_email": " ", "admin_email": "admin@example.jp"}, "admin@example.jp"),
    ],
)
def test_the_billing_contact_gets_one_letter_at_nine_on_issue(
    database: Database,
    host: psycopg.Connection,
    profile: str | None,
    tenant: dict[str, Any],
    address: str,
) -> None:
    customer(host, "A", tenant_name="株式会社青葉商事", **tenant)
    billing_rows.billing_profile(host, "A", recipient_name="青葉商事 本社", email=profile)

    run_billing(database)
    run_billing(database)

    letters = host.execute(
        """
        SELECT tenant_id, send_status, notification_type, recipient_address, scheduled_at, send_attempts, is_deleted
        FROM "HIS_NotificationLog"
        """
    ).fetchall()
    # 09:00 in Japan, in the host's format: UTC.
    assert letters == [("A", "PENDING", "EMAIL", address, datetime(2026, 11, 1, 0, 0), 0, False)]
    (subject, body) = host.execute('SELECT subject, message_body FROM "HIS_NotificationLog"').fetchone() or (
        "",
        "",
    )
    assert subject == "【サンプルクラウドサービス株式会社】2026年10月分 ご請求書 INV-2026-10-001"
    assert body.startswith("青葉商事 本社 御中\n")
    assert "ご請求金額（税込）: 11,000 円" in body
    assert "ご利用料金" not in body


def test_without_an_address_the_invoice_is_issued_and_the_letter_missing(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", contact_email=None)

    result = run_billing(database)

    assert invoice(host, "A")["status"] == "finalized"
    assert host.execute('SELECT count(*) FROM "HIS_NotificationLog"').fetchone() == (0,)
    outcome = outcomes(host, result)["A"]
    assert "請求先のメールアドレスがないため、通知していません。" in outcome["notes"][0]
    assert outcome["details"]["attention"] == outcome["notes"]


# The files ---------------------------------------------------------------------------------------------------------------


def test_an_invoice_is_stored_as_pdf_and_json_with_monthly_csv(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")

    run_billing(database, store=store)

    written = files(store)
    assert list(written) == [
        *keys("2026-10"),
        "accounting/receivables.csv",
        "invoices/2026-10/INV-2026-10-001.json",
        "invoices/2026-10/INV-2026-10-001.pdf",
        "invoices/2026-10/index.csv",
    ]
    recorded = host.execute(
        "SELECT invoice_id, tenant_id, format, location, sha256, bytes FROM batch.invoice_document ORDER BY format"
    ).fetchall()
    billed = invoice(host, "A")
    assert recorded == [
        (
            billed["invoice_id"],
            "A",
            name,
            store.location(f"invoices/2026-10/INV-2026-10-001.{name}"),
            hashlib.sha256(written[f"invoices/2026-10/INV-2026-10-001.{name}"]).hexdigest(),
            len(written[f"invoices/2026-10/INV-2026-10-001.{name}"]),
        )
        for name in ("json", "pdf")
    ]
    assert written["invoices/2026-10/INV-2026-10-001.pdf"].startswith(b"%PDF-")
    document = Invoice.model_validate_json(written["invoices/2026-10/INV-2026-10-001.json"])
    assert (document.number, document.issued_on, document.due_on, document.total) == (
        "INV-2026-10-001",
        billed["issued_on"],
        billed["due_on"],
        billed["total"],
    )
    (head, row) = written[keys("2026-10")[0]].decode("utf-8-sig").splitlines()
    assert head.startswith("請求書番号,種別,状態,取引日,発行日")
    assert row.startswith(
        "INV-2026-10-001,請求,確定,2026-10-31,2026-11-01,2026-11-30,2026-10-01,2026-10-31,A,A,JPY"
    )


def test_the_accounting_file_lists_all_numbers_with_void_ones_and_credits(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id in ("A", "B", "C"):
        customer(host, tenant_id)
    billing_rows.insert(host, "invoice_counter", series="INV", billing_month=MONTH, last_number=998)
    run_billing(database)
    operate(database, "credit", "A", reason="訂正", store=store)
    operate(database, "void", "B", reason="訂正", store=store)

    assert listed(store, "2026-10") == [
        ("INV-2026-10-999", "請求", "確定", "11000"),
        ("INV-2026-10-1000", "請求", "取消", "0"),
        ("INV-2026-10-1001", "請求", "確定", "11000"),
    ]
    assert listed(store, "2026-11") == [("CRN-2026-10-001", "返還", "確定", "-11000")]


@pytest.mark.parametrize("broken_format", ["pdf", "json"])
def test_a_failed_file_fails_its_tenant_and_is_written_later(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    broken_format: str,
) -> None:
    for tenant_id in ("A", "B", "C"):
        customer(host, tenant_id)
    run_billing(database, codes=["A"], store=store)
    in_the_way = Path(store.location(f"invoices/2026-10/INV-2026-10-002.{broken_format}"))
    in_the_way.mkdir()

    first = run_billing(database, store=store)

    assert (first.status, list(reasons(first))) == ("partial", ["B"])
    assert outcomes(host, first)["B"]["error_code"] == "IsADirectoryError"
    assert [(row["status"], row["number"]) for row in invoices(host)] == [
        ("finalized", f"INV-2026-10-00{number}") for number in (1, 2, 3)
    ]
    assert _documents(host) == {"A": 2, "B": 0, "C": 2}
    assert [key for key in files(store) if ".part" in key] == []

    in_the_way.rmdir()
    again = run_billing(database, store=store)
    assert again.status == "completed"
    assert numbers(host) == [f"INV-2026-10-00{number}" for number in (1, 2, 3)]
    assert {f"invoices/2026-10/INV-2026-10-002.{name}" for name in ("pdf", "json")} < set(files(store))
    assert _documents(host) == {"A": 2, "B": 2, "C": 2}


def _documents(host: psycopg.Connection) -> dict[str, int]:
    """How many files are recorded of each tenant that has an invoice."""
    return dict(
        host.execute(
            """
            SELECT invoice.tenant_id, count(document.format)
            FROM batch.invoice LEFT JOIN batch.invoice_document AS document USING (invoice_id) GROUP BY 1
            """
        ).fetchall()
    )


class StoreKilledAfterwards(ObjectStore):
    """The process is killed after the file is written and before it is recorded."""

    def write(self, key: str, content: bytes) -> str:
        super().write(key, content)
        raise KilledError


def test_a_kill_between_file_and_record_costs_nothing(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    root = Path(store.location("root")).parent
    with pytest.raises(KilledError):
        run_billing(database, store=StoreKilledAfterwards(root))
    ((key, content),) = files(store).items()
    assert key == "invoices/2026-10/INV-2026-10-001.pdf"
    assert host.execute("SELECT count(*) FROM batch.invoice_document").fetchone() == (0,)
    unrecorded = (root / key).stat().st_ino

    assert run_billing(database, store=store).status == "completed"

    assert files(store)[key] == content
    assert (root / key).stat().st_ino != unrecorded
    assert numbers(host) == ["INV-2026-10-001"]
    assert host.execute("SELECT sha256 FROM batch.invoice_document WHERE format = 'pdf'").fetchone() == (
        hashlib.sha256(content).hexdigest(),
    )


def test_files_of_which_one_is_not_recorded_are_written_again(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    written = files(store)
    recorded = "SELECT format, location, sha256, bytes FROM batch.invoice_document ORDER BY format"
    records = host.execute(recorded).fetchall()
    host.execute("DELETE FROM batch.invoice_document WHERE format = 'json'")
    Path(store.location("invoices/2026-10/INV-2026-10-001.json")).unlink()

    assert run_billing(database, store=store).status == "completed"

    assert files(store) == written
    assert host.execute(recorded).fetchall() == records


@pytest.mark.parametrize(
    "name", ["../../etc", """it's "quoted"; --""", "\\..\\x", "テナント/一", "%s%(x)s{0}"]
)
def test_whatever_a_tenant_is_called_its_files_are_called_after_the_number(
    database: Database, host: psycopg.Connection, store: ObjectStore, name: str
) -> None:
    customer(host, name, contact_email="a@example.jp")
    root = Path(store.location("root")).parent

    assert run_billing(database, store=store).status == "completed"

    assert invoice(host, name)["number"] == "INV-2026-10-001"
    assert {str(path.relative_to(root)) for path in root.rglob("*") if "accounting" not in path.parts} == {
        "invoices",
        "invoices/2026-10",
        "invoices/2026-10/INV-2026-10-001.json",
        "invoices/2026-10/INV-2026-10-001.pdf",
        "invoices/2026-10/index.csv",
    }
    assert list(root.parent.iterdir()) == [root]
    assert host.execute('SELECT tenant_id FROM "HIS_NotificationLog"').fetchall() == [(name,)]


# Without writing ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_reports_every_step_and_writes_nothing_but_its_log(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    customer(host, "B", "GOLD")
    empty = everything_written(host)

    result = run_billing(database, dry_run=True, store=store)

    assert everything_written(host) == empty
    assert not any(empty.values())
    assert files(store) == {}
    assert outcomes(host, result)["A"]["details"] == {"settlement": "priced", "totalAmountJPY": 11_000}
    assert list(reasons(result)) == ["B"]
    (priced,) = bill_as_task(database, codes=["A"], dry_run=True).results
    assert priced.report[0] == "（未確定） A 2026-10-01 – 2026-10-31 JPY"
    assert "  1. ベーシックプラン 基本料金: 10,000（端数処理前 10,000）" in priced.report
    assert priced.report[-1] == "合計 11,000 JPY"


@pytest.mark.usefixtures("jump")
def test_a_dry_run_says_what_would_be_held_or_refused(database: Database, host: psycopg.Connection) -> None:
    billing_rows.billing_profile(host, "C", recipient_name=" ")
    rows = everything_written(host)

    report = bill_as_task(database, dry_run=True)

    notes = {result.unit_id: " ".join(result.notes) for result in report.results}
    assert "50 % を超えて変わりました" in notes["A"]
    assert "適格請求書の記載事項が欠けている" in notes["C"]
    assert everything_written(host) == rows


# The tenants of a run ----------------------------------------------------------------------------------------------------


def test_only_the_chosen_tenants_are_billed(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    customer(host, "B", tenant_code="CODE-B")

    run_billing(database, codes=["CODE-B"])

    assert [row["tenant_id"] for row in invoices(host)] == ["B"]


def test_shards_go_on_with_the_numbers_of_the_shard_before(
    database: Database, host: psycopg.Connection
) -> None:
    ids = [f"T{number}" for number in range(7)]
    for tenant_id in ids:
        customer(host, tenant_id)

    run_billing(database, shards=3)

    numbered = {row["tenant_id"]: int(row["number"][-3:]) for row in invoices(host)}
    assert [sorted(numbered[tenant_id] for tenant_id in shard) for shard in (ids[:2], ids[2:5], ids[5:])] == [
        [1, 2],
        [3, 4, 5],
        [6, 7],
    ]


def test_the_totals_of_the_run_are_those_of_its_invoices(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "broken", subscription_plan="BASIC")
    customer(host, "A")
    customer(host, "B", "STANDARD")
    customer(host, "C", "FREE")
    customer(host, "D", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "150")

    run_billing(database)

    (result,) = host.execute("SELECT result FROM batch.execution_log").fetchone() or ({},)
    assert result["totals"] == {"generatedInvoices": 3, "totalAmountJPY": 44_000, "totalAmountUSD": 220}


def test_a_shards_report_names_the_failures_as_not_recoverable(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "GOLD")

    (failure,) = bill_as_task(database).failures

    assert isinstance(failure, UnitFailure)
    assert (failure.unit_id, failure.code, failure.recoverable) == ("A", "UNKNOWN_PLAN", False)


def test_a_draft_is_voided_when_its_tenant_owes_nothing_any_more(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(SEPTEMBER, MONTH))
    run_billing(database, month=SEPTEMBER)
    billing_rows.commitment(host, "A", 90_000)
    assert run_billing(database).status == "failed"  # held for its difference from September
    host.execute("""UPDATE "MST_Tenant" SET subscription_plan = 'FREE' """)

    run_billing(database)

    assert host.execute(
        "SELECT status, void_reason FROM batch.invoice WHERE period_start = %s", [MONTH]
    ).fetchall() == [("void", "請求対象の契約がなくなったため")]


def test_days_before_the_first_plan_that_anybody_knows_stop_the_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", plan=None)
    billing_rows.plan_change(host, "A", MONTH.replace(day=11), "BASIC")

    assert reasons(run_billing(database)) == {
        "A": "2026-10-01 から 2026-10-11 の前日までのプランが分かりません。"
        "DAG operate_contracts の「プランの登録・訂正」で登録してください。"
    }


def test_a_dry_run_of_a_finalised_month_says_that_it_is_finalised(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    run_billing(database, dry_run=True)

    (notes,) = host.execute(
        "SELECT notes FROM batch.tenant_outcome INNER JOIN batch.execution_log USING (execution_id) WHERE dry_run"
    ).fetchone() or ([],)
    assert "請求書 INV-2026-10-001 は確定済みで、この計算では変わりません" in notes
