"""A restore into a new database that is killed with SIGKILL leaves nothing that stops its retry, or that looks complete."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psycopg
import pytest

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.operation_catalog import RESTORE_BACKUP
from include.skillreport.operations.restore_backup.batch import BackupRestore
from local_stack.batch_runs import open_run
from tests.conftest import Database
from tests.messaging.statement_proxy import StatementProxy
from tests.waiting import wait_until
from tests.worlds.backup_stages import taken
from tests.worlds.backups import TODAY, Backups, of_tenant

__all__ = ["taken"]

_CONTEXT = ForkServerContext()
_CONTEXT.set_forkserver_preload([__name__])

REASON = "訓練のため"


def opened(backups: Backups, target: str) -> Run:
    batch = BackupRestore(BackupAccess(backups.settings, backups.installation))
    form = {"operation": "new_database", "target": target, "reason": REASON}
    with backups.database.connect("batch_platform") as platform:
        run, _ = open_run(platform, RESTORE_BACKUP, batch, TODAY, parameters=form)
    return run


def attempt(backups: Backups, run: Run) -> list[str]:
    """An attempt of the run's task; returns the notes about the database."""
    batch = BackupRestore(BackupAccess(backups.settings, backups.installation))
    with psycopg.connect(backups.database.dsn, autocommit=True) as platform:
        platform.execute("SET ROLE batch_platform")
        installation = replace(backups.installation, platform_connection=platform)
        key = TaskKey(RESTORE_BACKUP.mapped_task, 0)
        report = flow.process_shard(RESTORE_BACKUP, batch, run, Shard(0, ""), installation, key)
    assert report.failures == []
    return [note for result in report.results for note in result.notes]


def killed(backups: Backups, run: Run, database: str, statements: int) -> None:
    """An attempt in a process of its own, which is killed so many statements after this database has come into being."""
    with backups.database.connect() as host, proxied(backups, host, database, statements) as (proxy, dsn):
        worker = _CONTEXT.Process(target=attempt, args=(replace(backups, dsn=dsn), run), daemon=True)
        worker.start()
        wait_until(lambda: proxy.stopped.is_set() or not worker.is_alive(), "the restore comes so far")
        worker.kill()
        worker.join()
    assert (proxy.stopped.is_set(), worker.exitcode) == (True, -signal.SIGKILL)


@contextmanager
def proxied(
    backups: Backups, host: psycopg.Connection, database: str, statements: int
) -> Iterator[tuple[StatementProxy, str]]:
    seen = 0

    def comes() -> bool:
        nonlocal seen
        exists = "SELECT FROM pg_database WHERE datname = %s"
        seen += bool(seen or host.execute(exists, [database]).rowcount)
        return seen > statements

    proxy = StatementProxy(backups.database.dsn, stop_when=comes)
    with proxy.listening("killed restore") as dsn:
        yield proxy, dsn


@pytest.mark.slow("kills processes")
@pytest.mark.parametrize(
    "is_named",
    [pytest.param(False, id="half"), pytest.param(True, id="complete", marks=pytest.mark.long)],
)
def test_the_retry_of_a_killed_restore_completes_it(
    taken: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server, target = taken.server, f"{taken.database.name}_copy"
    run = opened(taken, target)
    own = server.run_database(run.execution_id)
    try:
        killed(taken, run, *((target, 0) if is_named else (own, 500)))
        # The half is marked as incomplete by its name.
        assert (server.databases(target), server.databases(own)) == (
            ([target], []) if is_named else ([], [own])
        )

        done = attempt(taken, run)

        assert "復元済み" in done[0] if is_named else "取得時と一致" in done[0]
        assert server.databases(server.run_prefix) == []
        assert of_tenant(Database(target, taken.database.server), "A") == of_tenant(taken.database, "A")
        assert list(tmp_path.glob("skill-batch-*")) == []
    finally:
        server.drop(target)
        server.drop(own)


@pytest.mark.long
def test_other_runs_name_the_remains_of_a_killed_restore(taken: Backups) -> None:
    server, target = taken.server, f"{taken.database.name}_copy"
    left = server.run_database("RESTORE-BACKUP_20261101_0badcafe")
    with server.new_database(left):
        pass
    try:
        notes = attempt(taken, opened(taken, target))
        assert left in notes[-1]
        assert "DROP DATABASE" in notes[-1]
        run, _ = taken.open()
        taken.first_steps(run)
        with taken.database.connect() as host:
            assert host.execute(
                "SELECT details -> 'left_databases' FROM batch.run_remark WHERE execution_id = %s AND step = 'dump'",
                [run.execution_id],
            ).fetchone() == ([left],)
    finally:
        for database in (left, target, *server.databases(server.scratch_prefix)):
            server.drop(database)
