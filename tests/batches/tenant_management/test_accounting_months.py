"""Accounting months on real rows: what belongs to which month, handing over, and what happens to documents afterwards."""

from __future__ import annotations

import csv
import hashlib
import threading
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from include.skillreport.billing.accounting.document_index import INDEX_COLUMNS
from include.skillreport.billing.accounting.months import HandedOverMonth, first_open_day
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.settlement import Instructions
from include.skillreport.billing.ledger.stored_invoice import find_invoice
from include.skillreport.billing.service import Billing
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.batches.tenant_management import billing_rows
from tests.batches.tenant_management.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    customer,
    files,
    invoices,
    operate,
    run_billing,
)
from tests.conftest import Database, wait_for_blocked_statement

NOVEMBER, DECEMBER = date(2026, 11, 1), date(2026, 12, 1)
NOVEMBERS_FILES = [
    f"accounting/2026-11/{name}-2026-11.csv" for name in ("accounting", "freee", "journal", "moneyforward")
]


@pytest.fixture
def billing() -> Billing:
    return Billing()


@pytest.fixture
def hand_over(
    billing: Billing, platform: psycopg.Connection, store: ObjectStore
) -> Callable[..., HandedOverMonth]:
    """Hand a month over, on the day after it unless another is given."""

    def hand_over(
        month: date = NOVEMBER,
        run_date: date = DECEMBER,
        execution_id: str = "handing over",
        closes_earlier: bool = False,
    ) -> HandedOverMonth:
        return billing.hand_over(
            platform,
            month,
            run_date=run_date,
            actor="経理部 佐藤",
            execution_id=execution_id,
            store=store,
            closes_earlier=closes_earlier,
        )

    return hand_over


def rows(store: ObjectStore, month: str, name: str = "accounting") -> list[dict[str, str]]:
    content = files(store)[f"accounting/{month}/{name}-{month}.csv"].decode("utf-8-sig")
    return list(csv.DictReader(content.splitlines()))


def listed(store: ObjectStore, month: str) -> list[tuple[str, str, str, str]]:
    return [(row["請求書番号"], row["種別"], row["状態"], row["税込金額"]) for row in rows(store, month)]


def stamp(host: psycopg.Connection, number: str, voided_at: datetime) -> None:
    """Move the void to a time, past the trigger that gives it the present time."""
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute("UPDATE batch.invoice SET voided_at = %s WHERE number = %s", [voided_at, number])
        host.execute(
            "UPDATE batch.accounting_month SET handed_over_at = month + interval '1 month 4 hours' - interval '9 hours'"
        )


# Months ------------------------------------------------------------------------------------------------------------------


def test_a_document_belongs_to_the_accounting_month_of_its_date(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(MONTH, NOVEMBER))
    customer(host, "B")
    billing_rows.billing_profile(host, "A", partner_code="0042")
    run_billing(database, codes=["A"], store=store)
    late = datetime(2026, 12, 1, 9, tzinfo=JAPAN)
    run_billing(database, codes=["B"], store=store, run_at=late)
    run_billing(database, NOVEMBER, codes=["A"], store=store)

    assert listed(store, "2026-11") == [("INV-2026-10-001", "請求", "確定", "11000")]
    assert listed(store, "2026-12") == [
        ("INV-2026-10-002", "請求", "確定", "11000"),
        ("INV-2026-11-001", "請求", "確定", "11000"),
    ]
    assert [(row["伝票番号"], row["取引先コード"]) for row in rows(store, "2026-12", "journal")] == [
        ("INV-2026-10-002", "B"),
        ("INV-2026-10-002", "B"),
        ("INV-2026-11-001", "0042"),
        ("INV-2026-11-001", "0042"),
    ]


def test_an_invoice_voided_in_its_open_month_counts_as_zero(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, store=store)

    operate(database, "void", reason="訂正", store=store)

    assert listed(store, "2026-11") == [("INV-2026-10-001", "請求", "取消", "0")]
    assert [key for key in files(store) if key.startswith("accounting/2026-")] == NOVEMBERS_FILES
    for name in ("journal", "freee", "moneyforward"):
        assert rows(store, "2026-11", name) == []


def test_a_run_that_touches_nothing_writes_the_month_of_its_date(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)

    run_billing(database, store=store, run_at=datetime(2026, 12, 5, 9, tzinfo=JAPAN))

    assert [key for key in files(store) if "journal" in key] == ["accounting/2026-12/journal-2026-12.csv"]
    assert listed(store, "2026-12") == []


def test_a_foreign_document_without_rate_takes_the_newest_of_its_month(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    billing: Billing,
    store: ObjectStore,
) -> None:
    customer(host, "A", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "150")
    run_billing(database)
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute(
            """
            UPDATE batch.invoice
            SET content = jsonb_set(content, '{yen_tax}', 'null'), inputs = jsonb_set(inputs, '{exchange_rate}', 'null')
            """
        )

    with pytest.raises(
        BillingError, match=r"INV-2026-10-001 の通貨 USD .*batch\.exchange_rate に発行月（2026-11）"
    ):
        billing.write_accounting_month(platform, NOVEMBER, store)
    assert files(store) == {}

    for day, rate in ((date(2026, 11, 4), "151"), (date(2026, 11, 30), "152.5"), (DECEMBER, "160")):
        billing_rows.exchange_rate(host, day, rate)
    assert billing.write_accounting_month(platform, NOVEMBER, store)
    (own, tax) = rows(store, "2026-11", "journal")
    assert int(own["借方金額"]) + int(tax["借方金額"]) == 220 * 152.5
    assert own["摘要"].endswith("USD 220.00 @152.5")


# Handing over ------------------------------------------------------------------------------------------------------------


def test_handing_over_writes_the_files_a_last_time_and_records_them(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    run_billing(database)

    month = hand_over(date(2026, 11, 17))

    written = files(store)
    assert list(written) == NOVEMBERS_FILES
    assert (month.month, month.handed_over_by) == (NOVEMBER, "経理部 佐藤")
    assert sorted((file.key, file.location, file.sha256, file.bytes, file.rows) for file in month.files) == [
        (
            key,
            store.location(key),
            hashlib.sha256(written[key]).hexdigest(),
            len(written[key]),
            2 if "journal" in key else 1,
        )
        for key in NOVEMBERS_FILES
    ]
    assert first_open_day(platform) == DECEMBER
    recorded = host.execute("SELECT month, execution_id, files FROM batch.accounting_month").fetchall()
    assert recorded == [(NOVEMBER, "handing over", [file.as_json() for file in month.files])]


def test_a_retry_of_the_same_run_returns_the_month_and_writes_nothing(
    store: ObjectStore, hand_over: Callable[..., HandedOverMonth]
) -> None:
    first = hand_over()
    Path(store.location(NOVEMBERS_FILES[0])).unlink()

    assert hand_over() == first
    assert list(files(store)) == NOVEMBERS_FILES[1:]


def test_a_month_that_is_not_over_is_not_handed_over(hand_over: Callable[..., HandedOverMonth]) -> None:
    with pytest.raises(BillingError, match=r"会計月 2026-11 はまだ終わっていない.*2026-12-01 以降に"):
        hand_over(run_date=date(2026, 11, 30))


def test_a_month_is_handed_over_once_and_no_earlier_one_after_it(
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    hand_over()
    with pytest.raises(BillingError, match="会計月 2026-11 は 経理部 佐藤 が引き渡し済みです"):
        hand_over(execution_id="again")
    with pytest.raises(BillingError, match="2026-10 より後の月が引き渡し済みのため"):
        hand_over(MONTH, execution_id="earlier")


def test_an_earlier_open_month_with_documents_is_handed_over_first(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    run_billing(database)
    january = date(2027, 1, 1)

    with pytest.raises(BillingError, match="先に会計月 2026-11 を引き渡してください"):
        hand_over(DECEMBER, january)
    assert files(store) == {}

    hand_over()
    hand_over(DECEMBER, january, "December")
    assert host.execute("SELECT month FROM batch.accounting_month ORDER BY 1").fetchall() == [
        (NOVEMBER,),
        (DECEMBER,),
    ]


def test_after_the_first_hand_over_no_month_is_skipped(
    database: Database,
    host: psycopg.Connection,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    hand_over(MONTH)
    run_billing(database)

    with pytest.raises(BillingError, match=r"先に会計月 2026-11 を引き渡してください。?$"):
        hand_over(DECEMBER, date(2027, 1, 1), "December", closes_earlier=True)


def test_a_month_cannot_be_reopened(platform: psycopg.Connection, hand_over: Callable[..., Any]) -> None:
    hand_over()
    for statement in ("DELETE FROM batch.accounting_month", "UPDATE batch.accounting_month SET files = '[]'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            platform.execute(statement.encode())


# After handing over ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["void", "credit", "reissue"])
def test_nothing_changes_a_file_that_is_handed_over(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
    operation: str,
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    hand_over()
    host.execute("UPDATE batch.usage_day SET active_users = 22, revision = 2")
    before = [Path(store.location(key)).stat() for key in NOVEMBERS_FILES]
    contents = {key: files(store)[key] for key in NOVEMBERS_FILES}

    assert operate(database, operation, reason="訂正", store=store).status == "completed"
    run_billing(database, codes=["A"], store=store)

    assert {key: files(store)[key] for key in NOVEMBERS_FILES} == contents
    after = [Path(store.location(key)).stat() for key in NOVEMBERS_FILES]
    assert [(stat.st_ino, stat.st_mtime_ns) for stat in after] == [
        (stat.st_ino, stat.st_mtime_ns) for stat in before
    ]


def test_documents_made_after_the_hand_over_date_in_the_open_month(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over()

    # The run's own day is the 1st of November.
    operate(database, "credit", reason="訂正", store=store)

    _, credit = invoices(host, "A")
    assert (credit["number"], credit["issued_on"]) == ("CRN-2026-10-001", DECEMBER)
    assert listed(store, "2026-12") == [("CRN-2026-10-001", "返還", "確定", "-11000")]
    operate(database, "bill_again", reason="訂正", store=store)
    assert [row["issued_on"] for row in invoices(host, "A")] == [FIRST_OF_NOVEMBER, DECEMBER, DECEMBER]


def test_a_void_after_the_hand_over_is_reversed_in_its_month(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    billing: Billing,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over()
    operate(database, "void", reason="宛先の誤り")
    # Still the 2nd in UTC.
    stamp(host, "INV-2026-10-001", datetime(2026, 12, 3, 0, 30, tzinfo=JAPAN))

    billing.write_accounting_month(platform, DECEMBER, store)

    assert listed(store, "2026-12") == [("INV-2026-10-001", "取消", "取消", "-11000")]
    assert [
        (row["取引日"], row["借方勘定科目"], row["借方金額"], row["貸方勘定科目"])
        for row in rows(store, "2026-12", "journal")
    ] == [("2026/12/03", "売上高", "10000", "売掛金"), ("2026/12/03", "仮受消費税", "1000", "売掛金")]
    assert [row["金額"] for row in rows(store, "2026-12", "freee")] == ["-11000"]
    assert [row["発行日"] for row in rows(store, "2026-12")] == ["2026-12-03"]


def test_a_void_is_reversed_when_its_month_closed_with_a_later_one(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    billing: Billing,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    run_billing(database)
    january = date(2027, 1, 1)
    hand_over(DECEMBER, january, closes_earlier=True)
    operate(database, "void", reason="宛先の誤り")
    stamp(host, "INV-2026-10-001", datetime(2027, 1, 3, 10, tzinfo=JAPAN))

    billing.write_accounting_month(platform, january, store)

    assert listed(store, "2027-01") == [("INV-2026-10-001", "取消", "取消", "-11000")]


def test_a_reversal_keeps_its_month_open_for_the_order_of_handing_over(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over()
    operate(database, "void", reason="宛先の誤り")
    stamp(host, "INV-2026-10-001", datetime(2026, 12, 31, 23, 59, tzinfo=JAPAN))

    with pytest.raises(BillingError, match="先に会計月 2026-12 を"):
        hand_over(date(2027, 1, 1), date(2027, 2, 1), "January")
    hand_over(DECEMBER, date(2027, 1, 1), "December")
    assert listed(store, "2026-12") == [("INV-2026-10-001", "取消", "取消", "-11000")]


# Races -------------------------------------------------------------------------------------------------------------------


def test_a_document_dated_in_a_closed_month_is_refused_with_a_sentence(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    billing: Billing,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    hand_over()

    with pytest.raises(BillingError, match="会計へ引き渡し済み"), tenant_transaction(connection, ["A"]):
        billing.settle(connection, MONTH, Instructions(FIRST_OF_NOVEMBER, "somebody"))

    assert invoices(host, "A") == []


def _in_a_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failed


def test_a_hand_over_waits_for_a_document_that_is_being_finalized(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    billing: Billing,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    with tenant_transaction(connection, ["A"]):
        billing.settle(connection, MONTH, Instructions(FIRST_OF_NOVEMBER, "somebody"))
        thread, failed = _in_a_thread(hand_over)
        wait_for_blocked_statement(database)
    thread.join()

    assert failed == []
    assert listed(store, "2026-11") == [("INV-2026-10-001", "請求", "確定", "11000")]


def test_a_hand_over_waits_for_a_void_and_counts_it(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    billing: Billing,
    store: ObjectStore,
    hand_over: Callable[..., HandedOverMonth],
) -> None:
    customer(host, "A")
    run_billing(database)
    with tenant_transaction(connection, ["A"]):
        stored = find_invoice(connection, "INV-2026-10-001")
        billing.void(connection, stored, "宛先の誤り", actor="somebody")
        thread, failed = _in_a_thread(hand_over)
        wait_for_blocked_statement(database)
    thread.join()

    assert failed == []
    assert listed(store, "2026-11") == [("INV-2026-10-001", "請求", "取消", "0")]
    reversals = host.execute("SELECT FROM batch.accounting_entry WHERE booking = 'reversal'")
    assert reversals.fetchall() == []


def test_a_document_waiting_for_a_hand_over_is_refused_or_redated(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    billing: Billing,
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)

    def settle(tenant_id: str, issued_on: date | None) -> None:
        with database.connect("batch_tenant") as own, tenant_transaction(own, [tenant_id]):
            day = issued_on or billing.issue_date(own, MONTH, FIRST_OF_NOVEMBER)
            billing.settle(own, MONTH, Instructions(day, "somebody"))

    with platform.transaction():
        # As a hand-over does.
        platform.execute("SELECT pg_advisory_xact_lock(180201, 0)")
        billing_rows.insert(
            platform,
            "accounting_month",
            month=NOVEMBER,
            handed_over_by="test",
            execution_id="test",
            files=Jsonb([]),
        )
        threads = [
            _in_a_thread(lambda: settle("A", FIRST_OF_NOVEMBER)),
            _in_a_thread(lambda: settle("B", None)),
        ]
        wait_for_blocked_statement(database)
    for thread, _ in threads:
        thread.join()

    ((refusal,), dated) = (failed for _, failed in threads)
    assert isinstance(refusal, BillingError)
    assert refusal.code == "MONTH_HANDED_OVER"
    assert dated == []
    assert [row["issued_on"] for row in invoices(host)] == [DECEMBER]


# Search (電子帳簿保存法) ------------------------------------------------------------------------------------------------------


def test_documents_are_found_by_date_amount_and_counterparty_with_void_ones(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", tenant_name="青葉商事")
    customer(host, "B", "STANDARD", tenant_name="若葉工業")
    run_billing(database, store=store)
    operate(database, "credit", "B", reason="訂正", store=store)
    operate(database, "void", "A", reason="宛先の誤り", store=store)

    found = platform.execute(
        """
        SELECT number, kind, status, transaction_date, amount, currency, yen_total, counterparty, tenant_code, format, location
        FROM batch.document_search
        WHERE
            transaction_date BETWEEN '2026-11-01' AND '2026-11-30' AND amount BETWEEN 10000 AND 12000
            AND counterparty LIKE '青葉%'
        ORDER BY format
        """
    ).fetchall()
    assert found == [
        (
            "INV-2026-10-001",
            "invoice",
            "void",
            FIRST_OF_NOVEMBER,
            11_000,
            "JPY",
            11_000,
            "青葉商事",
            "A",
            name,
            store.location(f"invoices/2026-10/INV-2026-10-001.{name}"),
        )
        for name in ("json", "pdf")
    ]
    credits = platform.execute(
        "SELECT DISTINCT number, original_number FROM batch.document_search WHERE amount < 0"
    )
    assert credits.fetchall() == [("CRN-2026-10-001", "INV-2026-10-002")]


def test_the_index_beside_the_documents_lists_all_numbers_with_amounts_and_files(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", tenant_name="=1+1\n商事")
    customer(host, "B", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "150")
    run_billing(database, store=store)
    operate(database, "credit", "B", reason="訂正", store=store)
    operate(database, "void", "A", reason="宛先の誤り", store=store)

    content = files(store)["invoices/2026-10/index.csv"]
    assert content.startswith(b"\xef\xbb\xbf")
    heads, *found = csv.reader(content.decode("utf-8-sig").split("\r\n")[:-1])
    assert tuple(heads) == INDEX_COLUMNS
    documents = [dict(zip(heads, row, strict=True)) for row in found]
    assert [
        (row["番号"], row["種別"], row["状態"], row["取引金額"], row["円換算額"]) for row in documents
    ] == [
        ("INV-2026-10-001", "請求", "取消", "11000", "11000"),
        ("INV-2026-10-002", "請求", "返還済", "220.00", "33000"),
        ("CRN-2026-10-001", "返還", "確定", "-220.00", "-33000"),
    ]
    assert documents[0]["取引先"] == "'=1+1 商事"
    assert documents[0]["取消理由"] == "宛先の誤り"
    assert documents[2]["元請求書番号"] == "INV-2026-10-002"
    for row in documents:
        for name in ("PDF", "JSON"):
            assert row[f"{name} の SHA-256"] == (
                hashlib.sha256(files(store)[f"invoices/2026-10/{row[name]}"]).hexdigest()
            )


def test_a_search_over_seven_years_of_a_thousand_tenants_reads_an_index(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute(
            """
            INSERT INTO batch.invoice (
                invoice_id, tenant_id, kind, period_start, period_end, status, number, issued_on, currency, total, content,
                inputs, input_hash, execution_id, finalized_at
            )
            SELECT
                month || '-' || tenant, tenant::text, 'invoice', day, day, 'finalized', month || '-' || tenant, day, 'JPY',
                1000 * tenant, jsonb_build_object('recipient', jsonb_build_object('name', 'customer ' || tenant)), '{}', '',
                '', now()
            FROM generate_series(0, 83) AS month
            CROSS JOIN generate_series(1, 1000) AS tenant
            CROSS JOIN LATERAL (SELECT ('2020-01-01'::date + make_interval(months => month))::date) AS dated (day)
            """
        )
    host.execute("ANALYZE batch.invoice")
    by_date = "transaction_date BETWEEN '2023-04-01' AND '2023-04-30'"
    by_counterparty = "counterparty LIKE 'customer 77%'"
    for condition in (
        f"{by_date} AND amount BETWEEN 500000 AND 600000 AND counterparty LIKE '%55%'",
        f"{by_date} AND yen_total BETWEEN 500000 AND 600000",
        f"{by_counterparty} AND transaction_date >= '2020-01-01' AND yen_total > 100000",
    ):
        explained = platform.execute(
            f"EXPLAIN SELECT * FROM batch.document_search WHERE {condition}".encode()
        ).fetchall()
        plan = "\n".join(line for (line,) in explained)
        assert "invoice_by_" in plan, plan
        assert "Seq Scan on invoice " not in plan, plan
