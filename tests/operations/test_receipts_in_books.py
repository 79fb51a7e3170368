"""Payments and refunds in the accountant's files: their day, what takes them back, hand-overs, foreign currency, and races."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.adjustments import record_write_off
from include.skillreport.billing.ledger.payments import record_payments
from include.skillreport.billing.ledger.recoveries import AdjustmentAuthor
from include.skillreport.billing.ledger.stored_invoice import find_invoice
from include.skillreport.billing.receivables.payment import Payment
from include.skillreport.billing.service import Billing
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database, wait_for_blocked_statement
from tests.waiting import LIMIT_SECONDS, in_a_thread
from tests.worlds import accounting_rows, bank_files, billing_rows
from tests.worlds.accounting_rows import hand_over, rows
from tests.worlds.billing_rows import (
    customer,
    files,
    invoice,
    open_operation,
    process,
    reasons,
    run_billing,
)
from tests.worlds.own_settings import change_billing
from tests.worlds.payment_rows import NUMBER, TODAY, operate, pay, payment_values
from tests.worlds.zengin_files import OWN_ACCOUNT

pytestmark = pytest.mark.usefixtures("billed")

OCTOBER, NOVEMBER, DECEMBER = date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)
MONTHS = (OCTOBER, NOVEMBER, DECEMBER)

# The columns of the list that show a receipt.
_LISTED = ("請求書番号", "種別", "状態", "取引日", "税込金額", "税込金額（円）", "備考")


def close_november(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    """Bill November (A's number is INV-2026-11-001), and hand October and November over on 5 December."""
    billing_rows.close_month(host, "A", NOVEMBER)
    run_billing(database, NOVEMBER, run_at=datetime(2026, 12, 1, 2, tzinfo=JAPAN))
    for month in (OCTOBER, NOVEMBER):
        hand_over(platform, store, month, date(2026, 12, 5), f"hand-over {month}")


def reverse(database: Database, reference: str = "F-1", **options: Any) -> Any:
    return operate(
        database, "reverse_payment", reason="誤り", values={"paid_reference": reference}, **options
    )


def refund(database: Database, amount: str, **options: Any) -> Any:
    values = {
        "paid_on": "2026-12-08",
        "paid_amount": amount,
        "paid_method": "振込",
        "paid_reference": "R-1",
    }
    return operate(database, "record_refund", reason="過入金", values=values, **options)


def receipts(found: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """The payments and refunds of a list."""
    return [tuple(row[column] for column in _LISTED) for row in found if row["種別"][:2] in ("入金", "返金")]


def of_month(platform: psycopg.Connection, store: ObjectStore, month: date) -> list[tuple[str, ...]]:
    """The payments and refunds in the list of an open month."""
    Billing().write_accounting_month(platform, month, store)
    return receipts(rows(store, f"{month:%Y-%m}"))


def agree(platform: psycopg.Connection, store: ObjectStore, month: date) -> int:
    """The yen that list, journal, freee and MF add to the receivables in an open month; all four are equal."""
    Billing().write_accounting_month(platform, month, store)
    sums = accounting_rows.receivables(store, f"{month:%Y-%m}")
    assert len(set(sums.values())) == 1, sums
    return next(iter(sums.values()))


def bank(store: ObjectStore, month: str, *, is_final: bool = False) -> int:
    """What the journal of a month adds to 普通預金."""
    found = rows(store, month, "journal", is_final=is_final)
    return sum(
        int(row["借方金額"]) * (row["借方勘定科目"] == "普通預金")
        - int(row["貸方金額"]) * (row["貸方勘定科目"] == "普通預金")
        for row in found
    )


# An open month -----------------------------------------------------------------------------------------------------------


def test_a_payment_is_in_all_files_of_the_month_of_its_day(database: Database, store: ObjectStore) -> None:
    result = pay(database, store=store)

    assert result.status == "completed", reasons(result)
    assert receipts(rows(store, "2026-11")) == [
        (NUMBER, "入金", "確定", "2026-11-27", "-11000", "-11000", "銀行振込 F-1")
    ]
    (booked,) = rows(store, "2026-11", "journal")
    assert [booked[f"借方{name}"] for name in ("勘定科目", "税区分", "金額")] == [
        "普通預金",
        "対象外",
        "11000",
    ]
    assert (booked["取引日"], booked["貸方勘定科目"]) == ("2026/11/27", "売掛金")
    assert booked["摘要"] == f"入金 {NUMBER} A 銀行振込 F-1"
    (deal,) = rows(store, "2026-11", "freee")
    assert [deal[name] for name in ("収支区分", "発生日", "決済期日", "勘定科目", "税区分", "金額")] == [
        "収入",
        "2026/11/27",
        "",
        "売掛金",
        "対象外",
        "11000",
    ]
    assert [deal[name] for name in ("決済日", "決済口座", "決済金額")] == ["2026/11/27", "普通預金", "11000"]
    (imported,) = rows(store, "2026-11", "moneyforward")
    assert (imported["借方勘定科目"], imported["貸方勘定科目"], imported["貸方金額(円)"]) == (
        "普通預金",
        "売掛金",
        "11000",
    )
    assert set(accounting_rows.receivables(store, "2026-11").values()) == {-11000}


def test_a_refund_gives_the_receivable_back(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database, "12000")

    result = refund(database, "1000", store=store)

    assert result.status == "completed", reasons(result)
    assert receipts(rows(store, "2026-12")) == [
        (NUMBER, "返金", "確定", "2026-12-08", "1000", "1000", "振込 R-1")
    ]
    (booked,) = rows(store, "2026-12", "journal")
    assert (booked["借方勘定科目"], booked["貸方勘定科目"], booked["貸方金額"]) == (
        "売掛金",
        "普通預金",
        "1000",
    )
    (deal,) = rows(store, "2026-12", "freee")
    assert (deal["収支区分"], deal["勘定科目"], deal["金額"], deal["決済金額"]) == (
        "支出",
        "売掛金",
        "1000",
        "1000",
    )
    assert set(accounting_rows.receivables(store, "2026-12").values()) == {1000}
    assert invoice(host, "A")["open_amount"] == 0


def test_a_reversal_in_the_open_month_leaves_an_amount_of_zero(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database, store=store)

    reverse(database, store=store)

    assert receipts(rows(store, "2026-11")) == [
        (NUMBER, "入金", "取消", "2026-11-27", "0", "0", "銀行振込 F-1")
    ]
    for name in ("journal", "freee", "moneyforward"):
        assert rows(store, "2026-11", name) == []
    assert host.execute("SELECT reversal_booked_on FROM batch.payment").fetchall() == [(None,)]


def test_a_payment_file_is_booked_too(database: Database, store: ObjectStore) -> None:
    store.write(
        "payments/november.csv",
        f"請求書番号,入金日,金額,通貨,方法,参照番号\n{NUMBER},2026-11-20,4000,JPY,=銀行振込,20261120\n".encode(),
    )

    result = operate(
        database, "import_payments", values={"payment_file": "november.csv"}, codes=[], store=store
    )

    assert result.status == "completed", reasons(result)
    assert receipts(rows(store, "2026-11"))[0][3:] == (
        "2026-11-20",
        "-4000",
        "-4000",
        "'=銀行振込 20261120",
    )


def test_the_applications_payment_is_booked_on_its_day(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="host")
    host.execute(
        """UPDATE "HIS_TenantBilling" SET billing_status = 'PAID', paid_date = '2026-11-20', payment_method = '口座振替'"""
    )

    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=1000"]}, store=store)

    assert receipts(rows(store, "2026-11"))[0][3:6] == ("2026-11-20", "-11000", "-11000")
    assert sum(agree(platform, store, month) for month in MONTHS) == -1100


@pytest.mark.parametrize("has_receipts", [True, False])
def test_the_setting_receipts_leaves_them_out_of_files_and_hand_overs(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    has_receipts: bool,
) -> None:
    change_billing(monkeypatch, tmp_path, accounting={"receipts": has_receipts})
    hand_over(platform, store)
    host.execute("""UPDATE "MST_Tenant" SET contract_end_date = '2026-10-31'""")
    for month in (NOVEMBER, DECEMBER):
        run_billing(database, month)

    pay(database, store=store)

    written = [key for key in accounting_rows.written(store) if "2026-11" in key]
    assert written == (accounting_rows.keys("2026-11") if has_receipts else [])
    assert [len(of_month(platform, store, NOVEMBER)), agree(platform, store, NOVEMBER)] == (
        [1, -11000] if has_receipts else [0, 0]
    )
    # November has nothing but the payment.
    with nullcontext() if not has_receipts else pytest.raises(BillingError, match="会計月 2026-11 を確定"):
        hand_over(platform, store, DECEMBER, date(2027, 1, 2), "December")


# After a hand-over -------------------------------------------------------------------------------------------------------


def test_a_payment_of_a_closed_month_falls_on_the_first_open_day(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    close_november(database, host, platform, store)
    before = files(store)

    pay(database, store=store)

    remark = "2026-11 は確定済みのため"
    assert receipts(rows(store, "2026-12")) == [
        (NUMBER, "入金", "確定", "2026-12-01", "-11000", "-11000", f"銀行振込 F-1 {remark}")
    ]
    assert rows(store, "2026-12", "journal")[-1]["摘要"].endswith(f"銀行振込 F-1 （{remark}）")
    assert rows(store, "2026-12", "freee")[-1]["決済日"] == "2026/12/01"
    kept = [key for key in before if key.startswith(("accounting/2026-10/", "accounting/2026-11/"))]
    assert {key: files(store)[key] for key in kept} == {key: before[key] for key in kept}


def test_a_reversal_after_the_hand_over_is_an_entry_of_its_day(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database)
    close_november(database, host, platform, store)
    frozen = files(store)["accounting/2026-11/journal-2026-11.csv"]

    result = reverse(database, store=store)

    assert result.status == "completed", reasons(result)
    booked_on, is_expected = _row(
        host,
        """
        SELECT
            reversal_booked_on,
            reversal_booked_on = greatest((reversed_at AT TIME ZONE 'Asia/Tokyo')::date, '2026-12-01')
        FROM batch.payment
        """,
    )
    assert is_expected
    month = f"{booked_on:%Y-%m}"
    assert receipts(rows(store, month))[0][:6] == (
        NUMBER,
        "入金の取り消し",
        "確定",
        f"{booked_on}",
        "11000",
        "11000",
    )
    assert (bank(store, "2026-11", is_final=True), bank(store, month)) == (11000, -11000)
    assert rows(store, month, "freee")[-1]["収支区分"] == "支出"
    assert files(store)["accounting/2026-11/journal-2026-11.csv"] == frozen
    assert invoice(host, "A")["open_amount"] == 11000


@pytest.mark.parametrize(
    ("reversed_at", "booked_on"),
    [
        ("2026-12-09 16:00+00", date(2026, 12, 10)),  # already the 10th in Japan
        ("2026-11-28 00:00+09", date(2026, 12, 1)),  # with a wrong clock
    ],
)
def test_the_day_of_a_reversal_is_the_japanese_one_and_open(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    reversed_at: str,
    booked_on: date,
) -> None:
    pay(database)
    close_november(database, host, platform, store)

    host.execute(
        """
        UPDATE batch.payment
        SET reversed_at = %s, reversed_by = 'x', reversal_reason = 'x', reversal_execution_id = 'x'
        """,
        [reversed_at],
    )

    assert _row(host, "SELECT reversal_booked_on FROM batch.payment") == (booked_on,)


def test_a_refund_reversed_after_its_hand_over_is_an_income(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    pay(database, "12000")
    refund(database, "1000")
    close_november(database, host, platform, store)
    billing_rows.close_month(host, "A", DECEMBER)
    run_billing(database, DECEMBER)
    hand_over(platform, store, DECEMBER, date(2027, 1, 2), "December")

    reverse(database, "R-1", store=store)

    (booked_on,) = _row(host, "SELECT reversal_booked_on FROM batch.payment WHERE kind = 'refund'")
    month = f"{booked_on:%Y-%m}"
    assert booked_on >= date(2027, 1, 1)
    assert receipts(rows(store, month))[0][1] == "返金の取り消し"
    assert (rows(store, month, "freee")[-1]["収支区分"], bank(store, month)) == ("収入", 1000)


@pytest.mark.parametrize("is_handed_over", [False, True])
def test_a_move_changes_nothing_on_the_bank_account(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    is_handed_over: bool,
) -> None:
    pay(database)
    if is_handed_over:
        close_november(database, host, platform, store)
    else:
        billing_rows.close_month(host, "A", NOVEMBER)
        run_billing(database, NOVEMBER)

    values = {"paid_reference": "F-1", "paid_to": "INV-2026-11-001"}
    result = operate(database, "move_payment", reason="別の月", values=values, store=store)

    assert result.status == "completed", reasons(result)
    if not is_handed_over:
        assert [row[:6] for row in receipts(rows(store, "2026-11"))] == [
            (NUMBER, "入金", "取消", "2026-11-27", "0", "0"),
            ("INV-2026-11-001", "入金", "確定", "2026-11-27", "-11000", "-11000"),
        ]
        assert bank(store, "2026-11") == 11000
        return
    (booked_on,) = _row(host, "SELECT reversal_booked_on FROM batch.payment WHERE reversed_at IS NOT null")
    months = {"2026-12", f"{booked_on:%Y-%m}"}
    moved = [row[:2] + row[4:5] for month in sorted(months) for row in receipts(rows(store, month))]
    assert sorted(moved) == [
        (NUMBER, "入金の取り消し", "11000"),
        ("INV-2026-11-001", "入金", "-11000"),
    ]
    assert sum(bank(store, month) for month in months) == 0


def test_the_hand_over_names_payments_that_came_after_the_last_list(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    billing_rows.close_month(host, "A", NOVEMBER)
    run_billing(database, NOVEMBER, store=store, run_at=datetime(2026, 12, 1, 2, tzinfo=JAPAN))
    hand_over(platform, store, OCTOBER, date(2026, 12, 5), "o")
    pay(database)  # without a store

    month = hand_over(platform, store, NOVEMBER, date(2026, 12, 5), "n")

    assert [change.sentence() for change in month.changes or ()] == [
        f"{NUMBER}（入金） -11,000 JPY が加わりました"
    ]


# At once, and killed -----------------------------------------------------------------------------------------------------


def _payment(number: str = NUMBER) -> Payment:
    return Payment(number, date(2026, 11, 27), Decimal(11000), "JPY", "銀行振込", "F-1")


def _record(connection: psycopg.Connection, number: str = NUMBER) -> None:
    record_payments(
        connection,
        [_payment(number)],
        source="operation",
        today=TODAY,
        entered_by="somebody",
        execution_id="x",
    )


def _write_off(connection: psycopg.Connection, number: str = NUMBER) -> None:
    entered = AdjustmentAuthor(TODAY, "書庫 12", "somebody", "x")
    record_write_off(connection, find_invoice(connection, number), None, entered, today=TODAY)


@pytest.mark.parametrize("work", [_record, _write_off])
def test_an_entry_that_waits_for_a_hand_over_holds_no_invoice(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    work: Callable[..., None],
) -> None:
    customer(host, "B")
    run_billing(database, codes=["B"])
    other = invoice(host, "B")["number"]

    def enter_b() -> None:
        with database.connect("batch_tenant") as own, tenant_transaction(own, ["B"]):
            work(own, other)

    with tenant_transaction(connection, ["A", "B"]):
        work(connection)
        handing, failed = in_a_thread(lambda: hand_over(platform, store))
        wait_for_blocked_statement(database)
        entering, refused = in_a_thread(enter_b)
        wait_for_blocked_statement(database, 2)
        # The other entry has not locked its invoice, because it waits behind the hand-over. PostgreSQL would let it pass the hand-over
        # after deadlock_timeout (1 s) only.
        connection.execute("SET LOCAL lock_timeout = '500ms'")
        work(connection, other)
    handing.join()
    entering.join()

    assert (failed, refused) == ([], [])
    assert [invoice(host, tenant_id)["open_amount"] for tenant_id in ("A", "B")] == [0, 0]


def test_two_runs_at_once_book_a_payment_once(database: Database, host: psycopg.Connection) -> None:
    threads = [in_a_thread(lambda: pay(database)) for _ in range(2)]
    for thread, _ in threads:
        thread.join()

    assert [failed for _, failed in threads] == [[], []]
    booked = host.execute(
        "SELECT booking, booked_on FROM batch.accounting_entry WHERE payment_id IS NOT null"
    )
    assert booked.fetchall() == [("payment", date(2026, 11, 27))]
    assert invoice(host, "A")["open_amount"] == 0


def test_a_payment_that_waits_for_a_hand_over_is_booked_after_it(
    database: Database, host: psycopg.Connection
) -> None:
    with host.transaction():
        _close(host)
        thread, failed = in_a_thread(lambda: pay(database))
        wait_for_blocked_statement(database)
    thread.join()

    assert failed == []
    assert _row(host, "SELECT booked_on FROM batch.payment") == (DECEMBER,)


def test_a_payment_killed_before_its_booking_is_booked_by_the_retry(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run = replace(open_operation(database, "record_payment", values=payment_values()), run_date=TODAY)
    killed = multiprocessing.get_context("fork").Process(target=process, args=(database, run))
    with host.transaction():
        _close(host)
        killed.start()
        wait_for_blocked_statement(database)
        killed.kill()
        killed.join(LIMIT_SECONDS)
    assert killed.exitcode == -9

    for _ in range(2):  # cleared after its success too
        assert process(database, run, store=store).failures == []

    assert host.execute("SELECT paid_on, booked_on, yen FROM batch.payment").fetchall() == [
        (date(2026, 11, 27), DECEMBER, 11000)
    ]


@pytest.mark.parametrize(("days", "is_written"), [(6, True), (8, False)])
def test_the_next_import_writes_the_month_of_a_killed_operation(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    days: int,
    is_written: bool,
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="operations", own_accounts=[OWN_ACCOUNT])
    run = replace(open_operation(database, "record_payment", values=payment_values()), run_date=TODAY)
    # Its task that writes the accountant's files never runs.
    assert process(database, run, store=store).failures == []
    host.execute(
        "UPDATE batch.execution_log SET started_at = now() - %s * interval '1 day' WHERE execution_id = %s",
        [days, run.execution_id],
    )

    assert bank_files.run(database, store).status == "completed"

    written = [key for key in accounting_rows.written(store) if "2026-11" in key]
    assert written == (accounting_rows.keys("2026-11") if is_written else [])


def _close(host: psycopg.Connection) -> None:
    """Close November, as a hand-over that has not ended."""
    host.execute("SELECT pg_advisory_xact_lock(180201, 0)")
    billing_rows.insert(
        host, "accounting_month", month=NOVEMBER, handed_over_by="test", execution_id="test", files=Jsonb([])
    )


def _row(host: psycopg.Connection, query: LiteralString) -> tuple[Any, ...]:
    (row,) = host.execute(query).fetchall()
    return row
