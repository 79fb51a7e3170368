"""The archives of rows that BATCH-002 has deleted: they are listed, and their rows come back as they were."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.deleted_tenants import TURN, RegisterEntry, write_entry
from include.skillreport.batches.data_backup.settings import BackupSettings
from include.skillreport.batches.log_cleanup.marked import folder_of
from include.skillreport.core.database import tenant_turn
from include.skillreport.core.errors import ConnectionMissingError, ParameterError
from include.skillreport.core.execution.row_archive import archive_names
from include.skillreport.core.operation_catalog import RESTORE_BACKUP
from include.skillreport.operations.restore_backup.batch import BackupRestore
from include.skillreport.schema.deletion import tables_with_marked_rows
from local_stack.batch_runs import LocalInstallation, open_run
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.backups import Backups, flip
from tests.worlds.billing_rows import reasons
from tests.worlds.marked_rows import SKILLS, SUNDAY, clean, deletable, ids, many, planted, rows, with_deletion

__all__ = ["deletable", "rows", "with_deletion"]


@pytest.fixture
def backups(deletable: Database, tmp_path: Path) -> Backups:
    return Backups(deletable, tmp_path / "store")


@pytest.fixture
def same_columns(rows: psycopg.Connection) -> Iterator[None]:
    """The columns that the test adds are gone after it: others use the tables, too."""
    yield
    for table, column in (("TRN_PDU", "precise"), (SKILLS, "mood"), (SKILLS, "weight"), (SKILLS, "twice")):
        rows.execute(
            sql.SQL("ALTER TABLE {} DROP COLUMN IF EXISTS {}").format(
                sql.Identifier(table), sql.Identifier(column)
            )
        )


def contents(host: psycopg.Connection, table: str = SKILLS) -> list[Any]:
    query = sql.SQL("SELECT to_jsonb(kept) FROM {} AS kept ORDER BY id").format(sql.Identifier(table))
    return host.execute(query).fetchall()


def archive_of(backups: Backups, table: str = SKILLS, tenant_id: str = "A") -> str:
    """The name of the only archive of this table."""
    (name,) = (each for each in archive_names(backups.store, folder_of(tenant_id)) if f"-{table}-" in each)
    return name


def notes(backups: Backups, execution_id: str) -> list[str]:
    with backups.database.connect() as host:
        row = host.execute(
            "SELECT notes FROM batch.tenant_outcome WHERE execution_id = %s", [execution_id]
        ).fetchone()
    assert row is not None
    return list(row[0])


def test_rows_of_every_table_come_back_as_they_were(backups: Backups, rows: psycopg.Connection) -> None:
    tables = [table.name for table in tables_with_marked_rows()]
    for table in tables:
        planted(rows, table=table)
    before = {table: contents(rows, table) for table in tables}
    clean(backups.database, backups.store)
    assert not any(ids(rows, table) for table in tables)

    for table in tables:
        archive = archive_of(backups, table)
        result, details = backups.restore("restore_deleted_rows", "A", archive=archive, reason="取引先の依頼")
        assert (result.status, details["A"]) == ("completed", {"restored": 1, "existing": 0})
        assert backups.logged_reason(result) == "取引先の依頼"

    assert {table: contents(rows, table) for table in tables} == before


@pytest.mark.usefixtures("same_columns")
def test_numbers_keep_all_their_digits(backups: Backups, rows: psycopg.Connection) -> None:
    rows.execute('ALTER TABLE "TRN_PDU" ADD COLUMN precise numeric(65, 30)')
    planted(rows, table="TRN_PDU", precise="12345678901234567890.123456789012345678901234567890")
    before = contents(rows, "TRN_PDU"), rows.execute('SELECT precise::text FROM "TRN_PDU"').fetchall()
    clean(backups.database, backups.store)

    backups.restore("restore_deleted_rows", "A", archive=archive_of(backups, "TRN_PDU"))

    assert before == (
        contents(rows, "TRN_PDU"),
        rows.execute('SELECT precise::text FROM "TRN_PDU"').fetchall(),
    )


def test_the_list_shows_the_archives_of_the_tenant_and_changes_nothing(
    backups: Backups, rows: psycopg.Connection
) -> None:
    planted(rows)
    planted(rows, "b1", table="TRN_PDU")
    clean(backups.database, backups.store)
    before = sorted(path for path in backups.root.rglob("*"))

    result, details = backups.restore("list_deleted_rows", "A")

    assert (result.status, details["A"]) == ("completed", {"archives": 1})
    times = "2026-07-01 03:04:05.678 から 2026-07-01 03:04:05.678 UTC"
    assert notes(backups, result.execution_id) == [
        f"{archive_of(backups)}: TRN_SkillRecord 1 行（最後の変更は {times}）"
    ]
    assert archive_of(backups).startswith(f"{SUNDAY}/")
    assert sorted(path for path in backups.root.rglob("*")) == before
    assert ids(rows) == set()


def test_a_row_whose_key_exists_again_stays_as_it_is(backups: Backups, rows: psycopg.Connection) -> None:
    missing, again, same_skill = planted(rows), planted(rows), planted(rows)
    clean(backups.database, backups.store)
    planted(rows, is_deleted=False, row_id=again)
    other = planted(rows, is_deleted=False, skill_item_id=same_skill)
    before = contents(rows)

    for inserted, existing in ((1, 2), (0, 3)):
        result, details = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))
        assert details["A"] == {"restored": inserted, "existing": existing}
        assert (
            f"今ない {inserted} 行を戻しました。今ある {existing} 行は"
            in notes(backups, result.execution_id)[0]
        )

    assert ids(rows) == {missing, again, other}
    assert [row for row in contents(rows) if row in before] == before


def test_a_dry_run_inserts_nothing_and_counts(backups: Backups, rows: psycopg.Connection) -> None:
    many(rows, 2_500)
    clean(backups.database, backups.store)
    archive = archive_of(backups)

    result, details = backups.restore("restore_deleted_rows", "A", archive=archive, dry_run=True)

    assert details["A"] == {"restored": 0, "existing": 0}
    assert "今ない 2,500 行を戻します" in notes(backups, result.execution_id)[0]
    assert ids(rows) == set()
    backups.restore("restore_deleted_rows", "A", archive=archive)
    assert len(ids(rows)) == 2_500


@pytest.mark.parametrize("damage", ["file", "lost file", "manifest"])
def test_a_damaged_archive_restores_nothing(backups: Backups, rows: psycopg.Connection, damage: str) -> None:
    planted(rows)
    clean(backups.database, backups.store)
    (part,) = backups.root.rglob("*.jsonl.gz")
    if damage == "file":
        flip(part)
    elif damage == "lost file":
        part.unlink()
    else:
        (manifest,) = backups.root.rglob("*.manifest.json")
        manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 1', b'"rows": 2'))

    result, _ = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))

    assert "は読めないか、壊れています" in reasons(result)["A"]
    assert ids(rows) == set()


def forge(backups: Backups, **changed: Any) -> str:
    """Add an archive as a writer of the store can make it: a copy with changed rows and its own correct hashes. Returns its name."""
    folder = backups.root / folder_of("A")
    (manifest,) = folder.rglob("*.manifest.json")
    content = json.loads(manifest.read_bytes())
    (file,) = content["files"]
    part = backups.root / file["key"]
    rows = [json.loads(line) | changed for line in gzip.decompress(part.read_bytes()).splitlines()]
    forged = gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    file |= {"sha256": hashlib.sha256(forged).hexdigest(), "bytes": len(forged)}
    part.write_bytes(forged)
    listing = json.dumps(content).encode()
    name = f"{manifest.name.removesuffix('.manifest.json')[:-12]}{hashlib.sha256(listing).hexdigest()[:12]}"
    manifest.unlink()
    manifest.with_name(f"{name}.manifest.json").write_bytes(listing)
    return f"{manifest.parent.name}/{name}"


@pytest.mark.parametrize(
    "changed", [{}, {"is_deleted": False}, {"id": "new", "employee_id": "nobody", "is_deleted": False}]
)
def test_an_archive_without_its_record_is_listed_and_not_restored(
    backups: Backups, rows: psycopg.Connection, changed: dict[str, Any]
) -> None:
    planted(rows)
    clean(backups.database, backups.store)
    archive = forge(backups, **changed)

    listing, _ = backups.restore("list_deleted_rows", "A")
    result, _ = backups.restore("restore_deleted_rows", "A", archive=archive)

    assert notes(backups, listing.execution_id) == [
        f"{archive}: 復元できません（データベースに記録がないため、内容を確かめられません）"
    ]
    assert "データベースに記録がないため、内容を確かめられません" in reasons(result)["A"]
    assert ids(rows) == set()


def test_an_archive_whose_deletion_was_rolled_back_has_no_record(
    backups: Backups, rows: psycopg.Connection
) -> None:
    row_id = planted(rows)
    with backups.database.connect() as application, application.transaction():
        application.execute('SELECT FROM "TRN_SkillRecord" FOR UPDATE')
        clean(backups.database, backups.store)
        (unrecorded,) = archive_names(backups.store, folder_of("A"))

    assert ids(rows) == {row_id}
    assert rows.execute("SELECT count(*) FROM batch.deleted_row_archive").fetchone() == (0,)
    clean(backups.database, backups.store)
    (name,) = {*archive_names(backups.store, folder_of("A"))} - {unrecorded}
    assert rows.execute("SELECT tenant_id, archive FROM batch.deleted_row_archive").fetchall() == [
        ("A", name)
    ]


def test_restored_rows_are_marked_as_deleted(backups: Backups, rows: psycopg.Connection) -> None:
    """Whatever the archive says."""
    row_id = planted(rows)
    clean(backups.database, backups.store)
    archive = forge(backups, is_deleted=False)
    (manifest,) = backups.root.rglob("*.manifest.json")
    rows.execute(
        "UPDATE batch.deleted_row_archive SET archive = %s, manifest_sha256 = %s",
        [archive, hashlib.sha256(manifest.read_bytes()).hexdigest()],
    )

    _, details = backups.restore("restore_deleted_rows", "A", archive=archive)

    assert details["A"] == {"restored": 1, "existing": 0}
    assert rows.execute('SELECT id, is_deleted FROM "TRN_SkillRecord"').fetchall() == [(row_id, True)]


@pytest.mark.usefixtures("same_columns")
def test_a_changed_table_refuses_and_a_new_column_gets_its_default(
    backups: Backups, rows: psycopg.Connection
) -> None:
    rows.execute('ALTER TABLE "TRN_SkillRecord" ADD COLUMN mood text')
    row_id = planted(rows)
    clean(backups.database, backups.store)
    rows.execute(
        'ALTER TABLE "TRN_SkillRecord" DROP COLUMN mood, ADD COLUMN weight integer NOT NULL DEFAULT 7'
    )

    refused, _ = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))
    assert "TRN_SkillRecord の列 mood は今のデータベースにありません" in reasons(refused)["A"]
    assert ids(rows) == set()

    rows.execute('ALTER TABLE "TRN_SkillRecord" ADD COLUMN mood text')
    backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))
    assert rows.execute('SELECT id, weight FROM "TRN_SkillRecord"').fetchall() == [(row_id, 7)]


def test_without_the_login_of_the_backup_no_restore_is_opened(
    backups: Backups, rows: psycopg.Connection
) -> None:
    planted(rows)
    clean(backups.database, backups.store)
    restore = BackupRestore(
        BackupAccess(BackupSettings.load(), LocalInstallation(object_store=backups.store))
    )
    values = {
        "operation": "restore_deleted_rows",
        "tenants": ["A"],
        "archive": archive_of(backups),
        "reason": "誤った変更",
    }

    with (
        backups.database.connect("batch_platform") as platform,
        pytest.raises(ConnectionMissingError, match="skill_batch_backup_db"),
    ):
        open_run(platform, RESTORE_BACKUP, restore, SUNDAY, codes=["A"], parameters=values)


def test_an_archive_is_restored_for_its_own_tenant_only(backups: Backups, rows: psycopg.Connection) -> None:
    planted(rows)
    clean(backups.database, backups.store)
    archive = archive_of(backups)

    for codes, name, message in (
        ("B", archive, "書庫 .* はありません"),
        ("A", "2026-11-22/nothing", "書庫 .* はありません"),
        ("AB", archive, "1 件だけ"),
        ("A", "", "「書庫」（archive）が必要です"),
    ):
        with pytest.raises(ParameterError, match=message):
            backups.restore("restore_deleted_rows", *codes, archive=name)

    # Somebody has copied A's archive into the folder of B.
    target = backups.root / folder_of("B")
    (backups.root / folder_of("A")).rename(target)
    result, _ = backups.restore("restore_deleted_rows", "B", archive=archive)
    assert "データベースに記録がない" in reasons(result)["B"]
    assert ids(rows) == set()


def moved(host: psycopg.Connection) -> None:
    """The person whose rows A's archive has goes to tenant B."""
    host.execute("UPDATE \"MST_Employee\" SET tenant_id = 'B' WHERE id = 'emp_a1'")


def left(host: psycopg.Connection) -> None:
    """The person is gone, so that the tenant that the row states counts."""
    host.execute("DELETE FROM \"MST_UserAuth\" WHERE user_id = 'a1'")
    host.execute("DELETE FROM \"MST_Employee\" WHERE id = 'emp_a1'")


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("stated", "change"), [("A", moved), ("B", left)])
def test_rows_that_now_belong_to_another_tenant_are_refused(
    backups: Backups,
    rows: psycopg.Connection,
    stated: str,
    change: Callable[[psycopg.Connection], None],
    dry_run: bool,
) -> None:
    row_id = planted(rows, tenant_id=stated)
    clean(backups.database, backups.store)
    change(rows)

    result, _ = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups), dry_run=dry_run)

    assert f"{SKILLS} の行 {row_id} は今ほかのテナントのものです。" in reasons(result)["A"]
    assert ids(rows) == set()


def test_one_row_of_another_tenant_refuses_the_whole_archive(
    backups: Backups, rows: psycopg.Connection
) -> None:
    many(rows, 1_500)
    host_rows.user(rows, "A", "a2")
    last = planted(rows, "a2", row_id="zzz")
    clean(backups.database, backups.store)
    rows.execute("UPDATE \"MST_Employee\" SET tenant_id = 'B' WHERE id = 'emp_a2'")

    result, _ = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))

    assert f"{SKILLS} の行 {last} は今ほかのテナントのものです。" in reasons(result)["A"]
    assert ids(rows) == set()


def test_rows_of_a_person_who_no_longer_exists_stay_in_the_archive(
    backups: Backups, rows: psycopg.Connection
) -> None:
    host_rows.user(rows, "A", "a2")
    planted(rows)
    kept = planted(rows, "a2")
    clean(backups.database, backups.store)
    left(rows)

    result, details = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))

    assert details["A"] == {"restored": 1, "existing": 0, "ownerless": 1}
    assert ids(rows) == {kept}
    assert "従業員がもういない 1 行は戻していません" in notes(backups, result.execution_id)[0]


def test_no_row_comes_back_to_a_deleted_tenant(backups: Backups, rows: psycopg.Connection) -> None:
    planted(rows)
    clean(backups.database, backups.store)
    write_entry(backups.store, backups.mac_keys, RegisterEntry("A", "x", datetime.now(UTC)))

    result, _ = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))

    assert "テナント A は退会して削除済みです。" in reasons(result)["A"]
    assert ids(rows) == set()


def test_rows_wait_for_a_deletion_and_do_not_come_back(backups: Backups, rows: psycopg.Connection) -> None:
    planted(rows)
    clean(backups.database, backups.store)
    archive = archive_of(backups)
    with backups.database.connect("batch_platform") as platform, ThreadPoolExecutor() as pool:
        with tenant_turn(platform, TURN, "A"):
            restoring = pool.submit(backups.restore, "restore_deleted_rows", "A", archive=archive)
            wait_for_blocked_statement(backups.database)
            write_entry(backups.store, backups.mac_keys, RegisterEntry("A", "x", datetime.now(UTC)))
        result, _ = restoring.result(60)

    assert "テナント A は退会して削除済みです。" in reasons(result)["A"]
    assert ids(rows) == set()


@pytest.mark.usefixtures("same_columns")
def test_a_generated_column_is_calculated_again(backups: Backups, rows: psycopg.Connection) -> None:
    rows.execute(
        'ALTER TABLE "TRN_SkillRecord" ADD COLUMN twice integer GENERATED ALWAYS AS (length(id) * 2) STORED'
    )
    planted(rows)
    before = contents(rows)
    clean(backups.database, backups.store)
    assert ids(rows) == set()

    _, details = backups.restore("restore_deleted_rows", "A", archive=archive_of(backups))

    assert details["A"] == {"restored": 1, "existing": 0}
    assert contents(rows) == before
