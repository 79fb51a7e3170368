"""A restore whose task is killed at each try, through a whole Airflow: what the alert says, and that its advice ends the failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_stack.data_management import create_backup_login
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.running_airflow import NO_SCHEDULE, TRIES, StartAirflow
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.backups import Backups, blocked_programs

pytestmark = [pytest.mark.long, pytest.mark.exclusive]


@pytest.fixture
def slow_programs(tmp_path: Path) -> Path:
    """See ``blocked_programs``."""
    return blocked_programs(tmp_path / "bin")


@pytest.fixture
def backup_login(database: Database) -> Iterator[str]:
    """The URI of a login for backups, which is no superuser."""
    role = f"backup_{os.urandom(4).hex()}"
    with database.connect() as host:
        create_backup_login(host, {"login": role, "password": "test-backup"})
    yield f"postgres://{role}:test-backup@{database.server.host}:{database.server.port}/{database.name}"
    with database.connect() as host:
        host.execute(f"DROP OWNED BY {role} CASCADE".encode())
        host.execute(f"DROP ROLE {role}".encode())


def restoring(folder: Path) -> list[psutil.Process]:
    """The tasks that wait for this pg_restore while it is blocked. Its other calls end at once."""
    program = str(folder / "pg_restore")
    return [
        parent
        for process in psutil.process_iter(["cmdline"])
        if {program, "--exit-on-error"} <= set(process.info["cmdline"] or ())
        and (parent := process.parent())
        and program not in parent.cmdline()
    ]


def test_the_alerts_advice_completes_a_restore_that_was_killed(
    start_airflow: StartAirflow,
    database: Database,
    slack: StandIns,
    slow_programs: Path,
    backup_login: str,
    tmp_path: Path,
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001")
        host_rows.user(host, "T001", "u1")
    backups = Backups(database, tmp_path / "storage")
    backups.take()
    server, target = backups.server, f"{database.name}_copy"
    variables = {
        "AIRFLOW_CONN_SKILL_BATCH_BACKUP_DB": backup_login,
        "AIRFLOW_VAR_SKILL_BATCH_POSTGRES_BIN": str(slow_programs),
    }
    try:
        with start_airflow(NO_SCHEDULE | variables) as api:
            api.dag_id = "restore_backup"
            api.unpause()
            run_id = api.trigger(operation="new_database", target=target, reason="訓練のため")
            for _ in range(TRIES):
                wait_until(lambda: restoring(slow_programs) != [], "the task restores")
                for task in restoring(slow_programs):
                    task.send_signal(signal.SIGKILL)
                wait_until(lambda: restoring(slow_programs) == [], "pg_restore has ended with its task")
            assert api.wait(run_id) == "failed"
            wait_until(lambda: len(slack.messages) > 0, "the alert arrives")

            (alert,) = slack.messages
            assert "強制終了" in alert.text
            assert "restore だけを下流ごと消去（Clear）" in alert.text
            assert server.databases(target) == []
            assert len(server.databases(server.run_prefix)) == 1

            (slow_programs / "blocked").unlink()
            api.clear_task(run_id, "restore")
            assert api.wait(run_id) == "success"
            assert server.databases(target) == [target]
            assert server.databases(server.run_prefix) == []
            with server.connect(target) as restored:
                assert restored.execute('SELECT tenant_id FROM "MST_Tenant"').fetchall() == [("T001",)]
    finally:
        for name in (target, *server.databases(server.run_prefix)):
            server.drop(name)
