"""BATCH-019-04 on real rows: deleted and kept rows, no deletion without an archive, and the state after a kill."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from include.skillreport.batches.notification_log_cleanup import archive as archive_module
from include.skillreport.batches.notification_log_cleanup import create_batch
from include.skillreport.core.catalog import NOTIFICATION_LOG_CLEANUP
from include.skillreport.core.database import Statements
from include.skillreport.core.execution import row_archive
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.core.execution.run_log import RunResult, close_execution
from include.skillreport.core.execution.shard_work import ShardReport, prepare
from local_stack.batch_runs import LOCAL, open_run, process_tenants, run_batch
from local_stack.local_run import KilledError
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.faulty_stores import FaultyStore, files, flipped
from tests.worlds.old_messages import FIRST_KEPT, OLD, TODAY, logged, message, row_ids


def setting(
    host: psycopg.Connection, tenant_id: str, value: str, *, name: str = "retention_days", **values: Any
) -> None:
    """The tenant's own retention."""
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"setting_{next(row_ids)}",
        tenant_id=tenant_id,
        setting_key=f"batch.notification.{name}",
        setting_value=value,
        updated_at=OLD,
        **values,
    )


def clean(database: Database, store: ObjectStore, *, dry_run: bool = False, day: date = TODAY) -> RunResult:
    """One whole run."""
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            NOTIFICATION_LOG_CLEANUP,
            create_batch(LOCAL),
            day,
            dry_run=dry_run,
            store=store,
        )


def opened(database: Database) -> Run:
    """A run that has only been opened."""
    with database.connect("batch_platform") as platform:
        return open_run(platform, NOTIFICATION_LOG_CLEANUP, create_batch(LOCAL), TODAY)[0]


def process(
    database: Database, run: Run, store: ObjectStore, tenant_ids: tuple[str, ...] = ("A",)
) -> ShardReport:
    """The tenants' step of the run: first, or once more after its task was retried or cleared."""
    with database.working() as (platform, connection):
        return process_tenants(connection, platform, create_batch(LOCAL), run, tenant_ids, store)


def close(database: Database, run: Run) -> RunResult:
    with database.connect("batch_platform") as platform:
        result = close_execution(platform, run)
        create_batch(LOCAL).discard(Work(run, platform))
        return result


def ids(host: psycopg.Connection) -> set[str]:
    """Notifications and messages that are in the database."""
    rows = host.execute('SELECT id FROM "HIS_NotificationLog" UNION ALL SELECT message_id FROM batch.outbox')
    return {row_id for (row_id,) in rows}


def manifests(store: ObjectStore) -> list[dict[str, Any]]:
    return [json.loads(store.read(key)) for key in files(store) if key.endswith(".manifest.json")]


def archived(store: ObjectStore) -> dict[str, dict[str, Any]]:
    """All rows that manifests vouch for, by id, every file checked against its manifest."""
    rows: dict[str, dict[str, Any]] = {}
    for manifest in manifests(store):
        for file in manifest["files"]:
            content = store.read(file["key"])
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["bytes"])
            lines = [json.loads(line) for line in gzip.decompress(content).split(b"\n")[:-1]]
            column = "id" if manifest["table"] == "HIS_NotificationLog" else "message_id"
            assert len(lines) == file["rows"]
            assert (lines[0][column], lines[-1][column]) == (file["first_id"], file["last_id"])
            assert {line["tenant_id"] for line in lines} == {manifest["tenant_id"]}
            rows |= {line[column]: line for line in lines}
    return rows


def outcome(host: psycopg.Connection, execution_id: str, tenant_id: str = "A") -> dict[str, Any]:
    with host.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM batch.tenant_outcome WHERE execution_id = %s AND tenant_id = %s",
            [execution_id, tenant_id],
        ).fetchone()
    assert row is not None
    return row


def staged(host: psycopg.Connection) -> int:
    row = host.execute("SELECT count(*) FROM batch.old_notification").fetchone()
    assert row is not None
    return int(row[0])


# Deleted and kept rows -----------------------------------------------------------------------------------------------------


def test_messages_that_finished_before_the_90th_japanese_day_are_deleted(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    day, moment = timedelta(days=1), timedelta(milliseconds=1)
    kept = {logged(host, "A", FIRST_KEPT + day), logged(host, "A", FIRST_KEPT)}
    gone = {logged(host, "A", FIRST_KEPT - moment), logged(host, "A", FIRST_KEPT - day)}
    at = {"finished_at": FIRST_KEPT.replace(tzinfo=UTC)}
    kept.add(message(host, "A", **at))
    gone.add(message(host, "A", finished_at=at["finished_at"] - moment))

    result = clean(database, store)

    assert result.status == "completed"
    assert ids(host) == kept
    assert set(archived(store)) == gone
    told = outcome(host, result.execution_id)
    assert told["details"] == {"archivedNotifications": 2, "archivedMessages": 1}
    assert (told["records"], told["notes"], staged(host)) == (3, [], 0)


def test_a_tenants_own_retention_holds_for_its_rows_only(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id, value in (("A", "30"), ("B", "400"), ("C", "36500")):
        host_rows.tenant(host, tenant_id)
        setting(host, tenant_id, value)
    for tenant_id in "DEF":
        host_rows.tenant(host, tenant_id)
    setting(host, "D", "10", effective_from=datetime(2026, 10, 31, 15, 0, 1))  # a second after the day began
    setting(host, "E", "10", effective_until=datetime(2026, 10, 31, 15))
    setting(host, "F", "10", is_deleted=True)
    in_september = datetime(2026, 9, 20)
    a = {logged(host, "A", OLD), logged(host, "A", in_september)}
    others = {logged(host, tenant_id, in_september) for tenant_id in "BCDEF"}
    others |= {logged(host, "B"), logged(host, "C")}

    assert clean(database, store).status == "completed"

    assert ids(host) == others
    (manifest,) = manifests(store)
    assert (manifest["tenant_id"], manifest["retention_days"], manifest["rows"]) == ("A", 30, 2)
    assert manifest["finished_before_utc"] == "2026-10-01T15:00:00"
    assert set(archived(store)) == a


def test_the_tenants_of_a_shard_are_counted_and_archived_each_for_itself(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id in "ABC":
        host_rows.tenant(host, tenant_id)
    setting(host, "B", "30")
    a = {logged(host, "A"), message(host, "A", host_log_id="the same id")}
    b = {logged(host, "B"), logged(host, "B", datetime(2026, 9, 20))}
    kept = {logged(host, "A", datetime(2026, 9, 20)), logged(host, "C"), message(host, "C")}

    report = process(database, opened(database), store, ("A", "B"))

    assert {result.unit_id: tuple(result.details.values()) for result in report.results} == {
        "A": (1, 1),
        "B": (2, 0),
    }
    assert ids(host) == kept
    assert set(archived(store)) == a | b


@pytest.mark.parametrize(
    "values",
    [
        {"status": "deleted"},
        {"status": "ACTIVE", "is_deleted": True},
        {"status": "SUSPENDED"},
        {"status": "INACTIVE"},
        {"status": "EXPIRED"},
    ],
)
def test_rows_of_an_inactive_tenant_are_archived_under_its_own_id(
    database: Database, host: psycopg.Connection, store: ObjectStore, values: dict[str, Any]
) -> None:
    host_rows.tenant(host, "A")
    host_rows.tenant(host, "gone", **values)
    gone = {logged(host, "gone"), message(host, "gone")}
    kept = {logged(host, "gone", datetime(2026, 10, 1))}

    result = clean(database, store)

    assert (result.status, result.total_tenants) == ("completed", 2)
    assert ids(host) == kept
    assert set(archived(store)) == gone
    assert {(manifest["tenant_id"], manifest["rows"]) for manifest in manifests(store)} == {("gone", 1)}
    assert all(key.startswith(f"notification_log/{tenant_folder('gone')}/") for key in files(store))


def test_a_tenant_with_an_unknown_status_is_left_out_with_a_remark(
    database: Database, host: psycopg.Connection, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    host_rows.tenant(host, "A")
    host_rows.tenant(host, "odd", status="FROZEN")
    kept = logged(host, "odd")

    result = clean(database, store)

    assert (result.status, result.total_tenants) == ("completed", 1)
    assert ids(host) == {kept}
    assert "Tenant odd ('odd') is left out: UNKNOWN" in caplog.text


@pytest.mark.parametrize("status", ["deleted", "SUSPENDED", "INACTIVE", "EXPIRED"])
def test_archives_are_deleted_after_two_years_whatever_the_tenants_status(
    database: Database, host: psycopg.Connection, store: ObjectStore, status: str
) -> None:
    host_rows.tenant(host, "A")
    host_rows.tenant(host, "gone", status=status)
    host_rows.tenant(host, "long")
    setting(host, "long", "800", name="archive_days")
    last_kept = date(2024, 11, 1)
    days = {last_kept: True, last_kept - timedelta(1): False, date(2020, 1, 5): False}
    for tenant_id in ("A", "gone", "long"):
        for day in days:
            for name in ("x.jsonl.gz", "x.manifest.json"):
                store.write(f"{folder_of(tenant_id)}/{day}/{name}", b"")
        store.write(f"{folder_of(tenant_id)}/not-a-day/x", b"")
    store.write(f"{folder_of('unknown')}/2020-01-05/x", b"")

    assert clean(database, store, dry_run=True).status == "completed"
    assert len(files(store)) == 22
    assert clean(database, store).status == "completed"

    for tenant_id in ("A", "gone"):
        assert store.names(folder_of(tenant_id)) == [f"{last_kept}", "not-a-day"]
    assert store.names(folder_of("long")) == [f"{last_kept - timedelta(1)}", f"{last_kept}", "not-a-day"]
    # The files of a tenant that does not exist are not the batch's to judge.
    assert store.names(folder_of("unknown")) == ["2020-01-05"]


def test_an_archive_that_cannot_be_deleted_fails_its_tenant_only(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id in "AB":
        host_rows.tenant(host, tenant_id)
        store.write(f"{folder_of(tenant_id)}/2020-01-05/x", b"")
    gone = {logged(host, "A"), logged(host, "B")}

    result = clean(database, Undeletable(store, folder_of("A")))

    assert (result.status, [tenant.code for tenant in result.failed_tenants]) == ("partial", ["A"])
    assert "notification_log/" in result.failed_tenants[0].reason
    # The other rows are archived all the same.
    assert set(archived(store)) == gone
    assert clean(database, store).status == "completed"
    assert not any("2020-01-05" in key for key in files(store))


def folder_of(tenant_id: str) -> str:
    """The folder of a tenant's archives."""
    return f"notification_log/{tenant_folder(tenant_id)}"


class Undeletable(ObjectStore):
    """Another store's files, of which one folder cannot be deleted."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        super().__init__(Path(store.location("root")).parent)
        self._folder = folder

    def delete(self, key: str) -> None:
        if key.startswith(self._folder):
            raise OSError(errno.EACCES, "Permission denied")
        super().delete(key)


@pytest.mark.parametrize("value", ["0", "999999"])
def test_an_invalid_retention_is_reported_and_the_default_used(
    database: Database, host: psycopg.Connection, store: ObjectStore, value: str
) -> None:
    host_rows.tenant(host, "A")
    setting(host, "A", value)
    logged(host, "A")
    kept = logged(host, "A", datetime(2026, 10, 1))

    result = clean(database, store)

    assert result.status == "completed"
    assert ids(host) == {kept}
    (note,) = outcome(host, result.execution_id)["notes"]
    assert "batch.notification.retention_days" in note
    assert "既定値を使いました" in note


@pytest.mark.parametrize(
    ("status", "goes"),
    [
        *((status, True) for status in ("SUCCESS", "sent", " Failed ", "DELIVERED", "OPENED", "BOUNCED")),
        *((status, True) for status in ("EXPIRED", "CANCELLED", "CANCELED", "SKIPPED")),
        *((status, False) for status in ("PENDING", "SENDING", "RETRY", "pending", "QUEUED", "", None)),
    ],
)
def test_only_what_nothing_happens_to_any_more_goes(
    database: Database, host: psycopg.Connection, store: ObjectStore, status: str | None, goes: bool
) -> None:
    host_rows.tenant(host, "A")
    log_id = logged(host, "A", send_status=status)

    clean(database, store)

    assert ids(host) == (set() if goes else {log_id})
    assert set(archived(store)) == ({log_id} if goes else set())


def test_the_statement_that_archives_knows_the_same_statuses_as_the_view(host: psycopg.Connection) -> None:
    row = host.execute("SELECT pg_get_viewdef('batch.all_finished_notification'::regclass)").fetchone()
    assert row is not None
    statement = Statements(Path(archive_module.__file__).parent)["notifications_to_archive"]
    listed = statement[statement.index("'SUCCESS'") : statement.index("'SKIPPED'")]

    assert set(row[0].split("'")[1::2]) == {*listed.split("'")[1::2], "SKIPPED"}


def test_an_unsent_notification_is_as_old_as_its_last_change(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    failed = logged(host, "A", sent_at=None, send_status="FAILED")
    withdrawn = logged(host, "A", sent_at=None, send_status="PENDING", is_deleted=True)
    changed = logged(host, "A", sent_at=None, send_status="FAILED", updated_at=FIRST_KEPT)

    clean(database, store)

    assert ids(host) == {changed}
    assert set(archived(store)) == {failed, withdrawn}


@pytest.mark.parametrize("status", ["pending", "sending", "retry", "ambiguous"])
def test_a_notification_whose_message_is_not_finished_stays_with_it(
    database: Database, host: psycopg.Connection, store: ObjectStore, status: str
) -> None:
    host_rows.tenant(host, "A")
    log_id = logged(host, "A", send_status="FAILED")
    lease = {"lease_owner": "x", "lease_until": datetime(2026, 11, 1, tzinfo=UTC)}
    values = {"status": status, "finished_at": None, **(lease if status == "sending" else {})}
    message_id = message(host, "A", host_log_id=log_id, **values)

    result = clean(database, store)

    assert ids(host) == {log_id, message_id}
    assert files(store) == []
    assert outcome(host, result.execution_id)["records"] == 0


def test_messages_are_deleted_with_their_notification_unless_their_event_may_recur(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    start_of_day = datetime(2026, 10, 31, 15, tzinfo=UTC)
    with_it = message(host, "A", host_log_id=logged(host, "A"))
    after_it = message(host, "A", host_log_id="gone long ago")
    without_any = message(host, "A", dedupe_until=start_of_day)
    still_needed = message(host, "A", dedupe_until=start_of_day + timedelta(seconds=1))
    its_notification_goes = message(
        host, "A", host_log_id=logged(host, "A"), dedupe_until=start_of_day + timedelta(days=9)
    )
    young = logged(host, "A", FIRST_KEPT)
    its_notification_stays = message(host, "A", host_log_id=young)
    dead = message(host, "A", status="dead", error_code="x")

    result = clean(database, store)

    assert ids(host) == {still_needed, its_notification_goes, young, its_notification_stays}
    assert {with_it, after_it, without_any, dead} < set(archived(store))
    assert outcome(host, result.execution_id)["details"] == {
        "archivedNotifications": 2,
        "archivedMessages": 4,
    }
    by_table = {manifest["table"]: manifest["rows"] for manifest in manifests(store)}
    assert by_table == {"HIS_NotificationLog": 2, "batch.outbox": 4}

    # When the event cannot occur again, its message is deleted. When the other message's notification is old, that message is deleted.
    clean(database, store, day=date(2026, 11, 15))
    assert ids(host) == set()


def test_the_archive_holds_the_rows_exactly(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A", tenant_code="会社A")
    full = logged(
        host,
        "A",
        notification_id="n1",
        recipient_address='"山田" <taro@example.jp>',
        subject="件名\r\nと\u2028行 😀",
        message_body='本文\n"引用"\t\\n \x01 終わり\n',
        send_attempts=3,
        scheduled_at=datetime(2026, 6, 30, 15, 0, 0, 1_000),
        error_details="",
    )
    odd = logged(host, "A")
    host.execute(
        """UPDATE "HIS_NotificationLog" SET sent_at = '-infinity', opened_at = 'infinity', scheduled_at = '12026-01-01' WHERE id = %s""",
        [odd],
    )
    rich = message(host, "A", rich='{"blocks": [{"text": "改\\n行", "n": 1.50}]}', host_log_id=None)
    with host.cursor(row_factory=dict_row) as cursor:
        before = cursor.execute('SELECT * FROM "HIS_NotificationLog" WHERE id = %s', [full]).fetchone()
        rich_before = cursor.execute("SELECT * FROM batch.outbox").fetchone()
    assert before
    assert rich_before

    result = clean(database, store)

    assert result.status == "completed"
    assert ids(host) == set()
    rows = archived(store)

    assert set(rows[full]) == set(before)
    # PostgreSQL writes .678 where Python writes .678000.
    for name, value in before.items():
        if isinstance(value, datetime):
            assert datetime.fromisoformat(rows[full][name]) == value
        else:
            assert rows[full][name] == value
    assert set(rows[rich]) == set(rich_before)
    for name, value in rich_before.items():
        found = datetime.fromisoformat(rows[rich][name]) if isinstance(value, datetime) else rows[rich][name]
        assert found == value
    assert (rows[odd]["sent_at"], rows[odd]["opened_at"]) == ("-infinity", "infinity")
    notifications = next(one for one in manifests(store) if one["table"] == "HIS_NotificationLog")
    assert (notifications["tenant_code"], notifications["business_date"]) == ("会社A", "2026-11-01")
    assert notifications["execution_id"] == result.execution_id
    (file,) = notifications["files"]
    assert (file["finished_from"], file["finished_to"]) == ("-infinity", "2026-07-01 03:04:05.678")

    # And the application's table takes them back.
    host.execute(
        'INSERT INTO "HIS_NotificationLog" SELECT * FROM jsonb_populate_record(null::"HIS_NotificationLog", %s::jsonb)',
        [json.dumps(rows[full])],
    )
    with host.cursor(row_factory=dict_row) as cursor:
        assert (
            cursor.execute('SELECT * FROM "HIS_NotificationLog" WHERE id = %s', [full]).fetchone() == before
        )


def test_where_nothing_is_old_there_are_no_files(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    host_rows.tenant(host, "B")
    logged(host, "A", FIRST_KEPT)

    assert clean(database, store).status == "completed"
    assert files(store) == []


def test_a_dry_run_counts_and_writes_and_deletes_nothing(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    rows = {logged(host, "A")}
    (log_id,) = rows
    rows |= {message(host, "A", host_log_id=log_id), message(host, "A")}

    result = clean(database, store, dry_run=True)

    assert outcome(host, result.execution_id)["details"] == {
        "archivedNotifications": 1,
        "archivedMessages": 2,
    }
    assert (ids(host), files(store), staged(host)) == (rows, [], 0)


# Tenants -------------------------------------------------------------------------------------------------------------------


def test_each_tenant_has_an_archive_of_its_own_whatever_its_id_is(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    tenants = ["../../etc", 'O\'Haːra/../"X"', "..", "a/b", "a_b", "A_B", "%2e%2e", "テナント" * 60, "a\\b"]
    owned = {}
    for tenant_id in tenants:
        host_rows.tenant(host, tenant_id, tenant_code=f"code of {tenant_id}")
        owned[tenant_id] = {logged(host, tenant_id), message(host, tenant_id)}
    logged(host, "nobody")

    result = clean(database, store)

    assert (result.status, result.success_count) == ("completed", len(tenants))
    assert all(key.startswith("notification_log/") and ".." not in key for key in files(store))
    assert len({key.split("/")[1].lower() for key in files(store)}) == len(tenants)
    rows = archived(store)
    for tenant_id in tenants:
        assert {row_id for row_id, row in rows.items() if row["tenant_id"] == tenant_id} == owned[tenant_id]
    assert {manifest["tenant_code"] for manifest in manifests(store)} == {f"code of {id}" for id in tenants}


def test_a_folder_is_readable_where_the_id_is() -> None:
    assert tenant_folder("tenant-001").startswith("tenant-001-")
    assert tenant_folder("a") != tenant_folder("A")


def test_one_tenants_broken_archive_leaves_the_others_alone(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id in "AB":
        host_rows.tenant(host, tenant_id)
    kept = logged(host, "A")
    gone = logged(host, "B")

    def full(key: str) -> None:
        if tenant_folder("A") in key:
            with store.writer(key), Path("/dev/full").open("wb", buffering=0) as file:
                file.write(b"x")

    result = clean(database, FaultyStore(store, on_write=full))

    assert (result.status, result.success_count) == ("partial", 1)
    assert ids(host) == {kept}
    assert set(archived(store)) == {gone}
    told = outcome(host, result.execution_id)
    assert told["error_code"] == "NoSpaceError"
    assert told["error_message"].startswith(
        f"保存先 {Path(store.location('x')).parent} の空き容量がなくなりました"
    )


# Faults --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".jsonl.gz", ".manifest.json"])
@pytest.mark.parametrize("fault", [flipped, lambda content: content[:-1]], ids=["flipped", "cut off"])
def test_a_file_that_reads_back_differently_deletes_no_row(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    ending: str,
    fault: Callable[[bytes], bytes],
) -> None:
    host_rows.tenant(host, "A")
    rows = {logged(host, "A"), message(host, "A")}
    run = opened(database)
    broken = FaultyStore(
        store, reading=lambda key, content: fault(content) if key.endswith(ending) else content
    )

    (failure,) = process(database, run, broken).failures

    assert failure.recoverable
    assert "読み戻すと、書き込んだ内容と違います" in failure.message
    assert ids(host) == rows
    # Once the store is mended, the same run does it.
    assert process(database, run, store).failures == []
    assert ids(host) == set()
    assert set(archived(store)) == rows


def test_no_row_goes_before_all_files_are_verified(
    database: Database, host: psycopg.Connection, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = many(host, 30)
    monkeypatch.setattr(row_archive, "PART_ROWS", 10)
    broken = FaultyStore(
        store, reading=lambda key, content: flipped(content) if "-notifications-0003-" in key else content
    )

    (failure,) = process(database, opened(database), broken).failures

    assert "-notifications-0003-" in failure.message
    assert ids(host) == rows


def test_a_file_that_breaks_during_deletion_keeps_its_rows(
    database: Database, host: psycopg.Connection, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = many(host, 30)
    monkeypatch.setattr(row_archive, "PART_ROWS", 10)
    reads = count(1)

    def breaks_later(key: str, content: bytes) -> bytes:
        return flipped(content) if "-notifications-0002-" in key and next(reads) == 2 else content

    (failure,) = process(database, opened(database), FaultyStore(store, reading=breaks_later)).failures

    assert "確認できていない行は削除していません" in failure.message
    assert len(ids(host)) == len(rows) - 10
    clean(database, store)
    assert ids(host) == set()
    assert set(archived(store)) == rows


def test_a_file_that_vanishes_before_it_is_read_deletes_no_row(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    log_id = logged(host, "A")

    def lost(*_: object) -> bytes:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    (failure,) = process(database, opened(database), FaultyStore(store, reading=lost)).failures

    assert "を読み戻せません（ファイルがありません）" in failure.message
    assert ids(host) == {log_id}


def many(host: psycopg.Connection, rows: int) -> set[str]:
    """Old notifications of A, each with a message."""
    host_rows.tenant(host, "A")
    host.execute(
        """
        INSERT INTO "HIS_NotificationLog" (id, tenant_id, send_status, subject, sent_at, updated_at)
        SELECT 'n' || number, 'A', 'SUCCESS', 'お知らせ ' || number, '2026-07-01', '2026-07-01'
        FROM generate_series(1, %s) AS number
        """,
        [rows],
    )
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, due_at, next_attempt_at, created_by,
            dedupe_until, finished_at, host_log_id
        )
        SELECT
            'm' || number, 'A', 'host:n' || number, 'email', 'a@example.jp', 's', 'b', 'sent', '2026-07-01', '2026-07-01', 'test',
            '2026-07-01', '2026-07-01', 'n' || number
        FROM generate_series(1, %s) AS number
        """,
        [rows],
    )
    return ids(host)


def test_rows_are_deleted_in_chunks(
    database: Database, host: psycopg.Connection, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = many(host, 250)
    monkeypatch.setattr(row_archive, "PART_ROWS", 110)
    monkeypatch.setattr(archive_module, "CHUNK_ROWS", 100)
    deleted: list[int] = []
    delete = archive_module._delete

    def counted(*args: Any) -> int:
        deleted.append(delete(*args))
        return deleted[-1]

    monkeypatch.setattr(archive_module, "_delete", counted)

    result = clean(database, store)

    assert ids(host) == set()
    assert set(archived(store)) == rows
    assert deleted == [100, 10, 100, 10, 30] * 2
    assert [len(manifest["files"]) for manifest in manifests(store)] == [3, 3]
    assert outcome(host, result.execution_id)["records"] == 500


def test_a_file_ends_at_its_size_too(
    database: Database, host: psycopg.Connection, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_rows.tenant(host, "A")
    rows = {logged(host, "A", message_body="長" * 1_000) for _ in range(5)}
    monkeypatch.setattr(row_archive, "PART_BYTES", 5_000)

    clean(database, store)

    assert set(archived(store)) == rows
    assert [file["rows"] for file in manifests(store)[0]["files"]] == [2, 2, 1]


@pytest.mark.parametrize(
    ("moment", "again"),
    [
        ("second file", "same run"),
        ("manifest", "next run"),
        ("third chunk", "same run"),
        ("third chunk", "cleared later"),
        ("third chunk", "next run"),
        ("messages", "cleared later"),
        ("messages' chunk", "same run"),
        ("messages' chunk", "next run"),
    ],
)
def test_a_kill_loses_nothing_and_the_next_try_does_the_rest(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    again: str,
) -> None:
    rows = many(host, 250)
    monkeypatch.setattr(row_archive, "PART_ROWS", 100)
    monkeypatch.setattr(archive_module, "CHUNK_ROWS", 40)
    run = opened(database)

    def kill_at_file(key: str) -> None:
        at = {
            "second file": "-notifications-0002-",
            "manifest": ".manifest.json",
            "messages": "-messages-0002-",
        }
        if moment in at and at[moment] in key:
            raise KilledError

    delete, chunks = archive_module._delete, count(1)

    def kill_at_chunk(*args: Any) -> int:
        if next(chunks) == {"third chunk": 3, "messages' chunk": 12}.get(moment):
            raise KilledError
        return delete(*args)

    with monkeypatch.context() as killing:
        killing.setattr(archive_module, "_delete", kill_at_chunk)
        with pytest.raises(KilledError):
            process(database, run, FaultyStore(store, on_write=kill_at_file))
    left = ids(host)
    assert rows - left <= set(archived(store)), "a row is in no archive"
    assert (len(left) < len(rows)) == (moment not in ("second file", "manifest"))

    if again == "next run":
        assert clean(database, store).status == "completed"
    else:
        if again == "cleared later":
            close(database, run)
        assert process(database, run, store).failures == []
        result = close(database, run)
        assert result.status == "completed"

    assert ids(host) == set()
    assert set(archived(store)) == rows
    if again == "same run":
        assert outcome(host, run.execution_id)["details"] == {
            "archivedNotifications": 250,
            "archivedMessages": 250,
        }


def test_a_second_run_and_a_cleared_instance_find_nothing_and_forget_nothing(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    many(host, 30)
    run = opened(database)
    process(database, run, store)
    written = files(store)
    assert staged(host) == 61

    # A retry of the shard for another tenant's sake, and a clear after the run was closed.
    assert process(database, run, store).results[0].details["archivedNotifications"] == 30
    assert close(database, run).records == 60
    assert staged(host) == 0
    process(database, run, store)
    assert close(database, run).records == 60
    figures = {"archivedNotifications": 30, "archivedMessages": 30}
    assert outcome(host, run.execution_id)["details"] == figures

    result = clean(database, store)
    assert outcome(host, result.execution_id)["records"] == 0
    assert (files(store), ids(host)) == (written, set())


def test_a_tenant_with_nothing_to_archive_is_looked_for_once_per_run(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    run, batch = opened(database), create_batch(LOCAL)
    with database.connect("batch_platform") as platform:
        assert batch.unprepared(Work(run, platform, ["A"])) == ["A"]
        prepare(batch, Work(run, platform, ["A"]))
        assert batch.unprepared(Work(run, platform, ["A"])) == []
        batch.prepare(Work(run, platform, ["A"]))
        batch.discard(Work(run, platform))
        assert batch.unprepared(Work(run, platform, ["A"])) == ["A"]
    # The second run collects the rows that have become old since the first one.
    log_id = logged(host, "A")
    process(database, run, store)
    assert set(archived(store)) == {log_id}


# At the same time ----------------------------------------------------------------------------------------------------------


def test_a_row_that_the_application_takes_up_again_stays(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    collected, before_delete, noted, queued, requeued, gone = (logged(host, "A") for _ in range(6))
    dead = message(host, "A", host_log_id=None, status="dead")
    of_noted, of_gone = message(host, "A", host_log_id=noted), message(host, "A", host_log_id=gone)
    run = opened(database)
    with database.connect("batch_platform") as platform:
        prepare(create_batch(LOCAL), Work(run, platform, ["A"]))
    host.execute(
        """UPDATE "HIS_NotificationLog" SET send_status = 'PENDING' WHERE id = %s""",
        [collected],
    )
    message(host, "A", host_log_id=queued, status="pending", finished_at=None)

    def meanwhile(key: str) -> None:
        if "-notifications-" not in key or not key.endswith(".manifest.json"):
            return
        host.execute(
            """UPDATE "HIS_NotificationLog" SET send_status = 'PENDING' WHERE id = %s""", [before_delete]
        )
        # Just as finished, but the archive does not know that it was opened.
        host.execute("""UPDATE "HIS_NotificationLog" SET opened_at = '2026-11-01' WHERE id = %s""", [noted])
        message(host, "A", host_log_id=requeued, status="pending", finished_at=None)
        host.execute(
            "UPDATE batch.outbox SET status = 'pending', finished_at = null WHERE message_id = %s", [dead]
        )

    assert process(database, run, FaultyStore(store, on_write=meanwhile)).failures == []

    left = ids(host)
    assert {collected, before_delete, noted, of_noted, queued, requeued, dead} < left
    assert not {gone, of_gone} & left
    assert not {collected, queued} & set(archived(store))
    # The next run archives it as it is then.
    clean(database, store)
    assert not {noted, of_noted} & ids(host)


def test_a_message_that_is_requeued_while_it_is_archived_stays(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    dead, gone = message(host, "A", status="dead"), message(host, "A")

    def requeue(key: str) -> None:
        if key.endswith(".manifest.json"):
            host.execute(
                "UPDATE batch.outbox SET status = 'pending', finished_at = null WHERE message_id = %s", [dead]
            )

    clean(database, FaultyStore(store, on_write=requeue))

    assert ids(host) == {dead}
    assert set(archived(store)) == {dead, gone}


def test_the_run_does_not_wait_for_a_locked_row(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    held, gone = logged(host, "A"), logged(host, "A")

    with database.connect() as application, application.transaction():
        application.execute('SELECT FROM "HIS_NotificationLog" WHERE id = %s FOR UPDATE', [held])
        assert clean(database, store).status == "completed"

    assert gone not in ids(host)
    assert ids(host) == {held}


def test_a_retention_that_is_extended_during_the_run_keeps_the_rows(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host_rows.tenant(host, "A")
    log_id = logged(host, "A")
    run = opened(database)
    with database.connect("batch_platform") as platform:
        prepare(create_batch(LOCAL), Work(run, platform, ["A"]))
    setting(host, "A", "3650")

    assert process(database, run, store).failures == []

    assert (ids(host), files(store)) == ({log_id}, [])


def test_two_runs_at_once_archive_every_row_once(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    rows = many(host, 600)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: clean(database, store), range(2))

    assert (first.status, second.status) == ("completed", "completed")
    assert ids(host) == set()
    assert set(archived(store)) == rows
    assert sum(manifest["rows"] for manifest in manifests(store)) == len(rows)


def test_a_run_waits_for_its_turn_at_a_tenant(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    many(host, 10)
    runs = [opened(database), opened(database)]
    pool = ThreadPoolExecutor(1)
    waiting: list[Future[ShardReport]] = []

    def other_run(_: str) -> None:
        if not waiting:
            waiting.append(pool.submit(process, database, runs[1], store))
            wait_for_blocked_statement(database)

    assert process(database, runs[0], FaultyStore(store, on_write=other_run)).failures == []
    assert waiting[0].result().failures == []
    pool.shutdown()

    assert ids(host) == set()
    assert {manifest["execution_id"] for manifest in manifests(store)} == {runs[0].execution_id}
