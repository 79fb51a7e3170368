"""Handing a month over: its conditions, its files, what changed since the provisional ones, and what happens at the same time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import psycopg
import pytest
from typing_extensions import override

from include.skillreport.billing.accounting.list_changes import DocumentChange
from include.skillreport.billing.accounting.months import first_open_day
from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.errors import BillingError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.local_run import KilledError
from tests.conftest import Database
from tests.s3_server import S3Server
from tests.worlds import billing_rows
from tests.worlds.accounting_rows import (
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    hand_over,
    keys,
    listed,
    stamp,
    written,
)
from tests.worlds.billing_rows import (
    customer,
    files,
    operate,
    run_billing,
)
from tests.worlds.damaged_files import DAMAGES, damaged
from tests.worlds.faulty_stores import FaultyStore

JANUARY = date(2027, 1, 1)


# The files ---------------------------------------------------------------------------------------------------------------


def test_handing_over_replaces_the_provisional_files_and_records_them(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    assert written(store) == keys("2026-10")

    month = hand_over(platform, store, date(2026, 10, 17))

    assert written(store) == keys("2026-10", is_final=True)
    assert (month.month, month.handed_over_by, month.changes) == (OCTOBER, "経理部 佐藤", ())
    content = files(store)
    assert sorted(
        (file.key, file.location, file.sha256, file.bytes, file.rows, file.yen) for file in month.files
    ) == [
        (
            key,
            store.location(key),
            hashlib.sha256(content[key]).hexdigest(),
            len(content[key]),
            2 if "journal" in key else 1,
            11_000,
        )
        for key in keys("2026-10", is_final=True)
    ]
    assert first_open_day(platform) == NOVEMBER
    recorded = host.execute("SELECT month, execution_id, files, changes FROM batch.accounting_month")
    assert recorded.fetchall() == [(OCTOBER, "handing over", [file.as_json() for file in month.files], [])]


def test_the_hand_over_names_what_changed_since_the_provisional_files(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    customer(host, "C", months=())
    run_billing(database, store=store)
    # Without a store, as if writing the files had failed.
    operate(database, "void", "A", reason="訂正")
    billing_rows.close_month(host, "C")
    run_billing(database, codes=["C"])
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute("DELETE FROM batch.invoice WHERE tenant_id = 'B'")

    month = hand_over(platform, store)

    assert month.changes == (
        DocumentChange("INV-2026-10-001", "請求", "11,000 JPY", "0 JPY"),
        DocumentChange("INV-2026-10-002", "請求", "11,000 JPY", None),
        DocumentChange("INV-2026-10-003", "請求", None, "11,000 JPY"),
    )


def test_the_recorded_hashes_are_those_of_the_written_content(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database, store=store)

    month = hand_over(platform, FaultyStore(store, reading=lambda _, content: content + b"forged"))

    content = files(store)
    assert [file.sha256 for file in month.files] == [
        hashlib.sha256(content[file.key]).hexdigest() for file in month.files
    ]
    assert month.changes is None


def test_without_a_provisional_list_no_changes_are_named(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)

    assert hand_over(platform, store).changes is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_list_that_was_changed_is_no_list_and_the_month_closes(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    damaged(Path(store.location(keys("2026-10")[0])), damage)

    month = hand_over(platform, store)

    assert month.changes is None
    assert "未確定" in caplog.text
    assert first_open_day(platform) == NOVEMBER
    assert host.execute("SELECT FROM batch.provisional_file").fetchall() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.decode("utf-8-sig").encode("cp932"),
        lambda content: content.replace(b"11000", b"1e999999999"),
        lambda content: content.replace(b"11000", b"99000"),
        lambda content: content + "INV-X,請求,JPY,1,1\r\n".encode() * 300_000,
    ],
    ids=["saved as Shift_JIS", "a number without end", "another amount", "many lines"],
)
def test_a_list_that_a_spreadsheet_saved_is_no_list(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    change: Callable[[bytes], bytes],
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    store.write(keys("2026-10")[0], change(store.read(keys("2026-10")[0])))

    assert hand_over(platform, store).changes is None


def test_a_retry_of_the_same_run_returns_the_month_and_writes_nothing(
    platform: psycopg.Connection, database: Database, store: ObjectStore
) -> None:
    run_billing(database)
    first = hand_over(platform, store)
    Path(store.location(keys("2026-10", is_final=True)[0])).unlink()

    assert hand_over(platform, store) == first
    assert written(store) == keys("2026-10", is_final=True)[1:]


def test_a_month_in_an_object_store_is_handed_over_too(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, s3: S3Server
) -> None:
    bucket = ObjectStore(s3.path("batch"))
    customer(host, "A")
    run_billing(database, store=bucket)
    operate(database, "void", reason="訂正")

    month = hand_over(platform, bucket)

    names = [name for name in s3.names() if name.startswith("batch/accounting/2")]
    assert names == [f"batch/{key}" for key in keys("2026-10", is_final=True)]
    assert month.changes == (DocumentChange("INV-2026-10-001", "請求", "11,000 JPY", "0 JPY"),)


class _DyingStore(ObjectStore):
    """A store whose process is killed at the first deletion."""

    @override
    def delete(self, key: str) -> None:
        raise KilledError


def test_a_later_run_deletes_what_a_killed_hand_over_left(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path)
    customer(host, "A")
    run_billing(database, store=store)
    with pytest.raises(KilledError):
        hand_over(platform, _DyingStore(tmp_path))
    assert written(store) == sorted([*keys("2026-10"), *keys("2026-10", is_final=True)])
    final = {key: files(store)[key] for key in keys("2026-10", is_final=True)}

    run_billing(database, store=store)

    assert {key: files(store)[key] for key in written(store)} == final


def test_final_files_without_a_hand_over_are_deleted_by_the_next_run(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    platform.execute("SET statement_timeout = '1s'")
    with database.connect() as other, other.transaction():
        # The record of the hand-over waits for this lock until its statement is killed.
        other.execute("LOCK TABLE batch.accounting_month IN SHARE MODE")
        with pytest.raises(psycopg.errors.QueryCanceled):
            hand_over(platform, store)
    platform.execute("RESET statement_timeout")
    assert written(store) == keys("2026-10", is_final=True)

    operate(database, "void", reason="訂正", store=store)

    assert written(store) == keys("2026-10")
    assert hand_over(platform, store).changes == ()
    assert listed(store, "2026-10", is_final=True) == [("INV-2026-10-001", "請求", "取消", "0")]


# The order of months -----------------------------------------------------------------------------------------------------


def test_a_month_that_is_not_over_is_not_handed_over(
    platform: psycopg.Connection, store: ObjectStore
) -> None:
    with pytest.raises(BillingError, match=r"会計月 2026-11 はまだ終わっていない.*2026-12-01 以降に"):
        hand_over(platform, store, NOVEMBER, date(2026, 11, 30))


def test_a_month_is_handed_over_once_and_no_earlier_one_after_it(
    database: Database, platform: psycopg.Connection, store: ObjectStore
) -> None:
    run_billing(database)
    hand_over(platform, store)
    with pytest.raises(BillingError, match="会計月 2026-10 は 経理部 佐藤 が確定済みです"):
        hand_over(platform, store, execution_id="again")
    with pytest.raises(BillingError, match="2026-09 より後の月が確定済みのため"):
        hand_over(platform, store, date(2026, 9, 1), execution_id="earlier")


def test_an_earlier_open_month_with_documents_is_handed_over_first(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(OCTOBER, NOVEMBER))
    run_billing(database)
    run_billing(database, NOVEMBER)

    with pytest.raises(BillingError, match="先に会計月 2026-10 を確定してください"):
        hand_over(platform, store, NOVEMBER, DECEMBER)
    assert files(store) == {}

    hand_over(platform, store)
    hand_over(platform, store, NOVEMBER, DECEMBER, "November")
    assert host.execute("SELECT month FROM batch.accounting_month ORDER BY 1").fetchall() == [
        (OCTOBER,),
        (NOVEMBER,),
    ]


def test_after_the_first_hand_over_no_month_is_skipped(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over(platform, store)
    operate(database, "credit", reason="訂正")

    with pytest.raises(BillingError, match=r"先に会計月 2026-11 を確定してください。?$"):
        hand_over(platform, store, DECEMBER, JANUARY, "December", accepted=Accepted(earlier_months=True))


def test_the_first_hand_over_writes_final_files_of_earlier_months(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", months=(OCTOBER, NOVEMBER))
    run_billing(database, store=store)
    run_billing(database, NOVEMBER, store=store)
    run_billing(database, DECEMBER, store=store)

    with pytest.raises(BillingError, match="先に会計月 2026-10、2026-11 を確定してください"):
        hand_over(platform, store, DECEMBER, JANUARY)
    accepted = Accepted(earlier_months=True, failed_tenants=True)
    closed = hand_over(platform, store, DECEMBER, JANUARY, accepted=accepted)

    assert written(store) == [
        key for month in ("2026-10", "2026-11", "2026-12") for key in keys(month, is_final=True)
    ]
    assert [(each.month, each.files[0].rows, each.changes) for each in closed.earlier] == [
        (OCTOBER, 1, ()),
        (NOVEMBER, 1, ()),
    ]
    assert listed(store, "2026-10", is_final=True) == [("INV-2026-10-001", "請求", "確定", "11000")]
    assert hand_over(platform, store, DECEMBER, JANUARY, accepted=accepted) == closed


def test_a_reversal_keeps_its_month_open_for_the_order_of_handing_over(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    hand_over(platform, store)
    operate(database, "void", reason="宛先の誤り")
    stamp(host, "INV-2026-10-001", datetime(2026, 11, 30, 23, 59, tzinfo=JAPAN))
    for month in (NOVEMBER, DECEMBER):
        run_billing(database, month)

    with pytest.raises(BillingError, match="先に会計月 2026-11 を"):
        hand_over(platform, store, DECEMBER, JANUARY, "December")
    hand_over(platform, store, NOVEMBER, DECEMBER, "November", accepted=Accepted(failed_tenants=True))
    assert listed(store, "2026-11", is_final=True) == [("INV-2026-10-001", "取消", "取消", "-11000")]


def test_a_month_cannot_be_reopened(
    database: Database, platform: psycopg.Connection, store: ObjectStore
) -> None:
    run_billing(database)
    hand_over(platform, store)
    for statement in ("DELETE FROM batch.accounting_month", "UPDATE batch.accounting_month SET files = '[]'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            platform.execute(statement.encode())


@pytest.mark.parametrize("operation", ["void", "credit", "reissue"])
def test_nothing_changes_a_file_that_is_handed_over(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    operation: str,
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    hand_over(platform, store)
    host.execute("UPDATE batch.usage_day SET active_users = 22, revision = 2")
    final = keys("2026-10", is_final=True)
    before = [Path(store.location(key)).stat() for key in final]
    contents = {key: files(store)[key] for key in final}

    assert operate(database, operation, reason="訂正", store=store).status == "completed"
    run_billing(database, codes=["A"], store=store)

    assert {key: files(store)[key] for key in final} == contents
    after = [Path(store.location(key)).stat() for key in final]
    assert [(stat.st_ino, stat.st_mtime_ns) for stat in after] == [
        (stat.st_ino, stat.st_mtime_ns) for stat in before
    ]
