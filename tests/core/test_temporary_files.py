"""Temporary files: what a killed process leaves, what a full or missing folder says, and that there are no others."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from include.skillreport.core.errors import is_recoverable
from include.skillreport.core.execution.storage_errors import NoSpaceError, StorageError
from include.skillreport.core.execution.temporary_files import temporary_file, temporary_folder
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


def test_a_retry_deletes_only_the_leftovers_of_its_predecessor(place: Path) -> None:
    with temporary_folder("dump-RUN_1") as own:
        Path(own, "1.dat").write_bytes(b"x")
        with temporary_folder("dump-RUN_10") as other, temporary_folder() as by_hand:
            with temporary_folder("dump-RUN_1") as again:
                assert sorted(map(str, place.iterdir())) == sorted([other, by_hand, again])
            os.utime(by_hand, (0, 0))
            with temporary_folder() as newest:
                assert sorted(map(str, place.iterdir())) == sorted([other, newest])


@pytest.mark.usefixtures("place")
def test_a_folder_in_use_is_not_old() -> None:
    """Its own time is that of its creation, because the files come and go in a folder below it."""
    with temporary_folder() as restored_by_hand:
        Path(restored_by_hand, "dump").mkdir()
        os.utime(restored_by_hand, (0, 0))
        with temporary_folder("dump-RUN_1"):
            assert Path(restored_by_hand, "dump").exists()


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
        for owner in ("", "x", "dump-RUN_1"):
            with temporary_folder(owner) as folder:
                Path(folder, "rows").write_bytes(b"x")
    finally:
        os.seteuid(0)
    assert sorted(place.iterdir()) == sorted(planted)


def test_entries_that_are_no_folders_stop_nothing(place: Path) -> None:
    planted = _plant(place)
    outside = place / "outside"
    outside.mkdir()
    (place / "skill-batch-dump-RUN_1-link").symlink_to(outside)
    for each in (*planted, place / "skill-batch-dump-RUN_1-link", outside):
        os.utime(each, (0, 0), follow_symlinks=False)
    for owner in ("", "x", "dump-RUN_1"):
        with temporary_folder(owner):
            pass
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
