"""A restore by hand that is interrupted: what it leaves of the tenants' data, and what the next restore says and deletes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worlds.backups import Backups, blocked_programs


@dataclass
class RestoreByHand:
    """The command on a DBA's machine, whose temporary files lie in ``temporary``."""

    backups: Backups
    programs: Path
    temporary: Path
    target: str

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """The command, which waits while it restores as long as its programs are blocked."""
        command = [sys.executable, "-m", "include.skillreport", "backup", "--store", str(self.backups.root)]
        process = subprocess.Popen(
            [*command, "--bin", str(self.programs), "restore", self.backups.newest, self.target],
            env=os.environ
            | {"TMPDIR": str(self.temporary), "SKILL_BATCH_BACKUP_DSN": self.backups.database.dsn},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def interrupt(self, number: signal.Signals) -> tuple[int, str]:
        """Start it, end it by the signal while the files of the dump lie there, and return its exit status and its errors."""
        with self.running() as process:
            wait_until(
                lambda: self.files() != [] and self.databases() != [],
                "the dump is fetched and the database made",
            )
            process.send_signal(number)
            _, errors = process.communicate()
            return process.returncode, errors

    def files(self) -> list[Path]:
        return [each for each in self.temporary.rglob("*") if each.is_file()]

    def databases(self) -> list[str]:
        """The unfinished ones."""
        return self.backups.server.databases(self.backups.server.run_prefix)


@pytest.fixture
def restore(taken_backups: Backups, tmp_path: Path) -> Iterator[RestoreByHand]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    by_hand = RestoreByHand(
        taken_backups, blocked_programs(tmp_path / "bin"), temporary, f"{taken_backups.database.name}_copy"
    )
    yield by_hand
    for name in (by_hand.target, *by_hand.databases()):
        taken_backups.server.drop(name)


@pytest.mark.slow("kills processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_files_and_no_database(restore: RestoreByHand, number: signal.Signals) -> None:
    """SIGHUP is a lost session, SIGINT is Ctrl-C."""
    status, errors = restore.interrupt(number)

    assert status == 128 + number
    assert errors.splitlines()[-1] == f"backup: シグナル {number.name} で中断し、途中のものを片付けました。"
    assert "Traceback" not in errors
    assert list(restore.temporary.iterdir()) == []
    assert restore.databases() == []


@pytest.mark.slow("kills processes")
def test_the_next_restore_deletes_the_files_of_a_killed_one(
    restore: RestoreByHand,
) -> None:
    assert restore.interrupt(signal.SIGKILL)[0] == -signal.SIGKILL
    ((left,), (unfinished,)) = list(restore.temporary.iterdir()), restore.databases()
    assert restore.files() != []

    (restore.programs / "blocked").unlink()
    with restore.running() as process:
        said, logged = process.communicate()
    assert process.returncode == 0, logged
    assert f"終了したプロセスの一時フォルダーを消します: {left}" in logged
    assert list(restore.temporary.iterdir()) == []
    assert f"完成していないデータベースがあります: {unfinished}。" in said
