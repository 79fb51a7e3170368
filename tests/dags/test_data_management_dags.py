"""BATCH-001 and BATCH-002 through ``airflow dags test``: a backup, a tenant restored into a separate schema, a clean-up."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from local_stack.data_management import create_backup_login
from local_stack.stack import postgres_programs
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.worlds import host_rows
from tests.worlds.leaving_tenants import backup_login
from tests.worlds.untrusted_stores import Attacker


@pytest.mark.slow("runs whole DAGs")
def test_a_backup_is_taken_and_restored_and_logs_are_cleaned_up(
    runs: DagRuns, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    role = f"backup_{os.urandom(4).hex()}"
    with database.connect() as host:
        host_rows.tenant(host, "T001")
        host_rows.user(host, "T001", "u1")
        host_rows.request(host, "u1", datetime(2026, 1, 1))
        create_backup_login(host, {"login": role, "password": "test-backup"})
    logs = tmp_path / "logs"
    (logs / "debug").mkdir(parents=True)
    (logs / "debug" / "a.log").write_text("old")
    os.utime(logs / "debug" / "a.log", (0, 0))
    (logs / "unknown").mkdir()
    address = f"{database.server.host}:{database.server.port}/{database.name}"
    runs.set_connection("skill_batch_backup_db", f"postgres://{role}:test-backup@{address}")
    runs.set_connection("skill_batch_backup_mac", json.dumps({"conn_type": "generic", "password": "k" * 32}))
    runs.set_variable("skill_batch_storage_url", f"file://{tmp_path}/store")
    runs.set_variable("skill_batch_postgres_bin", postgres_programs())
    runs.set_variable("skill_batch_log_roots", str(logs))
    try:
        taken = runs.test("batch_001_data_backup", "2026-11-01")
        assert taken.state == "success"
        with database.connect() as host:
            host.execute("""UPDATE "MST_Employee" SET full_name = '変更後' """)
        compared = runs.test("restore_backup", "2026-11-02", operation="compare", tenants=["T001"])
        assert compared.state == "success"
        assert "public.MST_Employee: 復元 1 行、現在と異なる 1 行" in compared.log
        assert "test-backup" not in taken.log + compared.log
        (tmp_path / "in the way").touch()
        runs.set_variable("skill_batch_storage_url", f"file://{tmp_path}/in the way/store")
        assert runs.test("batch_001_data_backup", "2026-11-03").state == "failed"
        runs.set_variable("skill_batch_storage_url", f"file://{tmp_path}/store")
        assert runs.test("batch_002_log_cleanup", "2026-11-01", tenants=["T001"]).state == "failed"
        assert runs.test("batch_002_log_cleanup", "2026-11-01", tenants=[]).state == "success"
    finally:
        with database.connect() as host:
            host.execute(f"DROP OWNED BY {role} CASCADE")
            host.execute(f"DROP ROLE {role}")

    assert (tmp_path / "store/backups/BKP_20261101_001/manifest.json").exists()
    assert (tmp_path / "store/backups/BKP_20261101_001/manifest.json.mac").exists()
    assert list((logs / "debug").iterdir()) == []
    with database.connect() as host:
        assert host.execute('SELECT count(*) FROM "SYS_SystemLog"').fetchone() == (0,)
        assert host.execute(
            "SELECT error_message FROM batch.execution_log WHERE status = 'failed'"
        ).fetchone() == ("前段の dump が失敗しました。理由はそのログと通知にあります。",)
        assert host.execute(
            "SELECT batch_id, status FROM batch.execution_log ORDER BY started_at"
        ).fetchall() == [
            ("BATCH-001", "completed"),
            ("RESTORE-BACKUP", "completed"),
            ("BATCH-001", "failed"),
            ("BATCH-002", "completed"),
        ]
    alert, refusal, message = slack.messages
    assert "Not a directory" in alert.text
    assert "BATCH-002 は常に全体を対象とします" in refusal.text
    assert "rows/system_log: 削除 1 行" in message.text
    assert "files/?: 要確認 1 件" in message.text


@pytest.mark.long
def test_whoever_replaces_the_dump_while_the_run_goes_on_runs_no_statement(
    runs: DagRuns, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    folder = tmp_path / "store/backups/BKP_20261101_001"
    address = f"{database.server.host}:{database.server.port}/{database.name}"
    with backup_login(database) as role:
        attacker = Attacker(f"ALTER ROLE {role} PASSWORD 'of-the-attacker'")
        with database.connect() as host:
            host_rows.tenant(host, "T001")
            attacker.plant(host)
        runs.set_connection("skill_batch_backup_db", f"postgres://{role}:test-backup@{address}")
        runs.set_variable("skill_batch_storage_url", f"file://{tmp_path}/store")
        runs.set_variable("skill_batch_postgres_bin", postgres_programs())
        with attacking(attacker, folder) as has_attacked:
            assert runs.test("batch_001_data_backup", "2026-11-01").state == "failed"
        assert has_attacked.is_set()
        with psycopg.connect(f"postgres://{role}:test-backup@{address}"):
            pass
    assert "dump.json が書き換えられています" in slack.messages[0].text


@contextmanager
def attacking(attacker: Attacker, folder: Path) -> Iterator[Event]:
    """Replace the dump as soon as it is there. The event is set then."""
    has_attacked, ends = Event(), Event()

    def attack() -> None:
        while not ends.wait(0.01):
            if (folder / "dump.json").exists():
                attacker.replace_contents(folder)
                has_attacked.set()
                return

    thread = Thread(target=attack, daemon=True)
    thread.start()
    try:
        yield has_attacked
    finally:
        ends.set()
        thread.join()
