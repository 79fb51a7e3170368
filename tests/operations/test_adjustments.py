"""The fee that a payer's bank keeps, write-offs and their recovery: the receivable, the books, and what they refuse."""

from __future__ import annotations

import threading
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.ledger.overdue_letters import queue_reminders
from include.skillreport.billing.service import Billing
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import accounting_rows, billing_rows
from tests.worlds.accounting_rows import hand_over
from tests.worlds.billing_rows import (
    MONTH,
    customer,
    host_billing,
    invoice,
    invoices,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.own_settings import change_billing
from tests.worlds.payment_rows import NUMBER, operate, pay

pytestmark = pytest.mark.usefixtures("billed")

# The columns of the list that show an adjustment.
_LISTED = (
    "請求書番号",
    "種別",
    "取引日",
    "税区分",
    "税抜金額",
    "消費税額",
    "税込金額",
    "元請求書番号",
    "備考",
)


def record_fee(database: Database, amount: str = "", day: str = "2026-11-27", **options: Any) -> Any:
    return operate(database, "fee_difference", values={"fee_on": day, "fee_amount": amount}, **options)


def write_off(
    database: Database,
    fact: str = "insolvency",
    *,
    amount: str = "",
    day: str = "2026-12-08",
    **options: Any,
) -> Any:
    values = {
        "written_off_on": day,
        "fact": fact,
        "evidence": "破産管財人の通知（書庫 12）",
        "written_off_amount": amount,
    }
    return operate(database, "write_off", values=values, **options)


def take_back(database: Database, adjustment: str) -> Any:
    values = {"adjustment": adjustment}
    return operate(database, "take_back_adjustment", reason="入力の誤り", values=values)


def adjustments(host: psycopg.Connection) -> list[dict[str, Any]]:
    with host.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM batch.adjustment ORDER BY entered_at").fetchall()


def of_month(platform: psycopg.Connection, store: ObjectStore, month: date) -> list[tuple[str, ...]]:
    """The adjustments in the list of an open month."""
    Billing().write_accounting_month(platform, month, store)
    rows = accounting_rows.rows(store, f"{month:%Y-%m}")
    others = ("請求", "返還", "入金")
    return [tuple(row[column] for column in _LISTED) for row in rows if row["種別"] not in others]


def booked(store: ObjectStore, month: str, name: str) -> list[dict[str, str]]:
    """The rows of a file of an open month without those of payments."""
    return [row for row in accounting_rows.rows(store, month, name) if "普通預金" not in row.values()]


def refused(result: Any, *parts: str) -> None:
    (reason,) = reasons(result).values()
    assert all(part in reason for part in parts), reason


def agree(platform: psycopg.Connection, store: ObjectStore, month: date) -> int:
    """The yen that list, journal, freee and MF add to the receivables in an open month; all four are equal."""
    Billing().write_accounting_month(platform, month, store)
    sums = accounting_rows.receivables(store, f"{month:%Y-%m}")
    assert len(set(sums.values())) == 1, sums
    return next(iter(sums.values()))


# The fee -----------------------------------------------------------------------------------------------------------------


def test_a_fee_settles_the_invoice_as_a_return_of_sales(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database, "10340")

    result = record_fee(database)

    assert result.status == "completed", reasons(result)
    settled = invoice(host, "A")
    assert (settled["fee_total"], settled["open_amount"]) == (660, 0)
    row = host_billing(host, settled["invoice_id"])
    assert (row["billing_status"], row["notes"]) == ("PAID", "手数料差額 660 JPY")
    assert of_month(platform, store, date(2026, 11, 1)) == [
        (NUMBER, "手数料差額", "2026-11-27", "課税10%", "-600", "-60", "-660", NUMBER, "")
    ]
    (sales, tax) = booked(store, "2026-11", "journal")
    assert (sales["借方勘定科目"], sales["借方税区分"], sales["借方金額"]) == ("売上高", "課税10%", "600")
    assert (tax["借方勘定科目"], tax["借方金額"], tax["貸方勘定科目"]) == ("仮受消費税", "60", "売掛金")
    (row,) = booked(store, "2026-11", "freee")
    assert (row["勘定科目"], row["税区分"], row["金額"], row["税額"]) == (
        "売上高",
        "課税売返10%",
        "-660",
        "-60",
    )
    (row,) = booked(store, "2026-11", "moneyforward")
    assert (
        row["借方勘定科目"],
        row["借方税区分"],
        row["借方金額(円)"],
        row["借方税額"],
        row["貸方勘定科目"],
    ) == (
        "売上高",
        "課税売上-返還等 10%",
        "660",
        "60",
        "売掛金",
    )
    assert agree(platform, store, date(2026, 11, 1)) == -10340 - 660
    assert invoices(host, "A") == [invoice(host, "A")], "a fee issues no document"


def test_a_fee_may_be_a_purchase(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, accounting={"fees": {"treated_as": "purchase"}})
    pay(database, "10340")

    result = record_fee(database)

    assert "仕入税額控除には、手数料の適格請求書" in outcomes(host, result)["A"]["notes"][1]
    Billing().write_accounting_month(platform, date(2026, 11, 1), store)
    (expense, tax) = booked(store, "2026-11", "journal")
    assert (expense["借方勘定科目"], expense["借方金額"]) == ("支払手数料", "600")
    assert (tax["借方勘定科目"], tax["借方金額"]) == ("仮払消費税", "60")
    (row,) = booked(store, "2026-11", "freee")
    assert (row["勘定科目"], row["税区分"], row["金額"]) == ("支払手数料", "課対仕入10%", "-660")
    assert agree(platform, store, date(2026, 11, 1)) == -10340 - 660


def test_a_fee_of_two_rates_is_split_by_their_totals(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    values = {"line_date": "2026-11-05", "line_text": "弁当", "line_price": "5000", "line_tax": "reduced"}
    operate(database, "extra_line", values=values)
    billing_rows.close_month(host, "A", date(2026, 11, 1))
    run_billing(database, date(2026, 11, 1), run_at=datetime(2026, 12, 1, 2, tzinfo=JAPAN))
    november = date(2026, 11, 1)
    pay(database, "15800", month=november, paid_on="2026-12-05")  # of 11,000 and 5,400

    record_fee(database, "600", "2026-12-05", month=november)

    assert [row[3:7] for row in of_month(platform, store, date(2026, 12, 1))] == [
        ("課税10%", "-366", "-36", "-402"),
        ("軽減8%", "-184", "-14", "-198"),
    ]
    assert agree(platform, store, date(2026, 12, 1)) == -15800 - 600


def test_a_fee_needs_a_payment_a_sum_and_less_than_10000_yen(
    database: Database, host: psycopg.Connection
) -> None:
    refused(record_fee(database), f"請求書 {NUMBER} に入金がありません", "「入金の記録」")
    pay(database, "800")
    refused(record_fee(database), "残りは 10,200 JPY", "「手数料の額」（fee_amount）")
    refused(record_fee(database, "10000"), "10,000 円以上の返還には適格返還請求書", "「一部の返還」")
    refused(record_fee(database, "10201"), "残り 10,200 JPY を超えます")
    refused(record_fee(database, "660", "2026-12-11"), "実行日 2026-12-10 までの日")
    assert adjustments(host) == []

    record_fee(database, "5000")
    refused(record_fee(database, "5000"), "合わせて 10,000 円以上")


def test_a_fee_of_a_closed_month_falls_on_the_first_open_day(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database, "10340")
    billing_rows.close_month(host, "A", date(2026, 11, 1))
    run_billing(database, date(2026, 11, 1), run_at=datetime(2026, 12, 1, 2, tzinfo=JAPAN))
    hand_over(platform, store, date(2026, 10, 1), date(2026, 12, 5), "o")
    hand_over(platform, store, date(2026, 11, 1), date(2026, 12, 5), "n")

    record_fee(database)

    ((_, kind, day, *_, remark),) = of_month(platform, store, date(2026, 12, 1))
    assert (kind, day, remark) == ("手数料差額", "2026-12-01", "2026-11 は確定済みのため")


def test_a_rest_that_may_be_a_fee_has_no_reminder(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="operations", reminder_days=[7])
    assert len(reminders(database)) == 1
    pay(database, "10120")
    assert reminders(database) == []

    operate(database, "reverse_payment", reason="誤り", values={"paid_reference": "F-1"})
    pay(database, "10119", reference="F-2")
    assert len(reminders(database)) == 1


def reminders(database: Database) -> list[Any]:
    """The reminders that the run of 8 December would queue."""
    with (
        database.connect("batch_tenant") as connection,
        tenant_transaction(connection, ["A"]),
        connection.transaction(force_rollback=True),
    ):
        return queue_reminders(connection, load_terms(), date(2026, 12, 8), "reminders")


# Write-offs --------------------------------------------------------------------------------------------------------------


def test_a_write_off_deducts_the_tax_if_a_fact_holds(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="operations", reminder_days=[7])
    assert len(reminders(database)) == 1

    result = write_off(database)

    assert result.status == "completed", reasons(result)
    gone = invoice(host, "A")
    assert (gone["written_off_total"], gone["open_amount"]) == (11000, 0)
    row = host_billing(host, gone["invoice_id"])
    assert (row["billing_status"], row["notes"]) == ("INVOICED", "貸倒れ 11000 JPY")
    assert host.execute("SELECT count(*) FROM batch.receivable").fetchone() == (0,)
    assert reminders(database) == []
    assert [row[:7] for row in of_month(platform, store, date(2026, 12, 1))] == [
        (NUMBER, "貸倒れ", "2026-12-08", "課税10%", "-10000", "-1000", "-11000")
    ]
    (loss, tax) = booked(store, "2026-12", "journal")
    assert (loss["借方勘定科目"], loss["借方金額"]) == ("貸倒損失", "10000")
    assert (tax["借方勘定科目"], tax["借方金額"]) == ("仮受消費税", "1000")
    (row,) = booked(store, "2026-12", "freee")
    assert (row["勘定科目"], row["税区分"], row["金額"], row["税額"]) == (
        "貸倒損失",
        "課税売倒10%",
        "-11000",
        "-1000",
    )
    (row,) = booked(store, "2026-12", "moneyforward")
    assert (row["借方税区分"], row["借方税額"]) == ("課税売上-貸倒 10%", "1000")
    assert agree(platform, store, date(2026, 12, 1)) == -11000


def test_without_a_fact_no_tax_is_deducted(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database, "4000")

    result = write_off(database, "none")

    assert "消費税は控除しません" in outcomes(host, result)["A"]["notes"]
    assert adjustments(host)[0]["fact"] is None
    assert [row[3:7] for row in of_month(platform, store, date(2026, 12, 1))] == [
        ("対象外", "-7000", "0", "-7000")
    ]
    (loss,) = booked(store, "2026-12", "journal")
    assert (loss["借方勘定科目"], loss["借方税区分"], loss["借方金額"]) == ("貸倒損失", "対象外", "7000")
    assert host_billing(host, invoice(host, "A")["invoice_id"])["billing_status"] == "INVOICED"


def test_a_payment_recovers_what_was_written_off_and_its_reversal_does_not(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    write_off(database)
    december = date(2026, 12, 1)

    pay(database, "4400", paid_on="2026-12-09")

    assert (invoice(host, "A")["written_off_total"], invoice(host, "A")["open_amount"]) == (6600, 0)
    assert of_month(platform, store, december)[1][:7] == (
        NUMBER,
        "貸倒回収",
        "2026-12-09",
        "課税10%",
        "4000",
        "400",
        "4400",
    )
    income = booked(store, "2026-12", "freee")[1]
    assert (income["勘定科目"], income["税区分"]) == ("償却債権取立益", "課税売回10%")
    refused(take_back(database, "write_off"), "貸倒れの回収があります")

    pay(database, "7000", reference="F-2", paid_on="2026-12-09")
    assert (invoice(host, "A")["written_off_total"], invoice(host, "A")["open_amount"]) == (0, -400)

    for reference in ("F-2", "F-1"):
        operate(database, "reverse_payment", reason="誤り", values={"paid_reference": reference})
    assert (invoice(host, "A")["written_off_total"], invoice(host, "A")["open_amount"]) == (11000, 0)
    assert agree(platform, store, december) == -11000

    take_back(database, "write_off")
    assert (invoice(host, "A")["written_off_total"], invoice(host, "A")["open_amount"]) == (0, 11000)
    assert of_month(platform, store, december)[-1][:3] == (NUMBER, "貸倒れの取り消し", "2026-12-10")
    assert agree(platform, store, december) == 0


def test_a_recovery_is_taken_back_on_the_day_of_its_payment(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    write_off(database)
    pay(database, "4400", paid_on="2026-12-09")
    months = [date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)]
    for month in months:
        run_billing(database, month)
        hand_over(
            platform, store, month, date(2027, 1, 1), f"{month}", accepted=Accepted(failed_tenants=True)
        )

    operate(database, "reverse_payment", reason="誤り", values={"paid_reference": "F-1"})

    taken_back = host.execute(
        "SELECT accrued_on, booked_on FROM batch.adjustment WHERE kind = 'recovery' AND amount > 0"
    ).fetchall()
    assert (
        taken_back
        == host.execute(
            "SELECT (reversed_at AT TIME ZONE 'Asia/Tokyo')::date, reversal_booked_on FROM batch.payment"
        ).fetchall()
    )


def test_an_adjusted_invoice_is_neither_voided_nor_credited_beyond_the_rest(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database, "10340")
    record_fee(database)

    refused(operate(database, "credit", reason="解約"), "手数料差額か貸倒れの記録があります")
    assert (
        operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=1000"]}).status
        == "completed"
    )
    take_back(database, "fee")
    assert operate(database, "credit", reason="解約").status == "completed"
    settled = invoices(host, "A")[0]
    assert (settled["fee_total"], settled["open_amount"]) == (0, -10340)


def test_a_written_off_invoice_takes_no_credit_and_no_reissue(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database, "5000")
    write_off(database)

    part = operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=2000"]})

    refused(part, "手数料差額か貸倒れの記録があります")
    assert invoice(host, "A")["open_amount"] == 0
    operate(database, "reverse_payment", reason="誤り", values={"paid_reference": "F-1"})
    refused(operate(database, "reissue", reason="誤り"), "手数料差額か貸倒れの記録があります")


def test_a_payment_before_the_write_off_is_recovered_on_its_day(
    database: Database, platform: psycopg.Connection, store: ObjectStore
) -> None:
    write_off(database)

    pay(database, "11000")

    assert of_month(platform, store, date(2026, 11, 1)) == []
    assert of_month(platform, store, date(2026, 12, 1))[1][:3] == (NUMBER, "貸倒回収", "2026-12-08")


def test_a_part_is_written_off_with_its_part_of_the_tax(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    write_off(database, "rehabilitation", amount="8800")

    assert invoice(host, "A")["open_amount"] == 2200
    assert of_month(platform, store, date(2026, 12, 1))[0][4:7] == ("-8000", "-800", "-8800")
    refused(write_off(database, amount="2201"), "残り 2,200 JPY までの")


def test_the_same_fee_of_another_run_is_refused(database: Database) -> None:
    pay(database, "10000")
    record_fee(database, "440")

    refused(record_fee(database, "440"), "2026-11-27 の手数料差額 440 JPY は記録済みです")


def test_a_fee_that_was_taken_back_is_recorded_again_once(
    database: Database, host: psycopg.Connection
) -> None:
    pay(database, "9000")
    record_fee(database, "440")
    take_back(database, "fee")
    record_fee(database, "500")

    assert record_fee(database, "440").status == "completed"

    refused(record_fee(database, "440"), "記録済みです")
    assert invoice(host, "A")["fee_total"] == 940


def test_the_same_write_off_of_another_run_is_refused(database: Database, host: psycopg.Connection) -> None:
    write_off(database, amount="3000")

    refused(
        write_off(database, amount="3000"),
        "2026-12-08 の貸倒れ 3,000 JPY は記録済みです",
        "取り消してから合計の額で",
    )

    assert invoice(host, "A")["open_amount"] == 8000


@pytest.mark.parametrize("changes", [{"amount": "3001"}, {"amount": "3000", "day": "2026-12-09"}])
def test_a_write_off_of_another_day_or_amount_is_recorded(
    database: Database, changes: dict[str, str]
) -> None:
    write_off(database, amount="3000")

    assert write_off(database, **changes).status == "completed"


def test_a_write_off_that_was_taken_back_is_recorded_again_once(
    database: Database, host: psycopg.Connection
) -> None:
    write_off(database, amount="3000")
    take_back(database, "write_off")

    assert write_off(database, amount="3000").status == "completed"

    refused(write_off(database, amount="3000"), "記録済みです")
    assert invoice(host, "A")["written_off_total"] == 3000


def test_a_foreign_invoice_is_adjusted_in_its_currency_and_booked_in_yen(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "U", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "151.235")
    run_billing(database, codes=["U"])
    total = invoice(host, "U")["total"]
    pay_values = {
        "paid_on": "2026-11-27",
        "paid_amount": f"{total - 25}",
        "paid_method": "SWIFT",
        "paid_reference": "W-1",
    }
    operate(database, "record_payment", "U", values=pay_values)
    refused(record_fee(database, "66.13", codes=["U"]), "残り 25.00 USD を超えます")
    without_amount = record_fee(database, codes=["U"])
    refused(
        without_amount,
        "残りは 25.00 USD です。円の請求書ではないため、手数料の額を「手数料の額」（fee_amount）に",
    )
    assert "円を超える" not in reasons(without_amount)["U"]

    result = record_fee(database, "25", codes=["U"])

    assert result.status == "completed", reasons(result)
    assert invoice(host, "U")["open_amount"] == 0
    assert agree(platform, store, date(2026, 11, 1)) == -33272  # all of the invoice
    (row,) = booked(store, "2026-11", "freee")
    assert "USD -25.00 @151.235（2026-10-31）" in row["備考"]


def test_a_write_off_of_all_takes_the_yen_of_the_books(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "U", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "150.37")
    run_billing(database, codes=["U"])
    operate(database, "part_credit", "U", reason="障害", values={"credit_lines": ["1=33.33"]})

    write_off(database, codes=["U"])

    months = (date(2026, 10, 1), date(2026, 12, 1))
    assert (
        sum(agree(platform, store, month) for month in months) == 11000
    )  # A's invoice; nothing of U's is left
    tax = host.execute(
        "SELECT sum((part ->> 'yen_tax')::numeric) FROM batch.adjustment, jsonb_array_elements(content -> 'parts') AS part"
    ).fetchone()
    printed = host.execute(
        """
        SELECT sum((rate ->> 'tax_amount')::numeric)
        FROM batch.invoice, jsonb_array_elements(content #> '{yen_tax,totals}') AS rate
        WHERE tenant_id = 'U'
        """
    ).fetchone()
    assert tax == printed


def test_two_fees_at_once_never_exceed_the_rest(database: Database, host: psycopg.Connection) -> None:
    pay(database, "10340")
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(record_fee(database, "660"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(result.status for result in results) == ["completed", "failed"]
    assert invoice(host, "A")["fee_total"] == 660


# The application's own payments ------------------------------------------------------------------------------------------


def test_a_part_credit_after_the_application_paid_is_owed_back_and_refunded(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="host")
    host.execute(
        """UPDATE "HIS_TenantBilling" SET billing_status = 'PAID', paid_date = '2026-11-20', payment_method = '口座振替'"""
    )

    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=1000"]})

    original = invoices(host, "A", MONTH)[0]
    assert (original["paid_total"], original["open_amount"]) == (11000, -1100)
    assert host.execute("SELECT number, open_amount FROM batch.receivable").fetchall() == [(NUMBER, -1100)]
    values = {
        "paid_on": "2026-12-09",
        "paid_amount": "1100",
        "paid_method": "銀行振込",
        "paid_reference": "R-1",
    }
    refund = operate(database, "record_refund", reason="障害の返金", values=values)
    assert refund.status == "completed", reasons(refund)
    assert invoices(host, "A", MONTH)[0]["open_amount"] == 0
    assert host_billing(host, original["invoice_id"])["billing_status"] == "PAID"
