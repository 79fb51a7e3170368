"""BATCH-001 on a real server: one snapshot, whole or not at all, restored and compared before it counts."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pyrage  # type: ignore[import-untyped]
import pytest

from include.data_management.data_backup.__main__ import main
from include.data_management.data_backup.files import MANIFEST, BackupDamagedError
from include.data_management.data_backup.restore import restore_one_tenant
from include.data_management.data_backup.server import (
    BackupError,
    list_tables,
    table_contents,
)
from include.data_management.data_backup.tenant_export import manifest_path, restored_schema
from include.errors import BatchError, ParameterError, SettingsError
from include.execution.object_store import ObjectStore
from include.settings import RetentionSettings
from tests import host_rows
from tests.conftest import Database
from tests.data_management.backups import BIN, TODAY, Backups, login
from tests.s3_server import BUCKET, S3Server, nothing

HOSTILE = "../../etc"


@pytest.fixture
def backups(database: Database, tmp_path: Path) -> Backups:
    """Two tenants with people, settings and requests; one of them has a name that would lead elsewhere."""
    with database.connect() as host:
        host.execute(
            'ALTER TABLE "MST_Employee" ADD COLUMN code_length integer GENERATED ALWAYS AS (length(employee_code)) STORED'
        )
        for tenant_id in ("A", HOSTILE):
            host_rows.tenant(host, tenant_id, tenant_name='=HYPERLINK("x"), "髙橋﨑"\n二行目')
            for number in range(30):
                user = host_rows.user(host, tenant_id, f"{tenant_id}-{number}")
                host_rows.request(host, user, datetime(2026, 10, 1))
            host_rows.report(host, tenant_id, datetime(2026, 10, 2))
        host_rows.tenant(host, "GONE", status="deleted")
    return Backups(database, tmp_path / "store")


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def of_tenant(database: Database, tenant_id: str, schema: str = "public") -> dict[str, tuple[int, str]]:
    """Rows and hash of each of the tenant's tables of the host."""
    with database.connect() as connection:
        connection.execute("SET timezone = UTC")
        tables = [table for table in list_tables(connection) if table.has_tenant and table.schema == schema]
        return {
            table.name: (table.rows, table.content_hash)
            for table in table_contents(connection, tables, tenant_id)
        }


def status(database: Database, backup_id: str) -> tuple[str, str, bool]:
    """What our table and the application's say."""
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


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_backup_is_one_snapshot_and_a_tenants_restore_gives_back_exactly_its_rows(backups: Backups) -> None:
    run, tenant_ids = backups.open()
    backups.first_steps(run)
    before = {tenant_id: of_tenant(backups.database, tenant_id) for tenant_id in tenant_ids}
    with backups.database.connect() as host:
        # After the snapshot, while the run goes on: in no file.
        host_rows.user(host, "A", "A-late")
        host.execute("UPDATE \"MST_Employee\" SET full_name = 'changed' WHERE id = 'emp_A-1'")
        host.execute("DELETE FROM \"MST_UserAuth\" WHERE user_id = 'A-2'")
    assert backups.tenants_step(run, tenant_ids).failures == []
    assert backups.close(run).status == "completed"
    backup_id = f"BKP_{TODAY:%Y%m%d}_001"
    whole = files(backups.root)
    # Whatever somebody clears now, a complete backup stays as it is.
    assert backups.close(run).status == "completed"
    with pytest.raises(BackupError, match="完成しているため"):
        backups.first_steps(run)
    with pytest.raises(BackupError, match="完成しているため"):
        backups.tenants_step(run, tenant_ids)
    assert backups.close(run).status == "completed"
    assert files(backups.root) == whole

    assert tenant_ids == [HOSTILE, "A", "GONE"]
    assert status(backups.database, backup_id) == ("verified", "SUCCESS", True)
    assert backups.server.databases(backups.server.scratch_prefix) == []
    folder = backups.root / "backups" / backup_id
    listed = {MANIFEST}
    for name in (MANIFEST, "dump.json", *(manifest_path(tenant_id) for tenant_id in tenant_ids)):
        for entry in json.loads((folder / name).read_text())["files"]:
            listed.add(entry["path"])
            assert (folder / entry["path"]).stat().st_size == entry["bytes"]
    assert set(files(folder)) == listed
    assert files(backups.root.parent) == [f"store/{name}" for name in files(backups.root)]

    others, live = of_tenant(backups.database, HOSTILE), of_tenant(backups.database, "A")
    with backups.server.connect() as connection:
        done = restore_one_tenant(connection, backups.packer(backup_id), "A")
        again = restore_one_tenant(connection, backups.packer(backup_id), HOSTILE)
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

    run, ids = backups.open(parameters={"action": "merge"}, codes=("A",))
    backups.first_steps(run)
    assert ids == ["A"]
    merged = backups.tenants_step(run, ids)
    assert merged.failures == []
    assert merged.results[0].details["merged"] == 2
    assert of_tenant(backups.database, HOSTILE) == others
    with backups.database.connect() as host:
        rows = host.execute(
            """
            SELECT (SELECT full_name FROM "MST_Employee" WHERE id = 'emp_A-1'),
                   (SELECT count(*) FROM "MST_UserAuth" WHERE user_id IN ('A-2', 'A-late'))
            """
        ).fetchone()
    assert rows == (None, 2)


def of_restored(database: Database, tenant_id: str) -> dict[str, tuple[int, str]]:
    """The same of what was restored of the host's tables."""
    with database.connect() as connection:
        connection.execute("SET timezone = UTC")
        tables = [
            table
            for table in list_tables(connection)
            if table.schema == restored_schema(tenant_id) and not table.name.startswith("batch.")
        ]
        return {table.name: (table.rows, table.content_hash) for table in table_contents(connection, tables)}


def test_an_encrypted_backup_opens_with_its_key_only(backups: Backups) -> None:
    backups.settings = backups.settings.model_copy(update={"encrypted": True})
    with pytest.raises(BatchError, match="batch_backup_key"):
        backups.open()
    backups.secrets["batch_backup_key"] = str(pyrage.x25519.Identity.generate())
    backup_id = backups.take()
    stored = backups.root / "backups" / backup_id
    assert all(name.endswith((".age", ".json")) for name in files(stored))
    with backups.server.connect() as connection:
        assert restore_one_tenant(connection, backups.packer(backup_id), "A").rows > 60
        backups.secrets["batch_backup_key"] = str(pyrage.x25519.Identity.generate())
        with pytest.raises(BackupDamagedError, match="の鍵では"):
            restore_one_tenant(connection, backups.packer(backup_id), "A")
        backups.secrets.clear()
        with pytest.raises(BackupDamagedError, match="暗号化されています"):
            restore_one_tenant(connection, backups.packer(backup_id), "A")


def test_damage_is_found_and_named_and_restores_nothing(
    backups: Backups, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backup_id = backups.take()
    folder = backups.root / "backups" / backup_id
    monkeypatch.setenv("BATCH_BACKUP_DSN", backups.database.dsn)
    command = ["--store", str(backups.root), "--bin", BIN]
    copy = f"{backups.database.name}_copy"

    assert main([*command, "list"]) == 0
    assert backup_id in capsys.readouterr().out
    assert main([*command, "restore", backup_id, copy]) == 0
    assert main([*command, "restore", backup_id, copy]) == 1
    assert "既にあります" in capsys.readouterr().err
    with psycopg.connect(backups.database.server.dsn(copy)) as connection:
        assert connection.execute('SELECT count(*) FROM "MST_Employee"').fetchone() == (60,)
    backups.server.drop(copy)

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
    (folder / MANIFEST).unlink()
    assert main([*command, "tenant", backup_id, "A"]) == 1
    assert "完成していない" in capsys.readouterr().err
    assert backups.server.databases(copy) == []
    with backups.database.connect() as connection:
        assert restored_schema("A") not in [table.schema for table in list_tables(connection)]


class FullStore(ObjectStore):
    """A disk that is full once the dump is half stored."""

    def writer(self, key: str):  # type: ignore[no-untyped-def]
        if "dump/" in key and "toc" in key:
            raise OSError(28, os.strerror(28), key)
        return super().writer(key)


def test_a_backup_that_fails_is_none_and_costs_no_older_one(backups: Backups, tmp_path: Path) -> None:
    kept = [backups.take(TODAY - timedelta(days=number)) for number in (3, 2, 1)]
    stored = files(backups.root)
    broken = tmp_path / "bin"

    def tools(pg_dump: str) -> str:
        broken.mkdir(exist_ok=True)
        for name, text in (("pg_dump", pg_dump), ("pg_restore", f'exec {BIN}/pg_restore "$@"')):
            (broken / name).write_text(f"#!/bin/sh\n{text}\n")
            (broken / name).chmod(0o755 | stat.S_IXUSR)
        return str(broken)

    version = f'[ "$1" = --version ] && exec {BIN}/pg_dump --version\n'
    for script, message in (
        (f"{version}kill -9 $$", "シグナル 9 で強制終了"),
        (f"{version}echo 'pg_dump: error: out of luck'; exit 1", "out of luck"),
        (
            f'{version}{BIN}/pg_dump "$@" --exclude-table-data="public.*" --exclude-table-data="batch.*"',
            "表|がありません|行のはずが",
        ),
    ):
        backups.bin_dir = tools(script)
        run, _ = backups.open()
        with pytest.raises(BatchError, match=message):
            backups.first_steps(run)
        with pytest.raises(BatchError, match="書き出しが終わっていない"):
            backups.close(run)
        assert backups.server.databases(backups.server.scratch_prefix) == []
    backups.bin_dir = tools("echo 'pg_dump (PostgreSQL) 12.1'")
    with pytest.raises(BackupError, match="pg_dump 12 はサーバー"):
        backups.open()
    backups.bin_dir = str(tmp_path / "nowhere")
    with pytest.raises(BackupError, match="pg_dump が見つかりません"):
        backups.open()
    backups.bin_dir = BIN

    run, _ = backups.open()
    with pytest.raises(OSError, match="No space left"):
        backups.first_steps(run, FullStore(backups.root))
    with pytest.raises(BackupError):
        backups.close(run)
    with backups.database.connect() as connection:
        connection.execute("UPDATE batch.backup SET dump_bytes = dump_bytes * 3 WHERE status = 'verified'")
    run, _ = backups.open()
    with pytest.raises(BackupError, match="ダンプが小さすぎます"):
        backups.first_steps(run)
    assert set(stored) <= set(files(backups.root))
    assert [status(backups.database, backup_id)[0] for backup_id in kept] == ["verified"] * 3

    newest = backups.take(accept_smaller=True)
    names = sorted(path.name for path in (backups.root / "backups").iterdir())
    assert names == sorted([*kept, newest])
    assert status(backups.database, newest) == ("verified", "SUCCESS", True)


def test_a_login_that_does_not_see_all_rows_is_refused_and_a_small_one_suffices(backups: Backups) -> None:
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
        backups.take()
    finally:
        with backups.database.connect() as admin:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def test_a_bucket_takes_backups_and_gives_them_back_and_lets_old_ones_go(
    backups: Backups, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backups.root = s3.path("batch")
    backups.settings = backups.settings.model_copy(
        update={"retention": RetentionSettings(daily=1, weekly=0, monthly=0)}
    )
    older = [backups.take(TODAY - timedelta(days=number)) for number in (3, 2, 1)]

    # A file of the dump cannot be stored: no backup, and the older ones stay.
    s3.refuses = lambda request: (
        request["REQUEST_METHOD"] == "PUT" and request["PATH_INFO"].endswith("toc.dat.zst")
    )
    run, _ = backups.open()
    with pytest.raises(PermissionError):
        backups.first_steps(run)
    with pytest.raises(BackupError):
        backups.close(run)
    s3.refuses = nothing
    assert [status(backups.database, backup_id)[0] for backup_id in older] == ["verified"] * 3

    backup_id = backups.take()
    assert backups.store.names("backups") == [*older[1:], backup_id]
    assert [status(backups.database, each)[0] for each in older] == ["deleted", "verified", "verified"]

    # The command finds the credentials as Amazon's tools do.
    for name, value in {"BATCH_BACKUP_DSN": backups.database.dsn, **s3.environment}.items():
        monkeypatch.setenv(name, value)
    command = ["--store", f"s3://{BUCKET}/batch", "--bin", BIN]
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
            restore_one_tenant(connection, backups.packer(backup_id), "A")
        s3.client.delete_object(Bucket=BUCKET, Key=exported)
        with pytest.raises(BackupDamagedError, match=r"MST_Employee.* がありません"):
            restore_one_tenant(connection, backups.packer(backup_id), "A")


def test_the_form_is_checked_before_anything_runs(backups: Backups) -> None:
    for parameters, codes, message in (
        ({"action": "erase"}, (), "操作"),
        ({}, ("A",), "常に全体"),
        ({"action": "merge"}, (), "復元するテナント"),
        ({"action": "restore_database"}, (), "target"),
        ({"action": "compare"}, ("A",), "まだありません"),
    ):
        with pytest.raises(ParameterError, match=message):
            backups.open(parameters=parameters, codes=codes)
