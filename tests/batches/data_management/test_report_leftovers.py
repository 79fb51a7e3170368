"""Temporary files of BATCH-004 contain names of people: none stays, and a folder without room is named."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.monthly_report import batch as monthly_report
from include.skillreport.batches.monthly_report import create_batch
from include.skillreport.batches.monthly_report.workbook import write_workbook
from include.skillreport.core.catalog import MONTHLY_REPORT
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.shard_work import ShardReport
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from tests.conftest import Database
from tests.worlds import statistics_rows
from tests.worlds.monthly_rows import LAST_DAY, MONTH, employee, tenant
from tests.worlds.small_disk import small_disk

# More rows than XlsxWriter keeps in its buffers.
PEOPLE = 300


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def a_run(shared_database: Database, host: psycopg.Connection) -> Run:
    """A run whose tenant is still to be worked on."""
    tenant(host, "T1")
    for number in range(PEOPLE):
        employee(host, "T1", f"佐藤 {number}")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": PEOPLE})
    with shared_database.connect("batch_platform") as platform:
        return open_run(platform, MONTHLY_REPORT, create_batch(LOCAL), MONTH)[0]


def work_on(database: Database, a_run: Run, store: Path) -> ShardReport:
    with database.working() as (platform, connection):
        return process_tenants(connection, platform, create_batch(LOCAL), a_run, ["T1"], ObjectStore(store))


def _killed_after_a_person(database: Database, a_run: Run, store: Path) -> None:
    """In a process of its own: it dies when the first sheets are on the disk."""

    def dying(people: Iterable[Any]) -> Iterator[Any]:
        yield next(iter(people))
        os.kill(os.getpid(), signal.SIGKILL)

    def killed(report: Any, people: Iterable[Any], *others: Any) -> None:
        write_workbook(report, dying(people), *others)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(monthly_report, "write_workbook", killed)
        work_on(database, a_run, store)


def test_the_retry_deletes_the_rows_that_a_killed_workbook_has_left(
    shared_database: Database, a_run: Run, tmp_path: Path, temporary: Path
) -> None:
    target = partial(_killed_after_a_person, shared_database, a_run, tmp_path / "store")
    killed = get_context("fork").Process(target=target)
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert [each for each in temporary.rglob("*") if each.is_file()]

    assert work_on(shared_database, a_run, tmp_path / "store").failures == []

    assert list(temporary.iterdir()) == []


def test_a_temporary_folder_without_room_is_named(
    shared_database: Database, a_run: Run, tmp_path: Path, temporary: Path
) -> None:
    with small_disk(temporary, kilobytes=16):
        (failure,) = work_on(shared_database, a_run, tmp_path / "store").failures
        assert list(temporary.iterdir()) == []
    assert failure.code == "NoSpaceError"
    assert failure.message.startswith(f"一時フォルダー（TMPDIR）{temporary} の空き容量がなくなりました。")
