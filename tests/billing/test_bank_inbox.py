"""The folder for the bank's files: what is read, what waits, and that an original is never lost."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.skillreport.billing.bank_inbox import INCOMING, Incoming, incoming, keep, read, uploaded_name
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.storage_errors import NoSpaceError
from tests.s3_server import BUCKET, S3Server

DAY = date(2026, 11, 28)
NAME = "入金 11月.txt"
CONTENT = "ｶ)ｱｵﾊﾞ".encode("cp932")
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHORT_SHA256 = "0a1b2c3d4e5f"
KEPT = f"bank-files/imported/2026-11/{SHA256[:16]}-入金_11月.txt"


def later(seconds: int = 90) -> datetime:
    """So many seconds after now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "folder":
        yield ObjectStore(tmp_path / "store")
    else:
        yield ObjectStore(request.getfixturevalue("s3").path("batch"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The local folder for the bank's files."""
    folder = tmp_path / "store" / INCOMING
    folder.mkdir(parents=True)
    return folder


def put(store: ObjectStore, name: str = NAME, content: bytes = CONTENT) -> None:
    store.write(f"{INCOMING}/{name}", content)


def test_no_folder_is_an_empty_folder(store: ObjectStore) -> None:
    assert incoming(store, later()) == Incoming()


def test_files_are_read_once_they_have_not_changed_for_a_minute(store: ObjectStore) -> None:
    put(store, "b#1 (2)?.csv")
    put(store)

    assert incoming(store, later(30)) == Incoming(waiting=("b#1 (2)?.csv", NAME))
    assert incoming(store, later()) == Incoming(files=("b#1 (2)?.csv", NAME))
    assert read(store, "b#1 (2)?.csv") == CONTENT


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("振込入金 11月.csv", "振込入金_11月-0a1b2c3d.csv"),
        ("..\\..\\a..b.TXT", "a.b-0a1b2c3d.TXT"),
        (".hidden", "hidden-0a1b2c3d"),
        ("", "file-0a1b2c3d"),
        ("あ" * 300 + ".txt", "あ" * 46 + "-0a1b2c3d.txt"),
    ],
)
def test_uploaded_files_have_names_that_nothing_replaces(given: str, name: str) -> None:
    assert uploaded_name(given, SHORT_SHA256) == name


def test_a_download_that_has_not_ended_is_refused() -> None:
    with pytest.raises(ParameterError, match="ダウンロードが終わっていません"):
        uploaded_name("a.csv.CRDOWNLOAD", SHORT_SHA256)


def test_folders_are_refused_and_unfinished_uploads_left_alone(store: ObjectStore) -> None:
    for name in ("old/a.txt", ".a.txt.part", ".hidden", "a.txt.part", "A.TMP", "~$a.csv"):
        put(store, name)

    found = incoming(store, later())
    assert (found.files, found.waiting, list(found.refused)) == ((), (), ["old"])
    assert "フォルダーやリンクではなく、ファイルを置いてください" in found.refused["old"]


def test_a_large_file_is_refused_before_it_is_read(store: ObjectStore) -> None:
    put(store, "large.csv", bytes(20_000_001))
    put(store, "largest.csv", bytes(20_000_000))

    found = incoming(store, later())
    assert found.files == ("largest.csv",)
    assert found.refused == {"large.csv": "20 MB を超えています。期間を分けて取得してください"}


def test_the_marker_of_a_folder_in_an_object_store_is_no_file(s3: S3Server) -> None:
    s3.client.put_object(Bucket=BUCKET, Key=f"batch/{INCOMING}/", Body=b"")

    assert incoming(ObjectStore(s3.path("batch")), later()) == Incoming()


def test_links_and_names_that_nobody_can_type_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    (folder / "link.txt").symlink_to(tmp_path / "secret")
    (folder / "gone.txt").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "pipe.txt")
    for name in (b"a\\b.txt", b"a\nb.txt", "a\u202eb.txt".encode(), b"a\x90b.txt"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(CONTENT)

    found = incoming(ObjectStore(tmp_path / "store"), later())
    assert (found.files, found.waiting) == ((), ())
    assert set(found.refused) == {
        *("link.txt", "gone.txt", "pipe.txt", "a\\b.txt", "a\nb.txt", "a\u202eb.txt", "ab.txt")
    }


def test_a_time_in_the_future_does_not_wait_for_years(folder: Path, tmp_path: Path) -> None:
    (folder / "a.txt").write_bytes(CONTENT)
    future = later(10_000).timestamp()
    os.utime(folder / "a.txt", (future, future))

    assert "が未来です" in incoming(ObjectStore(tmp_path / "store"), later()).refused["a.txt"]


def test_an_imported_file_is_kept_and_leaves_the_folder(store: ObjectStore) -> None:
    put(store)

    assert keep(store, NAME, CONTENT, SHA256, DAY) == KEPT
    assert store.read(KEPT) == CONTENT
    assert incoming(store, later()) == Incoming()


def test_a_run_that_was_killed_in_between_can_be_repeated(store: ObjectStore) -> None:
    put(store)
    store.write(KEPT, CONTENT)

    for _ in range(2):
        assert keep(store, NAME, CONTENT, SHA256, DAY) == KEPT
    assert store.names("bank-files/imported/2026-11") == [KEPT.rpartition("/")[2]]
    assert incoming(store, later()) == Incoming()


def test_a_new_file_of_the_same_name_stays(store: ObjectStore) -> None:
    put(store, content=b"the next day's file")

    keep(store, NAME, CONTENT, SHA256, DAY)
    assert read(store, NAME) == b"the next day's file"
    assert store.read(KEPT) == CONTENT


def test_without_space_the_original_stays(s3: S3Server) -> None:
    store = ObjectStore(s3.path("batch"))
    put(store)
    s3.refusal, s3.refuses = (
        ("507 Insufficient Storage", "Full"),
        lambda request: request["REQUEST_METHOD"] == "PUT",
    )

    with pytest.raises(NoSpaceError):
        keep(store, NAME, CONTENT, SHA256, DAY)
    assert read(store, NAME) == CONTENT
    assert not store.exists(KEPT)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("=cmd|' /C calc'!A0.csv", "_cmd_C_calc_A0.csv"),
        ("入金　（11月）.CSV", "入金_11月_.CSV"),
        ("..", ".."),
        ("a" * 200 + ".txt", "a" * 46 + ".txt"),
        ("𠮷" * 60, "𠮷" * 50),
        ("a?b#c%2F..%2Fd:e.csv", "a_b_c_2F.._2Fd_e.csv"),
    ],
)
def test_the_kept_name_is_safe(tmp_path: Path, name: str, kept: str) -> None:
    store = ObjectStore(tmp_path)
    if name != "..":
        put(store, name)
        keep(store, name, CONTENT, SHA256, DAY)
        assert store.names("bank-files/imported/2026-11") == [f"{SHA256[:16]}-{kept}"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/etc/passwd", "a/../../b", "a\\..\\b", "a\0b"])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(CONTENT)
    store = ObjectStore(tmp_path / "store")

    with pytest.raises(ValueError, match="is no key"):
        keep(store, name, CONTENT, SHA256, DAY)
    assert (tmp_path / "etc/passwd").read_bytes() == CONTENT
