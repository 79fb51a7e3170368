"""Temporary files: what a killed process leaves, what a full or missing folder says, and that there are no others."""

from __future__ import annotations

import ast
import logging
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from include.skillreport.core.errors import is_recoverable
from include.skillreport.core.execution.storage_errors import NoSpaceError, StorageError
from include.skillreport.core.execution.temporary_files import (
    delete_left_folders,
    temporary_file,
    temporary_folder,
)
from tests.worlds.small_disk import small_disk

SOURCES = Path(__file__).parents[2]
# Ids without an account.
_USER, _STRANGER = 54_321, 54_322
OWN = Path("include/skillreport/core/execution/temporary_files.py")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_no_other_module_makes_temporary_files() -> None:
    """A library that makes some gets a folder: XlsxWriter's workbook has the option ``tmpdir``."""
    others = set()
    for top in ("include", "plugins", "dags"):
        for file in (SOURCES / top).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = (
                    [each.name for each in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                others |= {file.relative_to(SOURCES) for name in names if name.startswith("tempfile")}
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Workbook"):
                    assert "'tmpdir'" in ast.unparse(node), file
    assert others == {OWN}


def hold_folder(named: Connection) -> None:
    """Make a folder with a file, in a process of its own, and wait until somebody ends it."""
    with temporary_folder() as folder:
        Path(folder, "rows").write_bytes(b"personal")
        named.send(folder)
        signal.pause()


@contextmanager
def holder() -> Iterator[tuple[Path, BaseProcess]]:
    """A folder of another process that is active."""
    here, there = get_context("fork").Pipe()
    process = get_context("fork").Process(target=hold_folder, args=(there,))
    process.start()
    try:
        yield Path(here.recv()), process
    finally:
        process.kill()
        process.join()


def test_the_next_process_deletes_what_a_killed_one_has_left(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with holder() as (active, _), holder() as (left, killed):
        killed.kill()
        killed.join()
        assert (left / "rows").exists()
        with caplog.at_level(logging.INFO), temporary_folder() as own:
            assert sorted(place.iterdir()) == sorted([active, Path(own)])
            with temporary_folder() as another:
                assert sorted(place.iterdir()) == sorted([active, Path(own), Path(another)])
        assert caplog.messages == [f"終了したプロセスの一時フォルダーを消します: {left}"]


def test_a_folder_in_use_is_not_old(place: Path) -> None:
    with holder() as (active, _):
        os.utime(active, (0, 0))
        delete_left_folders()
        assert list(place.iterdir()) == [active]


@pytest.mark.parametrize(("days", "is_kept"), [(0, True), (2, False)])
def test_a_folder_of_another_machine_stays_for_a_day(place: Path, days: int, *, is_kept: bool) -> None:
    """A folder's lock does not reach over a network."""
    other = place / "skill-batch-01234567-abcdefgh"
    other.mkdir()
    written = time.time() - days * 24 * 3600
    os.utime(other, (written, written))
    delete_left_folders()
    assert other.exists() == is_kept


def test_processes_that_begin_at_once_keep_their_folders(place: Path) -> None:
    def begin(_: int) -> bool:
        with temporary_folder() as folder:
            Path(folder, "rows").write_bytes(b"personal")
            return Path(folder, "rows").exists()

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(begin, range(200)))
    assert list(place.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of another user")
@pytest.mark.parametrize("mode", [0o744, 0o666, 0o000, 0o700])
def test_entries_of_another_user_stop_nothing_and_stay(place: Path, mode: int) -> None:
    planted = _plant(place)
    (planted[0] / "rows").write_bytes(b"x")
    for each in planted:
        os.utime(each, (0, 0), follow_symlinks=False)
        os.chown(each, _STRANGER, _STRANGER, follow_symlinks=False)
    planted[0].chmod(mode)
    place.chmod(0o1777)
    for above in place.parents:
        above.chmod(above.stat().st_mode | 0o011)
    os.seteuid(_USER)
    try:
        with temporary_folder() as folder:
            Path(folder, "rows").write_bytes(b"x")
    finally:
        os.seteuid(0)
    assert sorted(place.iterdir()) == sorted(planted)


def test_entries_that_are_no_folders_stop_nothing(place: Path) -> None:
    planted = _plant(place)
    outside = place / "outside"
    outside.mkdir()
    (place / "skill-batch-linked").symlink_to(outside)
    for each in (*planted, place / "skill-batch-linked", outside):
        os.utime(each, (0, 0), follow_symlinks=False)
    delete_left_folders()
    assert outside.exists()
    assert not planted[0].exists()


def _plant(place: Path) -> list[Path]:
    """A folder, and entries that are none, with names of leftovers."""
    planted = [place / f"skill-batch-{name}" for name in ("x-1", "x-fifo", "x-file", "x-link", "x-loop", "x")]
    planted[0].mkdir()
    os.mkfifo(planted[1])
    planted[2].touch()
    planted[3].symlink_to("/nowhere")
    planted[4].symlink_to(planted[4].name)
    planted[5].touch()
    return planted


def test_a_nameless_file_is_gone_with_its_process(place: Path) -> None:
    with temporary_file() as file:
        file.write(b"personal")
        assert list(place.iterdir()) == []


def test_a_full_folder_is_named_with_what_to_do(place: Path) -> None:
    expected = f"一時フォルダー（TMPDIR）{place} の空き容量がなくなりました。空けるか、広げてからやり直してください。"
    with small_disk(place, kilobytes=16):
        with pytest.raises(NoSpaceError) as of_file, temporary_file() as file:
            file.write(bytes(1 << 20))
        with pytest.raises(NoSpaceError) as of_folder, temporary_folder() as folder:
            Path(folder, "rows").write_bytes(bytes(1 << 20))
        assert list(place.iterdir()) == []
    assert [str(each.value) for each in (of_file, of_folder)] == [expected] * 2


def test_a_folder_that_is_full_from_the_start_is_kept(place: Path) -> None:
    """Python's own choice leaves a TMPDIR into which it cannot write."""
    with small_disk(place, files=1):
        for make in (temporary_file, temporary_folder):
            with pytest.raises(NoSpaceError, match="inode（作れるファイルの数）がなくなりました"), make():
                pass


def test_a_missing_folder_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(place / "none"))
    with (
        pytest.raises(StorageError, match=rf"^一時フォルダー（TMPDIR）{place}/none がありません。"),
        temporary_file(),
    ):
        pass


@pytest.mark.usefixtures("place")
def test_an_error_about_a_file_elsewhere_is_not_blamed_on_the_folder() -> None:
    """As a program that may not be executed."""
    with pytest.raises(PermissionError) as raised, temporary_folder():
        raise PermissionError(13, "Permission denied", "/usr/bin/pg_dump")
    assert not is_recoverable(raised.value)
