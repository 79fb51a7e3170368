"""What the object store promises, on each emulator, with the clients that an installation has. ``make test-services`` runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from include.skillreport.core.execution.object_store import ObjectStore, StoreEntry
from tests.s3_server import BUCKET
from tests.services.stores import EMULATORS, Bucket
from tests.worlds.faulty_stores import write_half

pytestmark = pytest.mark.long

# More than each client sends in one request: s3fs collects 50 MiB.
LARGE = (50 << 20) + 1
KEY = "invoices/2026-10/INV-2026-10-001.pdf"
ODD = [
    "a",
    "...",
    "a/..b/c..",
    "請求書/令和 8 年.pdf",
    "~",
    "$HOME",
    "%2e%2e",
    "-rf",
    "a?b",
    "a#b",
    "a&b=c+d",
    "'a'",
]


@pytest.fixture(scope="module", params=EMULATORS)
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    with EMULATORS[request.param]() as folder:
        yield folder


@pytest.fixture
def store(bucket: Bucket, request: pytest.FixtureRequest) -> ObjectStore:
    """A folder for each test."""
    return ObjectStore(bucket(f"batch-{id(request.node)}"))


@pytest.mark.parametrize("content", [b"", b"\r\n\x00\xff\xfe\x1a", "請求書\r\n".encode()])
def test_the_bytes_come_back_as_they_were_given(store: ObjectStore, content: bytes) -> None:
    assert store.write(KEY, content) == store.location(KEY)
    assert store.read(KEY) == content
    with store.reader(KEY) as file:
        assert file.read() == content


def test_a_large_object_is_sent_in_parts(store: ObjectStore) -> None:
    content = bytes(range(251)) * (LARGE // 251 + 1)
    store.write(KEY, content)
    assert store.read(KEY) == content
    assert [entry.size for entry in store.entries("invoices/2026-10")] == [len(content)]


def test_until_the_block_ends_readers_see_what_was_there_before(store: ObjectStore) -> None:
    store.write(KEY, b"before, and longer")
    with store.writer(KEY) as file:
        file.write(b"after")
        assert store.read(KEY) == b"before, and longer"
    assert store.read(KEY) == b"after"


def test_an_error_in_the_block_keeps_the_former_object(store: ObjectStore) -> None:
    store.write(KEY, b"before")
    for key in (KEY, "another"):
        with pytest.raises(RuntimeError):
            write_half(store, key, RuntimeError)
    assert (store.read(KEY), store.exists("another")) == (b"before", False)


def test_a_key_never_written_is_missing(store: ObjectStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.read(KEY)
    with pytest.raises(FileNotFoundError), store.reader(KEY):
        pass
    assert (store.exists(KEY), store.names("invoices"), store.entries("invoices")) == (False, [], [])
    store.delete(KEY)
    assert store.free_bytes() is None


@pytest.mark.parametrize("key", ODD)
def test_an_unusual_name_is_a_name(store: ObjectStore, key: str) -> None:
    folder = "x"
    store.write(f"{folder}/{key}", key.encode())
    assert store.read(f"{folder}/{key}") == key.encode()
    assert store.names(folder) == [key.partition("/")[0]]
    store.delete(f"{folder}/{key}")
    assert store.names(folder) == []


def test_objects_can_be_listed(store: ObjectStore) -> None:
    for name in ("a/one", "a/b/two", "a/仕訳-未確定.csv", "ab/c"):
        store.write(name, name.encode())
    assert store.names("a") == ["b", "one", "仕訳-未確定.csv"]
    folder, one, _ = store.entries("a")
    assert folder == StoreEntry("b", is_file=False, size=0, modified=None)
    assert (one.name, one.is_file, one.size) == ("one", True, 5)
    assert one.modified
    assert abs(one.modified - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("verb", ["delete", "erase"])
def test_a_folder_is_deleted_with_its_content(store: ObjectStore, verb: str) -> None:
    for name in ("a/one", "a/b/two", "ab/kept"):
        store.write(name, b"content")
    for _ in range(2):
        assert not getattr(store, verb)("a")
    assert [store.exists(name) for name in ("a", "a/b/two", "ab/kept")] == [False, False, True]


def test_objects_of_another_task_are_seen(store: ObjectStore) -> None:
    other = ObjectStore(store._root)
    assert (store.names("a"), store.exists("a/one")) == ([], False)
    other.write("a/one", b"1")
    assert (store.names("a"), store.exists("a/one")) == (["one"], True)
    other.delete("a/one")
    assert (store.names("a"), store.exists("a/one")) == ([], False)


def test_writers_at_once_end_with_one_whole_object(store: ObjectStore) -> None:
    """Azure refuses a writer whose parts it dropped when it put another writer's together."""
    contents = [bytes([number]) * 1_000_000 for number in range(8)]
    start = threading.Barrier(len(contents))
    errors: list[OSError] = []

    def write(content: bytes) -> None:
        start.wait()
        try:
            store.write(KEY, content)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) < len(contents)
    assert all("block list is invalid" in str(error) for error in errors)
    assert store.names("invoices/2026-10") == ["INV-2026-10-001.pdf"]
    assert store.read(KEY) in contents


def test_a_missing_bucket_is_an_error_and_not_created(bucket: Bucket) -> None:
    nowhere = ObjectStore(bucket("batch", "no-such-bucket"))
    for _ in range(2):
        with pytest.raises(OSError, match=r"does not exist|no-such-bucket"):
            nowhere.write(KEY, b"content")
    with pytest.raises(FileNotFoundError):
        nowhere.read(KEY)


class TestWrongCredentials:
    """fake-gcs-server takes any credentials, so these are about the others."""

    @pytest.fixture(params=["S3", "Azure"], scope="class")
    def bucket(self, request: pytest.FixtureRequest) -> Iterator[Bucket]:
        with EMULATORS[request.param]() as folder:
            ObjectStore(folder("batch")).write(KEY, b"content")
            yield folder

    @pytest.fixture
    def refused(self, bucket: Bucket) -> ObjectStore:
        return ObjectStore(bucket("batch", wrong_key=True))

    @pytest.mark.parametrize(
        "attempt",
        [
            lambda store: store.read(KEY),
            lambda store: store.write(KEY, b"x"),
            lambda store: store.write(KEY, bytes(LARGE)),
            lambda store: store.names("invoices"),
            lambda store: store.entries("invoices"),
            lambda store: store.exists(KEY),
            lambda store: store.delete(KEY),
        ],
        ids=["read", "write", "write in parts", "list", "entries", "look", "delete"],
    )
    def test_are_an_error_of_the_store(
        self, refused: ObjectStore, attempt: Callable[[ObjectStore], object]
    ) -> None:
        with pytest.raises(OSError, match=r"(?i)access key|authenticate|forbidden|denied"):
            attempt(refused)

    def test_are_named_by_an_erasure(self, refused: ObjectStore) -> None:
        (failure,) = refused.erase("invoices")
        assert BUCKET in failure
