"""BATCH-001 on a real server: one snapshot, whole or not at all, restored and compared before it counts."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pyrage  # type: ignore[import-untyped]
import pytest

from include.skillreport.__main__ import main
from include.skillreport.batches.data_backup import room
from include.skillreport.batches.data_backup.comparison import tenant_of_the_day
from include.skillreport.batches.data_backup.files import (
    DUMP_MANIFEST,
    MANIFEST,
    BackupDamagedError,
    Manifest,
)
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.restore import restore_database
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.settings import RetentionSettings
from include.skillreport.batches.data_backup.spool import WAITING_BYTES, DatabaseSize, TableSize
from include.skillreport.batches.data_backup.tables import list_tables
from include.skillreport.batches.data_backup.tenant_export import (
    manifest_path,
    restore_tenant,
    restored_schema,
)
from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.database import count_of
from include.skillreport.core.errors import BatchError, ParameterError, SettingsError
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Unchecked
from include.skillreport.core.execution.storage_errors import NoAccessError, NoSpaceError
from include.skillreport.core.execution.temporary_files import temporary_place
from include.skillreport.core.postgres_programs import UnsuitableProgramsError
from tests.conftest import Database
from tests.s3_server import BUCKET, S3Server, nothing
from tests.worlds import host_rows
from tests.worlds.backup_stages import backups, taken
from tests.worlds.backups import (
    BIN,
    HOSTILE,
    MAC_KEY,
    TODAY,
    Backups,
    files,
    flip,
    login,
    of_restored,
    of_tenant,
    programs,
)
from tests.worlds.billing_rows import reasons

__all__ = ["backups", "taken"]


def status(database: Database, backup_id: str) -> tuple[str, str, bool]:
    """The status in the ledger and in the application's table."""
    with database.connect() as connection:
        row = connection.execute(
            """
            SELECT backup.status, history.backup_status, history.recovery_tested
            FROM batch.backup INNER JOIN "SYS_BackupHistory" AS history USING (backup_id) WHERE backup_id = %s
            """,
            [backup_id],
        ).fetchone()
    assert row is not None
    return row


def close_orphans(database: Database) -> None:
    """As ``open_run`` does, when Airflow has no run any more that could still be working."""
    with database.connect("batch_platform") as platform:
        for execution in run_log.running_executions(platform, DATA_BACKUP.id):
            reason = run_log.orphan_reason(
                execution,
                reopened_by=(DATA_BACKUP.dag_id, "the next run"),
                is_alive=lambda *_: False,
                time_limit=DATA_BACKUP.time_limit,
            )
            assert reason is not None
            assert run_log.close_orphan(platform, execution.execution_id, reason)


def test_an_export_has_the_tenants_rows_for_any_string_column_type(taken_backups: Backups) -> None:
    """The host's multi-tenant migration made these columns VARCHAR(255); its other tenant columns are TEXT."""
    expected = {
        "MST_CareerPlan": 2,
        "MST_Department": 2,
        "MST_Employee": 30,
        "MST_RolePermission": 2,
        "MST_UserAuth": 30,
        "MST_UserRole": 2,
    }
    manifest = json.loads(
        (taken_backups.root / "backups" / taken_backups.newest / manifest_path("A")).read_text()
    )
    exported = {table["name"]: table["rows"] for table in manifest["tables"]}
    assert {table: exported.get(table) for table in expected} == expected


def test_a_backup_is_one_snapshot_that_restores_exactly_the_tenants_rows(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tenant_ids = backups.open()
    before = {tenant_id: of_tenant(backups.database, tenant_id) for tenant_id in tenant_ids}
    pg_dump = DatabaseServer.dump

    def work_goes_on(
        server: DatabaseServer, snapshot: str, folder: Path, jobs: int
    ) -> Generator[Path | None, None, None]:
        # Committed after the snapshot, before pg_dump starts and before the rows are hashed: in no file, and in no hash.
        with backups.database.connect() as host:
            host_rows.user(host, "A", "A-late")
            host.execute("UPDATE \"MST_Employee\" SET full_name = 'changed' WHERE id = 'emp_A-1'")
            host.execute("DELETE FROM \"MST_UserAuth\" WHERE user_id = 'A-2'")
        yield from pg_dump(server, snapshot, folder, jobs)

    monkeypatch.setattr(DatabaseServer, "dump", work_goes_on)
    backups.first_steps(run)
    assert backups.tenants_step(run, tenant_ids).failures == []
    assert backups.close(run).status == "completed"
    backup_id = f"BKP_{TODAY:%Y%m%d}_001"
    whole = files(backups.root)
    # No clear changes a complete backup.
    assert backups.close(run).status == "completed"
    with pytest.raises(BackupError, match="完成しているため"):
        backups.first_steps(run)
    with pytest.raises(BackupError, match="完成しているため"):
        backups.tenants_step(run, tenant_ids)
    assert backups.close(run).status == "completed"
    with backups.database.connect() as connection:
        # Even where its run was killed after the manifest and before the ledger.
        connection.execute("UPDATE batch.backup SET status = 'running'")
        with pytest.raises(BackupError, match="完成しているため"):
            backups.first_steps(run)
        connection.execute("UPDATE batch.backup SET status = 'verified'")
    assert files(backups.root) == whole

    assert tenant_ids == [HOSTILE, "A", "GONE"]
    assert status(backups.database, backup_id) == ("verified", "SUCCESS", True)
    assert backups.server.databases(backups.server.scratch_prefix) == []
    folder = backups.root / "backups" / backup_id
    listed = {MANIFEST, f"{MANIFEST}.mac"}
    for name in (MANIFEST, DUMP_MANIFEST, *(manifest_path(tenant_id) for tenant_id in tenant_ids)):
        for entry in json.loads((folder / name).read_text())["files"]:
            listed.add(entry["path"])
            assert (folder / entry["path"]).stat().st_size == entry["bytes"]
    assert set(files(folder)) == listed
    assert files(backups.root.parent) == [f"store/{name}" for name in files(backups.root)]

    others, live = of_tenant(backups.database, HOSTILE), of_tenant(backups.database, "A")
    with backups.server.connect() as connection:
        done = backups.restore_tenant(connection, backup_id, "A")
        again = backups.restore_tenant(connection, backup_id, HOSTILE)
    assert of_restored(backups.database, "A") == before["A"] != live
    assert of_restored(backups.database, HOSTILE) == before[HOSTILE]
    assert (of_tenant(backups.database, "A"), of_tenant(backups.database, HOSTILE)) == (live, others)
    by_table = {
        conflict.name: (conflict.changed, conflict.missing, conflict.new) for conflict in done.conflicts
    }
    assert by_table["MST_Employee"] == (1, 0, 1)
    assert by_table["MST_UserAuth"] == (0, 1, 1)
    assert "現在と異なる 1 行" in "\n".join(done.lines())
    assert {conflict.schema for conflict in again.conflicts} <= {"batch"}


@pytest.mark.slow("takes and restores whole backups")
def test_an_encrypted_backup_opens_with_its_key_only(backups: Backups) -> None:
    backups.settings = backups.settings.model_copy(update={"encrypted": True})
    with pytest.raises(BatchError, match="skill_batch_backup_key"):
        backups.open()
    backups.secrets["skill_batch_backup_key"] = str(pyrage.x25519.Identity.generate())
    backup_id = backups.take()
    stored = backups.root / "backups" / backup_id
    assert all(name.endswith((".age", ".json", ".mac")) for name in files(stored))
    with backups.server.connect() as connection:
        assert backups.restore_tenant(connection, backup_id, "A").rows > 60
        backups.secrets["skill_batch_backup_key"] = str(pyrage.x25519.Identity.generate())
        with pytest.raises(BackupDamagedError, match="の鍵では"):
            backups.restore_tenant(connection, backup_id, "A")
        backups.secrets.clear()
        with pytest.raises(BackupDamagedError, match="暗号化されています"):
            backups.restore_tenant(connection, backup_id, "A")


@pytest.mark.slow("takes and restores whole backups")
def test_a_backup_from_before_encryption_was_switched_off_can_be_restored(backups: Backups) -> None:
    backups.settings = backups.settings.model_copy(update={"encrypted": True})
    backups.secrets["skill_batch_backup_key"] = str(pyrage.x25519.Identity.generate())
    older = backups.take()
    backups.settings = backups.settings.model_copy(update={"encrypted": False})

    result, details = backups.restore("compare", "A", backup=older)

    assert (result.status, details["A"]["restored"] > 60) == ("completed", True)
    newer = backups.take(TODAY + timedelta(days=1))
    assert not any(name.endswith(".age") for name in files(backups.root / "backups" / newer))
    # A password that is no key prevents no restore that needs none.
    backups.secrets["skill_batch_backup_key"] = "x"
    assert backups.restore("compare", "A", backup=newer)[0].status == "completed"
    assert "age の鍵" in reasons(backups.restore("compare", "A", backup=older)[0])["A"]
    backups.secrets.clear()
    assert backups.restore("compare", "A", backup=newer)[0].status == "completed"
    assert (
        "鍵を接続 'skill_batch_backup_key'" in reasons(backups.restore("compare", "A", backup=older)[0])["A"]
    )


def test_damage_is_found_and_named_and_restores_nothing(
    taken: Backups,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    backup_id = taken.newest
    folder = taken.root / "backups" / backup_id
    monkeypatch.setenv("SKILL_BATCH_BACKUP_DSN", taken.database.dsn)
    command = ["backup", "--store", str(taken.root), "--bin", BIN]
    copy = f"{taken.database.name}_copy"

    assert main([*command, "list"]) == 0
    assert backup_id in capsys.readouterr().out
    assert main([*command, "list", "--json"]) == 0
    (listed,) = [row for row in json.loads(capsys.readouterr().out) if row["backup"] == backup_id]
    assert listed.keys() == {"backup", "snapshot_at", "bytes", "encrypted", "mac"}
    assert (listed["snapshot_at"][-6:], listed["bytes"] > 0, listed["encrypted"]) == ("+09:00", True, False)
    with caplog.at_level(logging.DEBUG, "include.skillreport"):
        assert main(["--verbose", *command, "restore", backup_id, copy]) == 0
    # It says what it does, and how much is left.
    assert re.search(r"行を復元しています（(\d+) / \1 表、大きい順）", caplog.text)
    assert re.search(r"dump/\d+\.dat\S* を取り出しています（[\d,]+ バイト）", caplog.text)
    assert main([*command, "restore", backup_id, copy]) == 1
    assert "既にあります" in capsys.readouterr().err
    with psycopg.connect(taken.database.server.dsn(copy)) as connection:
        assert connection.execute('SELECT count(*) FROM "MST_Employee"').fetchone() == (60,)
    taken.server.drop(copy)

    dumped = max((folder / "dump").iterdir(), key=lambda path: path.stat().st_size)
    whole = dumped.read_bytes()
    flip(dumped)
    assert main([*command, "restore", backup_id, copy]) == 1
    assert f"{dumped.name} の内容が目録と一致しません" in capsys.readouterr().err
    dumped.unlink()
    assert main([*command, "restore", backup_id, copy]) == 1
    assert f"{dumped.name} がありません" in capsys.readouterr().err
    dumped.write_bytes(whole)
    exported = next((folder / "tenants").glob("A-*/public.MST_Employee.csv.zst"))
    flip(exported)
    assert main([*command, "tenant", backup_id, "A"]) == 1
    assert f"{exported.name} の内容が目録と一致しません" in capsys.readouterr().err
    assert main([*command, "tenant", backup_id, "NOBODY"]) == 1
    assert "取得時にいなかった" in capsys.readouterr().err
    for name in ("../../etc", "BKP_1", ""):
        assert main([*command, "restore", name, copy]) == 1
        assert f"'{name}' はバックアップの名前ではありません" in capsys.readouterr().err

    (folder / MANIFEST).unlink()
    assert main([*command, "tenant", backup_id, "A"]) == 1
    assert "完成していない" in capsys.readouterr().err
    assert taken.server.databases(copy) == []
    with taken.database.connect() as connection:
        assert restored_schema("A") not in [table.schema for table in list_tables(connection)]


class FullStore(ObjectStore):
    """A disk that is full once the dump is half stored."""

    def writer(self, key: str):  # type: ignore[no-untyped-def]
        if "dump/" in key and "toc" in key:
            raise NoSpaceError(key)
        return super().writer(key)


@pytest.mark.slow("takes and restores whole backups")
def test_a_backup_that_fails_is_none_and_costs_no_older_one(taken: Backups, tmp_path: Path) -> None:
    kept = taken.newest
    stored = files(taken.root)
    broken = tmp_path / "bin"

    for script, message in (
        ("kill -9 $$", "シグナル 9 で強制終了"),
        ("echo 'pg_dump: error: out of luck'; exit 1", "out of luck"),
        (
            f'{BIN}/pg_dump "$@" --exclude-table-data="public.*" --exclude-table-data="batch.*"',
            "表|がありません|行のはずが",
        ),
    ):
        taken.bin_dir = programs(broken, script)
        run, _ = taken.open()
        with pytest.raises(BatchError, match=message):
            taken.first_steps(run)
        with pytest.raises(BatchError, match="書き出しが終わっていない"):
            taken.close(run)
        assert taken.server.databases(taken.server.scratch_prefix) == []
    taken.bin_dir = programs(broken, "exit 1", version="echo 'pg_dump (PostgreSQL) 12.1'")
    with pytest.raises(UnsuitableProgramsError, match="見つかった版: 12"):
        taken.open()
    taken.bin_dir = str(tmp_path / "nowhere")
    with pytest.raises(UnsuitableProgramsError, match="pg_dump と pg_restore が見つかりません"):
        taken.open()
    taken.bin_dir = BIN

    run, _ = taken.open()
    with pytest.raises(NoSpaceError):
        taken.first_steps(run, FullStore(taken.root))
    with pytest.raises(BackupError):
        taken.close(run)
    with taken.database.connect() as connection:
        connection.execute("UPDATE batch.backup SET dump_bytes = dump_bytes * 3 WHERE status = 'verified'")
    run, _ = taken.open()
    with pytest.raises(BackupError, match="ダンプが小さすぎます"):
        taken.first_steps(run)
    with pytest.raises(BackupError):
        taken.close(run)
    assert set(stored) <= set(files(taken.root))
    assert status(taken.database, kept)[0] == "verified"

    # The daily check of a tenant's export finds it broken. Clearing the tenant's instance repairs it.
    run, tenant_ids = taken.open(accept_smaller=True)
    taken.first_steps(run)
    assert taken.tenants_step(run, tenant_ids).failures == []
    newest = max(taken.store.names("backups"))
    checked = tenant_of_the_day(tenant_ids, TODAY)
    assert checked is not None
    flip(next((taken.root / "backups" / newest / manifest_path(checked)).parent.glob("public.*")))
    with pytest.raises(BackupDamagedError, match="内容が目録と一致しません"):
        taken.close(run)
    assert status(taken.database, newest) == ("failed", "FAILED", False)
    assert not (taken.root / "backups" / newest / MANIFEST).exists()
    assert set(stored) <= set(files(taken.root))
    assert taken.tenants_step(run, tenant_ids).failures == []
    assert taken.close(run).status == "completed"
    assert taken.store.names("backups") == [kept, newest]
    assert status(taken.database, newest) == ("verified", "SUCCESS", True)


class NearlyFullStore(ObjectStore):
    """A disk with no room for a backup."""

    def free_bytes(self) -> int | None:
        return 1000


MISSING = "の空き容量が足りません（必要 {:,} バイト、空き 1,000 バイト）"


def test_without_room_the_error_names_place_and_bytes_and_nothing_starts(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = backups.open()
    size = backups.server.sizes()
    with pytest.raises(BackupError, match=rf"store/backups {MISSING.format(size.database_bytes)}。空けるか"):
        backups.first_steps(run, NearlyFullStore(backups.root))
    with monkeypatch.context() as patched:
        patched.setattr(room, "disk_usage", lambda _: SimpleNamespace(free=1000))
        needed = size.spool_bytes(2)
        largest = size.tables[0]
        with pytest.raises(BackupError) as refused:
            backups.first_steps(run)
    assert str(refused.value).startswith(f"{temporary_place()} {MISSING.format(needed)}")
    assert f"表 {largest.schema}.{largest.name} の {largest.bytes:,} バイト" in str(refused.value)
    with backups.database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM batch.backup").fetchone() == (0,)
    assert not backups.root.exists()


def test_the_last_backup_gives_the_space_that_a_local_store_needs(
    taken: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = taken.open()
    with taken.database.connect() as connection:
        total = count_of(connection, "SELECT total_bytes FROM batch.backup")
    with pytest.raises(BackupError, match=MISSING.format(total * 110 // 100)):
        taken.first_steps(run, NearlyFullStore(taken.root))

    # A restore needs as much as the dump, perhaps on another machine.
    with taken.database.connect("batch_platform") as platform:
        taken.batch().dump(Work(run, platform, store=taken.store))
        monkeypatch.setattr(room, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(BackupError, match=f"^{temporary_place()} の空き容量が足りません"):
            taken.batch().check(Work(run, platform, store=taken.store))
    assert taken.server.databases(taken.server.scratch_prefix) == []


@pytest.mark.slow("kills processes")
def test_a_repeated_dump_may_use_the_room_of_its_earlier_attempt(taken: Backups) -> None:
    with taken.database.connect() as connection:
        total = count_of(connection, "SELECT total_bytes FROM batch.backup")

    def used() -> int:
        return sum(path.stat().st_size for path in taken.root.rglob("*") if path.is_file())

    capacity = used() + total * 120 // 100

    class LimitedStore(ObjectStore):
        def free_bytes(self) -> int | None:
            return capacity - used()

    run, _ = taken.open()
    for _ in range(2):
        with taken.database.connect("batch_platform") as platform:
            taken.batch().dump(Work(run, platform, store=LimitedStore(taken.root)))


def test_the_local_need_follows_the_largest_tables_and_not_the_database() -> None:
    gigabyte = 1 << 30
    tables = [TableSize("public", f"t{number}", (10 - number) * gigabyte) for number in range(10)]
    size = DatabaseSize(tables, large_object_bytes=3, database_bytes=100 * gigabyte)
    assert size.spool_bytes(2) == (10 + 9) * gigabyte * 3 // 2 + WAITING_BYTES + 3
    small = DatabaseSize([TableSize("public", "t", 1000), TableSize("public", "u", 10)], 0, gigabyte)
    assert small.spool_bytes(4) == 1010 + 505


@pytest.mark.slow("kills processes")
def test_a_killed_dump_blocks_others_until_its_run_is_closed(
    backups: Backups,
) -> None:
    killed, _ = backups.open()
    with pytest.raises(NoSpaceError):
        backups.first_steps(killed, FullStore(backups.root))
    half = files(backups.root)
    assert half
    scratch = backups.server.scratch_database("BKP_20261101_001")
    with backups.server.connect() as connection:
        connection.execute(f"CREATE DATABASE {scratch}")

    refused, _ = backups.open()
    with pytest.raises(BackupError, match=rf"別の実行がバックアップ中です（{killed.execution_id}、DAG "):
        backups.first_steps(refused)
    assert files(backups.root) == half
    assert backups.server.databases(backups.server.scratch_prefix) == [scratch]

    close_orphans(backups.database)
    # Cleared, the dump of a closed run is at work again, and has its turn.
    with pytest.raises(NoSpaceError):
        backups.first_steps(refused, FullStore(backups.root))
    another, _ = backups.open()
    with pytest.raises(BackupError, match=refused.execution_id):
        backups.first_steps(another)
    close_orphans(backups.database)

    newest = backups.take()
    assert newest == "BKP_20261101_003"
    assert backups.store.names("backups") == [newest]
    assert status(backups.database, "BKP_20261101_001")[0] == "deleted"
    assert backups.server.databases(backups.server.scratch_prefix) == []
    with pytest.raises(BackupError, match=r"BKP_20261101_001 は整理（削除）されました"):
        backups.first_steps(killed)


def test_a_merge_writes_backed_up_columns_only_and_refuses_foreign_keys(
    taken: Backups,
) -> None:
    backup_id = taken.newest
    with taken.database.connect() as host:
        host.execute(
            """
            ALTER TABLE "MST_Employee" ADD COLUMN nickname text NOT NULL DEFAULT 'none', ADD COLUMN badge text NOT NULL DEFAULT 'x';
            ALTER TABLE "MST_UserAuth" ADD COLUMN pin text NOT NULL DEFAULT 'x';
            ALTER TABLE "MST_UserAuth" ALTER COLUMN pin DROP DEFAULT;
            UPDATE "MST_Employee" SET nickname = 'precious';
            UPDATE "MST_Employee" SET full_name = 'changed' WHERE id = 'emp_A-1';
            UPDATE "MST_UserAuth" SET failed_login_count = 9 WHERE user_id = 'A-1';
            DELETE FROM "MST_Employee" WHERE id = 'emp_A-2';
            """
        )
    with taken.server.connect() as connection:
        done = taken.restore_tenant(connection, backup_id, "A", merged=True)
    assert done.merged_rows == 3
    by_table = {conflict.name: conflict for conflict in done.conflicts}
    employees = by_table["MST_Employee"]
    assert (employees.changed, employees.missing, employees.new) == (1, 1, 0)
    assert "取得後にできた列 nickname、badge もそのままです" in "\n".join(done.lines())
    with taken.database.connect() as host:
        people = """
            SELECT tenant_id, full_name IS NULL, nickname, count(*) FROM "MST_Employee"
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """
        merged = host.execute(people).fetchall()
        assert merged == [
            (HOSTILE, True, "precious", 30),
            ("A", True, "none", 1),
            ("A", True, "precious", 29),
        ]

        # A row that was A's belongs to another tenant by now; the rows before it are not merged either.
        host.execute(
            """
            UPDATE "MST_Employee" SET full_name = 'changed' WHERE id = 'emp_A-1';
            UPDATE "MST_UserAuth" SET tenant_id = '../../etc', employee_id = NULL WHERE user_id = 'A-3';
            """
        )
        before = host.execute(people).fetchall()
        with (
            taken.server.connect() as connection,
            pytest.raises(BackupError, match=r"MST_UserAuth のキー \S+ は今ほかのテナント"),
        ):
            taken.restore_tenant(connection, backup_id, "A", merged=True)
        assert host.execute(people).fetchall() == before != merged


def test_a_tenant_is_not_restored_into_other_columns_or_with_other_rows(taken: Backups) -> None:
    packer = taken.packer(taken.newest)
    manifest = packer.parsed(MANIFEST, packer.manifest_bytes(manifest_path("A"), Unchecked()))
    more = [replace(each, rows=each.rows + 1) for each in manifest.tables]
    with taken.server.connect() as connection:
        with (
            pytest.raises(
                BackupDamagedError, match=rf"は {more[0].rows} 行のはずが {more[0].rows - 1} 行です"
            ),
            connection.transaction(),
        ):
            restore_tenant(connection, packer, Manifest(manifest.about, manifest.files, more))
        for change, message in (
            ('"MST_Employee" DROP COLUMN code_length', r"MST_Employee の列 code_length は"),
            ('"MST_Employee" RENAME TO former', r"表 public\.MST_Employee は"),
        ):
            connection.execute(f"ALTER TABLE public.{change}".encode())
            with pytest.raises(BackupError, match=f"{message}今のデータベースにありません"):
                taken.restore_tenant(connection, taken.newest, "A")


@pytest.mark.slow("takes and restores whole backups")
def test_a_restored_database_registers_the_backups_of_the_store(
    taken: Backups, caplog: pytest.LogCaptureFixture
) -> None:
    source, next_day = taken.newest, TODAY + timedelta(days=1)
    copy = Database(f"{taken.database.name}_copy", taken.database.server)
    restore_database(
        taken.server, taken.packer(source), copy.name, 2, sha256=taken.recorded("dump_sha256", source)
    )
    later = taken.take(next_day)
    folders = taken.root / "backups"
    for name in ("BKP_20260101_001", "notes"):
        (folders / name).mkdir()
        (folders / name / MANIFEST).write_text('{"about": {}, "files": [], "tables": []}')
    (folders / "BKP_20261102_007").mkdir()
    (folders / "BKP_20261102_007" / "somebody's").touch()
    held = files(taken.root)
    try:
        restored = Backups(copy, taken.root)
        # The ledger was dumped while its own backup was being taken.
        with pytest.raises(BackupError, match="別の実行がバックアップ中です"):
            restored.take(next_day)
        close_orphans(copy)
        with copy.connect() as connection:
            connection.execute(
                """
                INSERT INTO batch.backup (backup_id, business_date, status, location)
                VALUES ('BKP_20260101_001', '2026-01-01', 'failed', '')
                """
            )
        newest = restored.take(next_day)

        assert (later, newest) == ("BKP_20261102_001", "BKP_20261102_008")
        assert set(held) <= set(files(taken.root))
        assert {backup_id: status(copy, backup_id) for backup_id in (source, later, newest)} == dict.fromkeys(
            (source, later, newest), ("verified", "SUCCESS", True)
        )
        with copy.connect() as connection, taken.database.connect() as original:
            ledger = """
                SELECT backup_id, business_date, location, snapshot_at, verified_at, dump_bytes, total_bytes, manifest_sha256
                FROM batch.backup WHERE backup_id IN (%s, %s) ORDER BY backup_id
            """
            known = original.execute(ledger, [source, later]).fetchall()
            assert connection.execute(ledger, [source, later]).fetchall() == known
            # Known from the store alone.
            assert connection.execute(
                "SELECT backup_id FROM batch.backup WHERE adopted ORDER BY 1"
            ).fetchall() == [
                (source,),
                (later,),
            ]
        assert "BKP_20260101_001 is not taken into the ledger" in caplog.text
        assert "notes" not in caplog.text
    finally:
        taken.server.drop(copy.name)


class DyingStore(ObjectStore):
    """The process is killed once a backup's manifest is deleted."""

    def delete(self, key: str) -> None:
        if key.endswith("_001") and not self.exists(f"{key}/{MANIFEST}"):
            raise KeyboardInterrupt
        super().delete(key)


@pytest.mark.slow("takes and restores whole backups")
def test_retention_deletes_old_backups_and_finishes_after_a_kill(
    taken: Backups, caplog: pytest.LogCaptureFixture
) -> None:
    taken.settings = taken.settings.model_copy(
        update={"retention": RetentionSettings(daily=1, weekly=0, monthly=0)}
    )
    folders = taken.root / "backups"
    first = taken.newest
    # Four older nights, as if the ledger had lost them.
    older = [copied(folders, first, TODAY - timedelta(days=number)) for number in (4, 3, 2, 1)]
    (folders / older[3] / MANIFEST).rename(
        folders / older[3] / "moved away"
    )  # no backup, and not one of a run
    with taken.database.connect() as connection:
        # A phantom: verified, and its manifest is gone.
        connection.execute(
            """
            INSERT INTO batch.backup (backup_id, business_date, status, location, dump_bytes, manifest_sha256, verified_at)
            VALUES (%s, '2026-10-31', 'verified', '', 1, '', now() - interval '1 hour')
            """,
            [older[3]],
        )
    phantom = files(folders / older[3])

    # A later run for a missed day, and a clock that was set back: the oldest of all by both, but verified last.
    run, tenant_ids = taken.open(date(2026, 6, 1))
    taken.first_steps(run)
    assert taken.tenants_step(run, tenant_ids).failures == []
    with taken.database.connect() as connection:
        connection.execute(
            "UPDATE batch.backup SET verified_at = verified_at + interval '10 days' WHERE status = 'verified'"
        )
    with taken.database.connect("batch_platform") as platform, pytest.raises(KeyboardInterrupt):
        taken.batch().finish(Work(run, platform, store=DyingStore(taken.root)))
    assert files(folders / older[0])
    assert f"{older[3]} was verified, but has no manifest" in caplog.text
    assert status_of(taken.database) == {
        "BKP_20260601_001": "verified",
        older[0]: "deleting",
        older[1]: "verified",
        older[2]: "verified",
        older[3]: "verified",
        first: "verified",
    }
    for gone in (older[0], older[3]):
        with pytest.raises(
            ParameterError, match=f"使えるのは BKP_20260601_001、{older[1]}、{older[2]}、{first} です"
        ):
            taken.restore("compare", "A", backup=gone)

    assert taken.close(run).status == "completed"
    assert taken.store.names("backups") == ["BKP_20260601_001", *older[1:], first]
    assert files(folders / older[3]) == phantom
    assert status_of(taken.database)[older[0]] == "deleted"


def copied(
    folders: Path, backup_id: str, day: date, copy: Callable[[Path, Path], object] = shutil.copytree
) -> str:
    """The backup once more, as if it had been taken and verified on another day; returns the id."""
    other = f"BKP_{day:%Y%m%d}_001"
    copy(folders / backup_id, folders / other)
    manifest = json.loads((folders / other / MANIFEST).read_text())
    manifest["about"] |= {
        "backup_id": other,
        "business_date": day.isoformat(),
        "verified_at": (datetime.now(UTC) - (TODAY - day)).isoformat(),
    }
    content = json.dumps(manifest).encode()
    (folders / other / MANIFEST).write_bytes(content)
    MacKeys([MAC_KEY]).write(ObjectStore(folders.parent), f"backups/{other}/{MANIFEST}", content)
    return other


def status_of(database: Database) -> dict[str, str]:
    """The ledger's status of each backup."""
    with database.connect() as connection:
        return dict(connection.execute("SELECT backup_id, status FROM batch.backup").fetchall())


@pytest.mark.slow("takes and restores whole backups")
def test_a_login_without_bypassrls_is_refused_and_a_small_one_suffices(
    backups: Backups, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    role = f"backup_{os.urandom(4).hex()}"
    backups.dsn = login(backups.database, role, "test-backup")
    with backups.database.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'test-backup'")
        admin.execute(f"GRANT pg_read_all_data TO {role}")
    try:
        with pytest.raises(SettingsError, match="行レベルセキュリティ"):
            backups.open()
        with backups.database.connect() as admin:
            admin.execute(f"ALTER ROLE {role} BYPASSRLS")
        with pytest.raises(SettingsError, match="CREATEDB"):
            backups.open()
        assert not backups.root.exists()
        with backups.database.connect() as admin:
            admin.execute(f"ALTER ROLE {role} CREATEDB")
        run, _ = backups.open(dry_run=True)
        backups.first_steps(run)
        assert not backups.root.exists()
        backup_id = backups.take()

        # It restores as well, but for owners and privileges.
        monkeypatch.setenv("SKILL_BATCH_BACKUP_DSN", backups.dsn)
        copy = f"{backups.database.name}_copy"
        command = ["backup", "--store", str(backups.root), "--bin", BIN, "restore", backup_id, copy]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "pg_restore: error: could not execute query: ERROR:" in said
        assert "--no-owners" in said
        assert main([*command, "--no-owners"]) == 0
        backups.server.drop(copy)
    finally:
        with backups.database.connect() as admin:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


@pytest.mark.slow("takes and restores whole backups")
def test_a_bucket_stores_and_restores_backups_and_deletes_old_ones(
    taken: Backups, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local = taken.root / "backups"
    backups, today, tomorrow = replace(taken, root=s3.path("batch")), taken.newest, TODAY + timedelta(days=1)
    backups.settings = backups.settings.model_copy(
        update={"retention": RetentionSettings(daily=1, weekly=0, monthly=0)}
    )
    folders = backups.root / "backups"
    # Of the older ones, the bucket has the manifests only: each other file is several requests.
    for name in (MANIFEST, DUMP_MANIFEST):
        (folders / today / name).write_bytes((local / today / name).read_bytes())
    older = [copied(folders, today, TODAY - timedelta(days=days), s3.copy) for days in (3, 2)] + [today]

    # A file of the dump cannot be stored: no backup, and the older ones stay.
    s3.refuses = lambda request: request["REQUEST_METHOD"] == "PUT" and "/dump/" in request["PATH_INFO"]
    run, _ = backups.open(tomorrow)
    with pytest.raises(NoAccessError):
        backups.first_steps(run)
    with pytest.raises(BackupError):
        backups.close(run)
    s3.refuses = nothing
    assert [(folders / each / MANIFEST).exists() for each in older] == [True] * 3
    assert status(backups.database, today)[0] == "verified"

    backup_id = backups.take(tomorrow)
    assert backups.store.names("backups") == [*older[1:], backup_id]
    assert [status(backups.database, each)[0] for each in older] == ["deleted", "verified", "verified"]

    # The command finds the credentials as Amazon's tools do.
    for name, value in {"SKILL_BATCH_BACKUP_DSN": backups.database.dsn, **s3.environment}.items():
        monkeypatch.setenv(name, value)
    command = ["backup", "--store", f"s3://{BUCKET}/batch", "--bin", BIN]
    assert main([*command, "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*older[1:], backup_id]
    assert main([*command, "tenant", backup_id, "A"]) == 0
    assert of_restored(backups.database, "A") == of_tenant(backups.database, "A")

    with backups.server.connect() as connection:
        # A flipped byte and a missing object, in the bucket itself.
        (exported,) = [
            key for key in s3.names(f"batch/backups/{backup_id}/tenants/A-") if "MST_Employee." in key
        ]
        content = bytearray(s3.client.get_object(Bucket=BUCKET, Key=exported)["Body"].read())
        content[len(content) // 2] ^= 1
        s3.client.put_object(Bucket=BUCKET, Key=exported, Body=bytes(content))
        with pytest.raises(BackupDamagedError, match="内容が目録と一致しません"):
            backups.restore_tenant(connection, backup_id, "A")
        s3.client.delete_object(Bucket=BUCKET, Key=exported)
        with pytest.raises(BackupDamagedError, match=r"MST_Employee.* がありません"):
            backups.restore_tenant(connection, backup_id, "A")


def test_a_backup_of_some_tenants_is_refused(backups: Backups) -> None:
    with pytest.raises(ParameterError, match="常に全体"):
        backups.open(codes=("A",))
