"""Files that outlive a run: whole or not at all, the bytes as given, and never outside of the root."""

from __future__ import annotations

import os
import re
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from include.skillreport.core.errors import is_recoverable
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.storage_errors import NoAccessError, NoSpaceError, StorageError
from tests.s3_server import BUCKET, S3Server
from tests.worlds.faulty_stores import write_half
from tests.worlds.small_disk import small_disk

KEY = "invoices/2026-10/INV-2026-10-001.pdf"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory that does not exist yet, in an otherwise empty one."""
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> ObjectStore:
    return ObjectStore(root)


def files(root: Path) -> list[str]:
    """Whatever is below the root."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@pytest.mark.parametrize(
    "content", [b"", b"\r\n\x00\xff\xfe\x1a", "請求書\r\n".encode(), bytes(range(256)) * 5_000]
)
def test_the_bytes_come_back_as_they_were_given(store: ObjectStore, root: Path, content: bytes) -> None:
    location = store.write(KEY, content)

    assert store.read(KEY) == content
    assert location == store.location(KEY) == str(root / KEY)
    assert Path(location).read_bytes() == content
    assert files(root) == [KEY]


def test_a_copy_of_what_is_deleted_next_is_on_the_disk(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    store.write("a/b", b"content")
    store.sync("a/b")
    assert synced == [(root / "a/b").stat().st_ino, (root / "a").stat().st_ino]


def test_a_second_write_takes_the_place_of_the_first(store: ObjectStore, root: Path) -> None:
    store.write(KEY, b"first, and longer")
    store.write(KEY, b"second")

    assert store.read(KEY) == b"second"
    assert files(root) == [KEY]


def test_a_file_that_was_never_written_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.read(KEY)


def test_until_the_block_ends_readers_see_what_was_there_before(store: ObjectStore) -> None:
    store.write(KEY, b"before")

    with store.writer(KEY) as file:
        file.write(b"after")
        file.flush()
        assert store.read(KEY) == b"before"

    assert store.read(KEY) == b"after"


def test_a_reader_that_has_opened_the_file_reads_it_to_its_end(store: ObjectStore) -> None:
    with Path(store.write(KEY, b"before")).open("rb") as reader:
        store.write(KEY, b"after, and longer")
        assert reader.read() == b"before"


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
def test_after_an_error_in_the_block_nothing_is_left_of_it(
    store: ObjectStore, root: Path, error: type[BaseException]
) -> None:
    store.write(KEY, b"before")
    for key in (KEY, "another"):
        with pytest.raises(error):
            write_half(store, key, error)

    assert files(root) == [KEY]
    assert store.read(KEY) == b"before"


def test_the_unfinished_file_of_a_killed_writer_is_deleted_later(store: ObjectStore, root: Path) -> None:
    store.write("a/index.csv", b"1")
    killed, alive = (root / "a" / f".index.csv.{name}.part" for name in ("0badc0de", "0decade0"))
    for file in (killed, alive):
        file.write_bytes(b"half")
    os.utime(killed, (0, 0))

    store.delete_unfinished("a")
    store.delete_unfinished("missing")

    assert sorted(file.name for file in (root / "a").iterdir()) == [alive.name, "index.csv"]


def test_a_directory_in_place_of_the_file_is_an_error(store: ObjectStore, root: Path) -> None:
    (root / KEY).mkdir(parents=True)

    with pytest.raises(IsADirectoryError):
        store.write(KEY, b"content")

    assert files(root) == []


def test_a_file_in_the_place_of_a_directory_is_an_error(store: ObjectStore, root: Path) -> None:
    store.write("invoices", b"a file")

    with pytest.raises(OSError, match="invoices"):
        store.write(KEY, b"content")

    assert files(root) == ["invoices"]


def test_writers_at_once_end_with_one_whole_file(store: ObjectStore, root: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    start = threading.Barrier(len(contents))

    def write(content: bytes) -> None:
        start.wait()
        store.write(KEY, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.read(KEY) in contents
    assert files(root) == [KEY]


def test_a_full_disk_is_named_with_advice_and_leaves_nothing(store: ObjectStore, root: Path) -> None:
    store.write(KEY, b"before")
    with (
        pytest.raises(NoSpaceError) as caught,
        store.writer(KEY),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")

    assert (
        str(caught.value)
        == f"保存先 {root} の空き容量がなくなりました。空けるか、広げてからやり直してください。"
    )
    assert not is_recoverable(caught.value)
    assert files(root) == [KEY]
    assert store.read(KEY) == b"before"


def _read_only(store: ObjectStore, root: Path) -> None:
    with small_disk(root, options="ro"):
        store.write(KEY, b"x")


def _not_permitted(store: ObjectStore, root: Path) -> None:
    root.mkdir()
    root.chmod(0o555)
    own = os.geteuid()
    os.seteuid(own or 65534)  # root may write everywhere
    try:
        store.write(KEY, b"x")
    finally:
        os.seteuid(own)


def _name_too_long(store: ObjectStore, _: Path) -> None:
    store.write("x" * 300, b"x")


def _too_many_open_files(store: ObjectStore, _: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        store.write("x", b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _broken_disk(store: ObjectStore, root: Path) -> None:
    root.mkdir()
    (root / "x").symlink_to("/proc/self/mem")  # its first page cannot be read
    store.read("x")


def _no_inodes(store: ObjectStore, root: Path) -> None:
    with small_disk(root, files=1):
        store.write("x", b"x")


@pytest.mark.skipif(sys.platform != "linux", reason="uses /proc and file systems of Linux")
@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (_read_only, "は読み取り専用です。書き込めるように"),
        (_not_permitted, "を読み書きする権限がありません。フォルダーの所有者と権限を"),
        (_name_too_long, "で、ファイルの名前かパスが長すぎます。"),
        (_too_many_open_files, "で、同時に開けるファイルの数の上限に達しました。"),
        (_broken_disk, "で、ディスクの入出力エラーが起きました。"),
        (_no_inodes, "の inode（作れるファイルの数）がなくなりました。空き容量は残っています。"),
    ],
)
def test_errors_of_disks_are_named_with_advice(
    store: ObjectStore, root: Path, use: Callable[[ObjectStore, Path], None], sentence: str
) -> None:
    with pytest.raises(StorageError, match=re.escape(f"保存先 {root} {sentence}")) as raised:
        use(store, root)
    assert not is_recoverable(raised.value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../outside",
        "invoices/../../outside",
        "invoices/..",
        ".",
        "invoices/./a",
        "invoices//a",
        "invoices/",
        "..\\outside",
        "invoices\\..\\..\\outside",
        "C:\\outside",
        "invoices/a\0.pdf",
    ],
)
def test_a_key_that_leads_elsewhere_is_refused(store: ObjectStore, root: Path, key: str) -> None:
    for attempt in (store.location, store.read, lambda key: store.write(key, b"content")):
        with pytest.raises(ValueError, match="is no key of an object store"):
            attempt(key)

    assert list(root.parent.iterdir()) == []


@pytest.mark.parametrize(
    "key", ["a", "...", "a/..b/c..", "請求書/令和 8 年.pdf", "~", "$HOME", "%2e%2e", "-rf"]
)
def test_an_unusual_name_is_a_name(store: ObjectStore, root: Path, key: str) -> None:
    store.write(key, b"content")

    assert files(root) == [key]
    assert store.read(key) == b"content"


# A store that shows an object once it is whole ---------------------------------------------------------------------------


PART_BYTES = 50 << 20  # what s3fs collects before it uploads in parts


def test_an_object_store_needs_no_name_for_what_is_unfinished(s3: S3Server) -> None:
    bucket = ObjectStore(s3.path("batch"))
    bucket.write(KEY, b"before")
    with bucket.writer(KEY) as file:
        file.write(b"after")
        assert bucket.read(KEY) == b"before"

    assert s3.names() == [f"batch/{KEY}"]
    assert bucket.read(KEY) == b"after"
    assert bucket.location(KEY) == f"s3://{BUCKET}/batch/{KEY}"


def test_an_error_in_the_block_keeps_the_former_object(s3: S3Server) -> None:
    bucket = ObjectStore(s3.path("batch"))
    bucket.write(KEY, b"before")

    for key in (KEY, "another"):
        with pytest.raises(RuntimeError):
            write_half(bucket, key, RuntimeError)

    assert s3.names() == [f"batch/{KEY}"]
    assert bucket.read(KEY) == b"before"


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.parametrize(
    ("refused", "size"),
    [("uploadId", PART_BYTES + 1), ("partNumber=2", PART_BYTES + 1), ("", 5)],
    ids=["its first part", "its last part", "a small one"],
)
def test_an_upload_that_fails_leaves_no_short_object(s3: S3Server, refused: str, size: int) -> None:
    bucket = ObjectStore(s3.path("batch"))
    bucket.write(KEY, b"before")
    s3.refuses = lambda request: request["REQUEST_METHOD"] == "PUT" and refused in request["QUERY_STRING"]

    for key in (KEY, "another"):
        with pytest.raises(NoAccessError, match=r"権限がありません（Access Denied）。Airflow の接続"):
            bucket.write(key, bytes(size))

    assert s3.names() == [f"batch/{KEY}"]
    assert bucket.read(KEY) == b"before"
    assert s3.unfinished_uploads() == 0


@pytest.mark.parametrize(
    "refusal",
    [
        ("507 Insufficient Storage", "XMinioStorageFull"),
        ("403 Forbidden", "QuotaExceeded"),
        ("400 Bad Request", "XMinioAdminBucketQuotaExceeded"),
        ("403 Forbidden", "InsufficientStorageSpace"),
    ],
)
def test_an_object_store_that_is_full_is_named_with_what_to_do(
    s3: S3Server, refusal: tuple[str, str]
) -> None:
    bucket = ObjectStore(s3.path("batch"))
    s3.refusal, s3.refuses = refusal, lambda request: request["REQUEST_METHOD"] == "PUT"

    with pytest.raises(NoSpaceError, match=f"^保存先 s3://{BUCKET}/batch の空き容量がなくなりました。"):
        bucket.write(KEY, b"content")

    assert s3.names() == []


def test_objects_written_by_another_task_are_seen(s3: S3Server) -> None:
    here, there = ObjectStore(s3.path("batch")), ObjectStore(s3.path("batch"))
    assert (here.names("a"), here.exists("a/two")) == ([], False)
    there.write("a/one", b"1")
    assert here.names("a") == ["one"]
    s3.client.put_object(Bucket=BUCKET, Key="batch/a/two", Body=b"2")
    assert (here.names("a"), here.exists("a/two")) == (["one", "two"], True)
    s3.client.delete_object(Bucket=BUCKET, Key="batch/a/two")
    assert (here.names("a"), here.exists("a/two")) == (["one"], False)


@pytest.mark.parametrize("kind", ["folder", "object store"])
def test_stored_objects_can_be_listed_read_and_deleted(kind: str, root: Path, s3: S3Server) -> None:
    store = ObjectStore(root if kind == "folder" else s3.path("batch"))
    for name in ("a/one", "a/b/two", "a/仕訳-未確定.csv", "c"):
        store.write(name, name.encode())

    assert store.names("a") == ["b", "one", "仕訳-未確定.csv"]
    store.delete("a/仕訳-未確定.csv")
    assert store.names("a") == ["b", "one"]
    assert store.names("nowhere") == []
    with store.reader("a/b/two") as file:
        assert file.read() == b"a/b/two"
    with pytest.raises(FileNotFoundError), store.reader("a/three"):
        pass
    store.delete("a")
    store.delete("a")
    assert [store.exists(name) for name in ("a", "a/b/two", "c")] == [False, False, True]
    assert (store.free_bytes() is None) == (kind == "object store")


def test_erasing_a_folder_leaves_no_version_of_its_objects(s3: S3Server) -> None:
    s3.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    store = ObjectStore(s3.path("batch"))
    for content in (b"old", b"new"):
        for name in ("a/one", "a/b/two", "ab/kept"):
            store.write(name, content)
    store.delete("a/one")

    assert store.erase("a") == []
    assert store.erase("a") == []

    left = s3.client.list_object_versions(Bucket=BUCKET)
    assert [version["Key"] for version in left["Versions"]] == ["batch/ab/kept"] * 2
    assert "DeleteMarkers" not in left


def test_erasing_goes_on_after_a_version_that_is_locked(s3: S3Server) -> None:
    s3.client.create_bucket(
        Bucket="locked",
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"},
    )
    store = ObjectStore(s3.path("batch", "locked"))
    for name in ("a/1", "a/2", "a/3"):
        store.write(name, b"content")
    s3.client.put_object_legal_hold(Bucket="locked", Key="batch/a/2", LegalHold={"Status": "ON"})

    (failure,) = store.erase("a")

    assert failure.startswith("s3://locked/batch/a/2 (")
    assert failure.endswith("): AccessDenied")
    left = s3.client.list_object_versions(Bucket="locked")
    assert [version["Key"] for version in left["Versions"]] == ["batch/a/2"]


def test_versions_that_cannot_be_listed_are_named_by_their_folder(s3: S3Server) -> None:
    store = ObjectStore(s3.path("batch"))
    store.write("a/one", b"1")
    s3.refuses = lambda environ: environ["QUERY_STRING"].startswith("versions")
    (failure,) = store.erase("a")
    assert failure.startswith(f"s3://{BUCKET}/batch/a: ")
    assert not store.exists("a/one")


@pytest.mark.parametrize("verb", ["delete", "erase"])
def test_deleting_a_folder_does_not_follow_a_link_out_of_it(root: Path, tmp_path: Path, verb: str) -> None:
    store = ObjectStore(root)
    store.write("a/one", b"1")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (root / "a/link").symlink_to(outside)

    getattr(store, verb)("a")

    assert (outside / "kept").read_text() == "kept"
    assert not (root / "a").exists()
