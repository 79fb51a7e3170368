"""BATCH-002 and the rows that the application has marked as deleted: which ones go, no deletion without an archive, and kills."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.log_cleanup import marked
from include.skillreport.batches.log_cleanup.batch import EXPIRED, MARKED, LogCleanupBatch
from include.skillreport.batches.log_cleanup.marked import FOLDER, folder_of
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.catalog import LOG_CLEANUP
from include.skillreport.core.errors import SchemaError
from include.skillreport.core.execution import row_archive
from include.skillreport.core.execution.batch import Outcome, Request, Run, UnitResult, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.row_archive import ArchivedFile, archive_names, read_manifest
from include.skillreport.schema.deletion import tables_with_marked_rows
from include.skillreport.schema.deploy import CLEANUP, PLATFORM, upgrade
from local_stack.batch_runs import LocalInstallation, open_run, run_batch
from local_stack.local_run import KilledError
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.faulty_stores import FaultyStore, files, flipped
from tests.worlds.marked_rows import (
    OLD,
    SKILLS,
    SUNDAY,
    clean,
    close_month,
    deletable,
    ids,
    many,
    planted,
    rows,
    switched_on,
    with_deletion,
)

__all__ = ["deletable", "rows", "with_deletion"]

# 90 days before the Sunday is 24 August, which begins in Japan at 15:00 UTC of the 23rd.
FIRST_KEPT = datetime(2026, 8, 23, 15)
MOMENT = timedelta(milliseconds=1)


@pytest.fixture
def time_is_optional(rows: psycopg.Connection) -> Iterator[None]:
    """A host whose rows may have no time of their last change."""
    rows.execute('ALTER TABLE "TRN_SkillRecord" ALTER COLUMN updated_at DROP NOT NULL')
    yield
    rows.execute('DELETE FROM "TRN_SkillRecord"')
    rows.execute('ALTER TABLE "TRN_SkillRecord" ALTER COLUMN updated_at SET NOT NULL')


def numbers(outcomes: Mapping[str, Outcome], table: str = SKILLS) -> dict[str, Any]:
    return outcomes[f"{MARKED}{table}"].details


def manifest_of(
    store: ObjectStore, name: str, tenant_id: str = "A"
) -> tuple[dict[str, Any], list[ArchivedFile]]:
    """The manifest and the files of an archive, without the record of the database."""
    folder = folder_of(tenant_id)
    content = store.read(f"{folder}/{name}.manifest.json")
    return read_manifest(store, folder, name, hashlib.sha256(content).hexdigest())


def archived(store: ObjectStore, tenant_id: str = "A") -> dict[str, dict[str, Any]]:
    """The rows of all archives of the tenant, by id."""
    found: dict[str, dict[str, Any]] = {}
    for name in archive_names(store, folder_of(tenant_id)):
        manifest, parts = manifest_of(store, name, tenant_id)
        assert manifest["tenant_id"] == tenant_id
        for part in parts:
            lines = gzip.decompress(store.read(part.key)).splitlines()
            assert len(lines) == part.rows
            found |= {row["id"]: row for row in map(json.loads, lines)}
    return found


# Which rows go -------------------------------------------------------------------------------------------------------------


def test_without_the_setting_there_is_no_unit(shared_database: Database, store: ObjectStore) -> None:
    with shared_database.connect(PLATFORM) as platform:
        batch = LogCleanupBatch(LogCleanupSettings.load(), LocalInstallation(platform, object_store=store))
        units = batch.units(Request({}, (), SUNDAY, platform))
    assert not [unit for unit in units if unit.id.startswith(MARKED)]


def test_without_the_privileges_the_run_is_refused(shared_database: Database, store: ObjectStore) -> None:
    with shared_database.connect(PLATFORM) as platform:
        batch = switched_on(platform, platform, store)
        with pytest.raises(SchemaError, match="upgrade --with-deletion"):
            open_run(platform, LOG_CLEANUP, batch, SUNDAY)
        assert platform.execute("SELECT FROM batch.execution_log").rowcount == 0


def test_old_rows_of_all_seven_tables_are_archived_and_deleted(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    tables = [table.name for table in tables_with_marked_rows()]
    planted_ids = {table: planted(rows, table=table) for table in tables}
    host_rows.insert(
        rows,
        "TRN_Notification",
        id="told",
        tenant_id="A",
        recipient_id="a1",
        is_deleted=True,
        created_by="x",
        updated_by="x",
        updated_at=OLD,
    )

    outcomes = clean(deletable, store)

    assert set(outcomes) == {*(f"{MARKED}{table}" for table in tables), EXPIRED}
    assert len(tables) == 7
    for table in tables:
        assert numbers(outcomes, table) == {"rowsDeleted": 1, "ownerless": 0}
        assert ids(rows, table) == set()
    assert set(archived(store)) == set(planted_ids.values())
    assert ids(rows, "TRN_Notification") == {"told"}
    assert {numbers(clean(deletable, store), table)["rowsDeleted"] for table in tables} == {0}
    assert len(archive_names(store, folder_of("A"))) == 7


@pytest.mark.usefixtures("time_is_optional")
def test_rows_wait_for_their_days_and_stay_without_mark_or_time(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    gone = {planted(rows, at=FIRST_KEPT - MOMENT)}
    kept = {
        planted(rows, at=FIRST_KEPT),
        planted(rows, at=None),
        planted(rows, at=datetime(9999, 12, 31)),
        planted(rows, is_deleted=False),
    }
    assert numbers(clean(deletable, store))["rowsDeleted"] == 1
    assert (ids(rows), set(archived(store))) == (kept, gone)


def test_rows_of_the_last_closed_month_and_later_stay(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    rows.execute("DELETE FROM batch.accounting_month")
    before, within = (
        planted(rows, at=datetime(2026, 6, 30, 14, 59)),
        planted(rows, at=datetime(2026, 6, 30, 15)),
    )

    (outcome, *_) = clean(deletable, store).values()
    assert isinstance(outcome, UnitResult)
    assert "締めた月がまだない" in outcome.notes[0]
    assert ids(rows) == {before, within}

    close_month(rows, date(2026, 7, 1))
    clean(deletable, store)
    assert ids(rows) == {within}


def test_the_person_decides_whose_a_row_is_and_unknown_owners_keep_theirs(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    a = {planted(rows, "a1", tenant_id="B"), planted(rows, "emp_a1"), planted(rows, "emp_001", tenant_id="A")}
    b = {planted(rows, "b1", tenant_id="A")}
    nobodys = {planted(rows, "somebody"), planted(rows, "emp_001", tenant_id="tenant_001")}

    outcome = clean(deletable, store)[f"{MARKED}{SKILLS}"]

    assert isinstance(outcome, UnitResult)
    assert outcome.details == {"rowsDeleted": 4, "ownerless": 2}
    assert outcome.notes == ("要確認: 持ち主のテナントが分からない 2 行は残しました。",)
    assert ids(rows) == nobodys
    assert (set(archived(store, "A")), set(archived(store, "B"))) == (a, b)


def test_a_person_who_has_just_changed_the_tenant_takes_the_rows_along(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    clean(deletable, store)
    moved = planted(rows)
    rows.execute("UPDATE \"MST_Employee\" SET tenant_id = 'B' WHERE id = 'emp_a1'")

    clean(deletable, store)

    assert (set(archived(store, "A")), set(archived(store, "B"))) == (set(), {moved})


@pytest.mark.parametrize("values", [{"status": "deleted"}, {"status": "ACTIVE", "is_deleted": True}])
def test_rows_of_a_deleted_tenant_go_too(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore, values: dict[str, Any]
) -> None:
    host_rows.tenant(rows, "gone", **values)
    row_id = planted(rows, "somebody", tenant_id="gone")
    clean(deletable, store)
    assert (ids(rows), set(archived(store, "gone"))) == (set(), {row_id})


@pytest.mark.parametrize("tenants", [1, 2])
def test_before_the_migration_rows_go_only_from_a_sole_tenant(
    base_database: Database, store: ObjectStore, tenants: int
) -> None:
    upgrade(base_database.dsn, with_deletion=True)
    with base_database.connect() as host:
        host_rows.tenant(host, "A")
        host_rows.insert(
            host, "MST_Employee", id="emp_1", employee_code="000100", email="a@example.jp", updated_at=OLD
        )
        close_month(host, date(2026, 9, 1))
        row_id = planted(host, "000100")
        if tenants == 2:
            host_rows.tenant(host, "B", status="deleted")

        outcomes = clean(base_database, store)

        is_sole = tenants == 1
        assert numbers(outcomes) == {"rowsDeleted": int(is_sole), "ownerless": int(not is_sole)}
        assert ids(host) == (set() if is_sole else {row_id})
        assert set(archived(store)) == ({row_id} if is_sole else set())


def test_a_dry_run_only_counts(deletable: Database, rows: psycopg.Connection, store: ObjectStore) -> None:
    kept = {planted(rows), planted(rows, "somebody")}
    store.write(f"{folder_of('A')}/2020-01-05/x", b"")

    outcomes = clean(deletable, store, dry_run=True)

    assert numbers(outcomes) == {"rowsDeleted": 0, "ownerless": 1, "planned": 1}
    assert outcomes[EXPIRED].details == {"archivesDeleted": 0, "planned": 1}
    assert ids(rows) == kept
    assert len(files(store)) == 1


# The archive ---------------------------------------------------------------------------------------------------------------


def test_an_archive_holds_every_value_of_its_rows(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    planted(rows, learning_hours=12, evidence_description='改行\n"引用" \\ 絵文字 😀')
    expected = rows.execute('SELECT to_jsonb(kept) FROM "TRN_SkillRecord" AS kept').fetchall()

    clean(deletable, store)

    (name,) = archive_names(store, folder_of("A"))
    manifest, (part,) = manifest_of(store, name)
    assert name.startswith(f"{SUNDAY}/")
    assert (manifest["table"], manifest["tenant_code"], manifest["rows"]) == (SKILLS, "A", 1)
    assert manifest["changed_before_utc"] == FIRST_KEPT.isoformat()
    assert (part.finished_from, part.finished_to) == ("2026-07-01 03:04:05.678",) * 2
    assert [(row,) for row in archived(store).values()] == expected


def test_a_row_that_changes_after_its_archive_stays(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    changed, other = planted(rows), planted(rows)

    def change(key: str) -> None:
        if key.endswith(".manifest.json"):
            rows.execute('UPDATE "TRN_SkillRecord" SET self_assessment = 5 WHERE id = %s', [changed])

    outcomes = clean(deletable, FaultyStore(store, on_write=change))

    assert numbers(outcomes)["rowsDeleted"] == 1
    assert ids(rows) == {changed}
    assert set(archived(store)) == {changed, other}


def test_rows_that_are_restored_or_changed_before_they_are_read_stay(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    planted(rows)
    restored, changed = planted(rows, "b1"), planted(rows, "b1")

    # The keys of both tenants are found before the first file, which is A's.
    def use(_: str) -> None:
        rows.execute('UPDATE "TRN_SkillRecord" SET is_deleted = false WHERE id = %s', [restored])
        rows.execute('UPDATE "TRN_SkillRecord" SET updated_at = %s WHERE id = %s', [FIRST_KEPT, changed])

    clean(deletable, FaultyStore(store, on_write=use))

    assert ids(rows) == {restored, changed}
    assert archived(store, "B") == {}


def test_a_row_that_the_application_has_locked_waits_for_the_next_run(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    row_id = planted(rows)
    with deletable.connect() as application:
        with application.transaction():
            application.execute('SELECT FROM "TRN_SkillRecord" FOR UPDATE')
            assert numbers(clean(deletable, store))["rowsDeleted"] == 0
        assert ids(rows) == {row_id}
    assert numbers(clean(deletable, store))["rowsDeleted"] == 1


def full(_: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("store_of", "message"),
    [
        (lambda store: FaultyStore(store, on_write=full), "何も削除していません"),
        (lambda store: FaultyStore(store, reading=lambda _, content: content[:-5]), "読み戻すと"),
        (lambda store: FaultyStore(store, reading=lambda _, content: flipped(content)), "読み戻すと"),
    ],
    ids=["full", "truncates", "flips"],
)
def test_a_store_that_fails_keeps_all_rows(
    deletable: Database,
    rows: psycopg.Connection,
    store: ObjectStore,
    store_of: Callable[[ObjectStore], ObjectStore],
    message: str,
) -> None:
    kept = {planted(rows), planted(rows, "b1")}

    with pytest.raises(row_archive.ArchiveError, match=message):
        clean(deletable, store_of(store))

    assert ids(rows) == kept
    clean(deletable, store)
    assert ids(rows) == set()
    assert set(archived(store)) | set(archived(store, "B")) == kept


def test_files_and_transactions_have_their_limits(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = many(rows, 2_500)
    monkeypatch.setattr(row_archive, "PART_ROWS", 1_100)
    deleted: list[int] = []
    delete = marked._delete

    def counted(*args: Any) -> int:
        deleted.append(delete(*args))
        return deleted[-1]

    monkeypatch.setattr(marked, "_delete", counted)

    assert numbers(clean(deletable, store))["rowsDeleted"] == 2_500

    assert deleted == [1_000, 100, 1_000, 100, 300]
    assert set(archived(store)) == expected


@pytest.mark.parametrize("moment", ["second file", "manifest", "third chunk"])
def test_a_kill_loses_nothing_and_the_next_run_does_the_rest(
    deletable: Database,
    rows: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    expected = many(rows, 250)
    monkeypatch.setattr(row_archive, "PART_ROWS", 100)
    monkeypatch.setattr(marked, "CHUNK_ROWS", 40)

    def kill_at_file(key: str) -> None:
        if {"second file": "-0002-", "manifest": ".manifest.json"}.get(moment, "no file") in key:
            raise KilledError

    delete, chunks = marked._delete, count(1)

    def kill_at_chunk(*args: Any) -> int:
        if moment == "third chunk" and next(chunks) == 3:
            raise KilledError
        return delete(*args)

    with monkeypatch.context() as killing:
        killing.setattr(marked, "_delete", kill_at_chunk)
        with pytest.raises(KilledError):
            clean(deletable, FaultyStore(store, on_write=kill_at_file))
    left = ids(rows)
    assert expected - left <= set(archived(store)), "a row is in no archive"
    assert (len(left) < len(expected)) == (moment == "third chunk")

    clean(deletable, store)

    assert ids(rows) == set()
    assert set(archived(store)) == expected


def test_two_runs_at_once_archive_every_row_once(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    expected = many(rows, 50)
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Any] = []

        def other_run(_: str) -> None:
            if not waiting:
                waiting.append(pool.submit(clean, deletable, store))
                wait_for_blocked_statement(deletable)

        first = clean(deletable, FaultyStore(store, on_write=other_run))
        second = waiting[0].result()

    assert (numbers(first)["rowsDeleted"], numbers(second)["rowsDeleted"]) == (50, 0)
    assert set(archived(store)) == expected
    assert len(archive_names(store, folder_of("A"))) == 1


# Archives end --------------------------------------------------------------------------------------------------------------


def test_archives_end_after_a_year_also_of_tenants_without_rows(
    deletable: Database, store: ObjectStore
) -> None:
    last_kept = SUNDAY - timedelta(days=365)
    for tenant_id in ("A", "unknown"):
        for day in (last_kept, last_kept - timedelta(days=1)):
            store.write(f"{folder_of(tenant_id)}/{day}/x.manifest.json", b"")

    assert clean(deletable, store)[EXPIRED].details == {"archivesDeleted": 2}

    assert {store.names(f"{FOLDER}/{folder}")[0] for folder in store.names(FOLDER)} == {f"{last_kept}"}
    assert len(files(store)) == 2


# What the operators read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\\b", "notes", "line\nbreak", os.fsdecode(b"\xff"), "A-0123456789abcdeg"])
def test_an_entry_that_is_no_tenants_folder_stops_no_expiry(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore, name: str
) -> None:
    planted(rows)
    clean(deletable, store)
    other = Path(store.location("deleted_rows")) / name
    (other / f"{SUNDAY}").mkdir(parents=True)

    expired = clean(deletable, store, day=SUNDAY + timedelta(days=371))[EXPIRED]

    assert isinstance(expired, UnitResult)
    assert expired.details == {"archivesDeleted": 1, "untouched": 1}
    assert "テナントの書庫のフォルダーではありません" in expired.notes[0]
    assert other.exists()
    assert rows.execute("SELECT FROM batch.deleted_row_archive").fetchall() == []


def test_the_digest_counts_rows_and_says_what_to_do_about_owners(
    deletable: Database, rows: psycopg.Connection, store: ObjectStore
) -> None:
    planted(rows)
    planted(rows, "somebody")
    with deletable.connect(PLATFORM) as platform, deletable.connect(CLEANUP) as cleanup:
        batch = switched_on(platform, cleanup, store)
        result = run_batch(platform, platform, LOG_CLEANUP, batch, SUNDAY, store=store)
        assert result.status == "completed"
        digest = batch.digest(Work(Run(result.execution_id, SUNDAY, SUNDAY), platform))
    assert "marked/TRN_SkillRecord: 削除 1 行、持ち主不明 1 行" in digest.lines
    assert digest.lines[-1].startswith("→ 持ち主不明の行は残しています。")
