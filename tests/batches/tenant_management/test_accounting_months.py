"""The month of the books of each document: the end of its service, the hand-overs before it, and voids."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import psycopg
import pytest

from include.skillreport.billing.accounting.months import HandedOverMonth
from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.accounting_rows import (
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    days,
    hand_over,
    keys,
    listed,
    rows,
    stamp,
    written,
)
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    customer,
    invoice,
    invoices,
    operate,
    run_billing,
)
from tests.worlds.own_settings import change_billing

A_MONTH_LATER = datetime(2026, 12, 5, 9, tzinfo=JAPAN)


def extra_line(host: psycopg.Connection, tenant_id: str, charged_on: date) -> None:
    billing_rows.insert(
        host,
        "extra_charge",
        extra_charge_id=f"{tenant_id} {charged_on}",
        tenant_id=tenant_id,
        charged_on=charged_on,
        description="初期設定",
        unit_amount=5_000,
        currency="JPY",
        tax_category="standard",
        entered_by="test",
    )


def hand_over_november(
    database: Database, platform: psycopg.Connection, store: ObjectStore
) -> HandedOverMonth:
    """Without the tenants, whose November is not closed. October is closed too."""
    run_billing(database, NOVEMBER)
    accepted = Accepted(earlier_months=True, failed_tenants=True)
    return hand_over(platform, store, NOVEMBER, DECEMBER, "November", accepted=accepted)


# The day of the booking --------------------------------------------------------------------------------------------------


def test_october_sales_are_booked_on_the_last_day_of_october(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    billing_rows.billing_profile(host, "A", partner_code="0042")

    run_billing(database, store=store)

    assert written(store) == keys("2026-10")
    assert days(store, "2026-10") == [("INV-2026-10-001", "2026-10-31", "2026-11-01", "")]
    booked = [
        (row["取引日"], row["伝票番号"], row["取引先コード"]) for row in rows(store, "2026-10", "journal")
    ]
    assert booked == [("2026/10/31", "INV-2026-10-001", "0042")] * 2
    assert [row["発生日"] for row in rows(store, "2026-10", "freee")] == ["2026/10/31"]
    assert [row["取引日"] for row in rows(store, "2026-10", "moneyforward")] == ["2026/10/31"]


def test_an_invoice_approved_later_is_booked_when_its_service_ended(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(date(2026, 9, 1),))
    run_billing(database, date(2026, 9, 1))
    billing_rows.close_month(host, "A", active_users=31)
    assert run_billing(database).error_count == 1

    operate(database, "approve", store=store, run_at=A_MONTH_LATER)

    assert days(store, "2026-10") == [("INV-2026-10-001", "2026-10-31", "2026-12-05", "")]


def test_a_service_ends_with_the_contract_or_its_last_one_off_line(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", contract_end_date=date(2026, 10, 10))
    customer(host, "B")
    billing_rows.plan_change(host, "B", date(2026, 1, 1), "BASIC")
    billing_rows.plan_change(host, "B", date(2026, 10, 21), None)
    extra_line(host, "B", date(2026, 10, 25))
    customer(host, "C", plan="FREE")
    for day in (7, 17):
        extra_line(host, "C", date(2026, 10, day))

    # The lines are held, because they are large for these subtotals.
    operate(database, "approve", "A", "B", "C")

    assert {row["tenant_id"]: row["booked_on"].day for row in invoices(host)} == {"A": 10, "B": 20, "C": 17}


def test_the_setting_issued_on_books_invoices_on_their_issue_date(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, accounting={"booked_on": "issued_on"})
    customer(host, "A")

    run_billing(database, store=store)

    assert written(store) == keys("2026-11")
    assert days(store, "2026-11") == [("INV-2026-10-001", "2026-11-01", "2026-11-01", "")]


def test_a_credit_note_is_booked_on_its_own_date(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, store=store)

    operate(database, "credit", reason="訂正", store=store, run_at=A_MONTH_LATER)

    assert listed(store, "2026-10") == [("INV-2026-10-001", "請求", "確定", "11000")]
    assert days(store, "2026-12") == [("CRN-2026-10-001", "2026-12-05", "2026-12-05", "")]


def test_a_run_that_touches_nothing_writes_its_months_files(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", plan="FREE")

    run_billing(database, store=store)

    assert written(store) == keys("2026-10")
    assert listed(store, "2026-10") == []


# Voids while the month is open -------------------------------------------------------------------------------------------


def test_an_invoice_voided_in_its_open_month_counts_as_zero(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, store=store)

    operate(database, "void", reason="訂正", store=store)

    assert listed(store, "2026-10") == [("INV-2026-10-001", "請求", "取消", "0")]
    assert written(store) == keys("2026-10")
    for name in ("journal", "freee", "moneyforward"):
        assert rows(store, "2026-10", name) == []


# After a hand-over -------------------------------------------------------------------------------------------------------


def test_an_invoice_of_a_closed_month_falls_on_the_first_open_day(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    customer(host, "B", months=())
    assert run_billing(database, store=store).status == "partial"
    hand_over(platform, store, accepted=Accepted(failed_tenants=True))
    billing_rows.close_month(host, "B")

    run_billing(database, codes=["B"], store=store, run_at=A_MONTH_LATER)

    late = invoice(host, "B")
    assert (late["issued_on"], late["accrued_on"], late["booked_on"]) == (
        date(2026, 12, 5),
        date(2026, 10, 31),
        NOVEMBER,
    )
    remark = "2026-10 は確定済みのため"
    assert days(store, "2026-11") == [("INV-2026-10-002", "2026-11-01", "2026-12-05", remark)]
    assert listed(store, "2026-10", is_final=True) == [("INV-2026-10-001", "請求", "確定", "11000")]
    for name in ("journal", "moneyforward"):
        assert all(row["摘要"].endswith(f" （{remark}）") for row in rows(store, "2026-11", name)), name
    assert rows(store, "2026-11", "freee")[0]["備考"].endswith(f"（{remark}）")


def test_a_hand_over_does_not_move_the_issue_date(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over_november(database, platform, store)

    # The run's own day is the 1st of November.
    operate(database, "credit", reason="訂正", store=store)

    _, credit = invoices(host, "A")
    assert (credit["issued_on"], credit["booked_on"]) == (FIRST_OF_NOVEMBER, DECEMBER)
    remark = "2026-11 は確定済みのため"
    assert days(store, "2026-12") == [("CRN-2026-10-001", "2026-12-01", "2026-11-01", remark)]


def test_a_void_after_the_hand_over_is_reversed_on_its_day(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over(platform, store)
    operate(database, "void", reason="宛先の誤り")
    # Still the 2nd in UTC.
    stamp(host, "INV-2026-10-001", datetime(2026, 11, 3, 0, 30, tzinfo=JAPAN))

    Billing().write_accounting_month(platform, NOVEMBER, store)

    assert listed(store, "2026-11") == [("INV-2026-10-001", "取消", "取消", "-11000")]
    assert days(store, "2026-11") == [("INV-2026-10-001", "2026-11-03", "2026-11-01", "")]
    assert [
        (row["取引日"], row["借方勘定科目"], row["借方金額"], row["貸方勘定科目"])
        for row in rows(store, "2026-11", "journal")
    ] == [("2026/11/03", "売上高", "10000", "売掛金"), ("2026/11/03", "仮受消費税", "1000", "売掛金")]
    assert [row["金額"] for row in rows(store, "2026-11", "freee")] == ["-11000"]


def test_a_reversal_never_falls_into_a_closed_month(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over_november(database, platform, store)
    operate(database, "void", reason="宛先の誤り")
    # The clock of the database was wrong: November was handed over on the 1st of December at 4 o'clock.
    stamp(host, "INV-2026-10-001", datetime(2026, 12, 1, 5, tzinfo=JAPAN))
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute("UPDATE batch.accounting_month SET handed_over_at = '2026-11-20'")
        host.execute("UPDATE batch.invoice SET voided_at = '2026-11-28'")

    Billing().write_accounting_month(platform, DECEMBER, store)

    assert days(store, "2026-12") == [
        ("INV-2026-10-001", "2026-12-01", "2026-11-01", "2026-11 は確定済みのため")
    ]


def test_a_void_is_reversed_when_its_month_closed_with_a_later_one(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over_november(database, platform, store)
    operate(database, "void", reason="宛先の誤り")
    stamp(host, "INV-2026-10-001", datetime(2026, 12, 3, 10, tzinfo=JAPAN))

    Billing().write_accounting_month(platform, DECEMBER, store)

    assert listed(store, "2026-12") == [("INV-2026-10-001", "取消", "取消", "-11000")]


# Foreign currency --------------------------------------------------------------------------------------------------------


def test_a_foreign_invoice_names_the_date_of_its_rate(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", "STANDARD", currency_code="USD")
    for day, rate in ((date(2026, 10, 30), "150"), (date(2026, 11, 1), "160")):
        billing_rows.exchange_rate(host, day, rate)

    run_billing(database, store=store)

    (row,) = rows(store, "2026-10")
    assert (row["換算レート"], row["換算日"], row["税込金額（円）"]) == ("150", "2026-10-30", "33000")
    for name, column in (("journal", "摘要"), ("freee", "備考"), ("moneyforward", "摘要")):
        assert rows(store, "2026-10", name)[0][column].endswith("USD 220.00 @150（2026-10-30）"), name


def test_a_foreign_document_without_rate_takes_its_months_newest(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "150")
    run_billing(database)
    host.execute("DELETE FROM batch.exchange_rate")
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute(
            """
            UPDATE batch.invoice
            SET content = jsonb_set(content, '{yen_tax}', 'null'), inputs = jsonb_set(inputs, '{exchange_rate}', 'null')
            """
        )

    with pytest.raises(
        BillingError,
        match=r"INV-2026-10-001 の通貨 USD .*利用月（2026-10）のレートを DAG operate_contracts",
    ):
        Billing().write_accounting_month(platform, OCTOBER, store)
    assert written(store) == []

    for day, rate in ((date(2026, 10, 4), "151"), (date(2026, 10, 30), "152.5"), (NOVEMBER, "160")):
        billing_rows.exchange_rate(host, day, rate)
    assert Billing().write_accounting_month(platform, OCTOBER, store)
    (own, tax) = rows(store, "2026-10", "journal")
    assert int(own["借方金額"]) + int(tax["借方金額"]) == 220 * 152.5
    assert own["摘要"].endswith("USD 220.00 @152.5（2026-10-30）")


# To the yen --------------------------------------------------------------------------------------------------------------


def test_list_journal_freee_moneyforward_and_ledger_agree_to_the_yen(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    customer(host, "B", "STANDARD", currency_code="USD")
    customer(host, "C")
    customer(host, "D", months=())
    billing_rows.exchange_rate(host, date(2026, 10, 31), "151.235")
    run_billing(database)
    operate(database, "part_credit", "B", reason="障害", values={"credit_lines": ["1=33.33"]})
    operate(database, "void", "C", reason="訂正")
    october = hand_over(platform, store, accepted=Accepted(failed_tenants=True))
    operate(database, "void", "A", reason="宛先の誤り")
    stamp(host, "INV-2026-10-001", datetime(2026, 11, 3, tzinfo=JAPAN))
    stamp(host, "INV-2026-10-003", datetime(2026, 11, 1, 3, tzinfo=JAPAN))
    billing_rows.close_month(host, "D")
    run_billing(database, codes=["D"])
    november = hand_over_november(database, platform, store)

    found = host.execute(
        """
        SELECT
            date_trunc('month', entry.booked_on::timestamp)::date,
            sum(CASE entry.booking WHEN 'void' THEN 0 WHEN 'reversal' THEN -invoice.yen_total ELSE invoice.yen_total END)
        FROM batch.accounting_entry AS entry
        INNER JOIN batch.invoice ON entry.invoice_id = invoice.invoice_id
        GROUP BY 1
        """
    ).fetchall()
    ledger = {month: int(total) for month, total in found}
    assert ledger.keys() == {OCTOBER, NOVEMBER}
    for month in (october, november):
        *books, _ = month.files
        assert [file.yen for file in books] == [ledger[month.month]] * 4, month.month
