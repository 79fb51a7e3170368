"""Where files go that outlive a run, as the Airflow Variable and the connection in it say."""

from __future__ import annotations

from pathlib import Path

import pytest

from skill_batch.object_storage import find_upload_store, object_store
from include.skillreport.core.errors import SettingsError
from tests.s3_server import BUCKET, S3Server, nothing


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that does not exist yet, named as sloppily as people do."""
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f" file://{tmp_path}/storage ")
    return tmp_path / "storage"


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The same on S3, with the credentials of an Airflow connection."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection_of(s3).upper()}", s3.airflow_connection)
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"s3://{connection_of(s3)}@{BUCKET}/batch")
    return s3


def connection_of(s3: S3Server) -> str:
    """A name for each server: Airflow opens a connection's file system once per process."""
    return f"batch_s3_{s3.port}"


def test_the_store_is_where_the_variable_says(storage: Path) -> None:
    store = object_store()

    location = store.write("a/b.txt", b"first")
    store.write("a/b.txt", b"second")

    assert location == f"file://{storage}/a/b.txt"
    assert store.read("a/b.txt") == b"second"
    assert [path.name for path in (storage / "a").iterdir()] == ["b.txt"]


def test_uploads_go_through_a_connection_of_their_own(
    bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_upload_store() is None
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_UPLOAD_URL", "s3://")
    with pytest.raises(SettingsError, match="skill_batch_upload_url"):
        find_upload_store()
    name = f"{connection_of(bucket)}_upload"
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", bucket.airflow_connection)
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_UPLOAD_URL", f"s3://{name}@{BUCKET}/batch")
    store = find_upload_store()
    assert store is not None
    # It may only put objects.
    bucket.refuses = lambda environ: environ["REQUEST_METHOD"] != "PUT"
    store.write("payments/a.csv", b"content")
    bucket.refuses = nothing
    assert object_store().read("payments/a.csv") == b"content"


def test_an_error_in_the_block_leaves_nothing_in_the_store(storage: Path) -> None:
    store = object_store()
    store.write("a/b.txt", b"before")

    def fail() -> None:
        with store.writer("a/b.txt") as file:
            file.write(b"half of the wo")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert store.read("a/b.txt") == b"before"
    assert [path.name for path in (storage / "a").iterdir()] == ["b.txt"]


def test_a_directory_in_place_of_a_file_is_an_error(storage: Path) -> None:
    in_the_way = storage / "a/b.txt"
    in_the_way.mkdir(parents=True)

    with pytest.raises(OSError, match=r"b\.txt"):
        object_store().write("a/b.txt", b"content")

    assert list(in_the_way.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "  ",
        "data/batch",
        "/data/batch",
        "./data",
        "file:data/batch",
        "file://",
        "file://data/batch",
        "file://./data",
        "s3://",
    ],
)
def test_a_store_that_is_nowhere_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, url: str | None
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", url)

    with pytest.raises(
        SettingsError, match="Variable 'skill_batch_storage_url' に file:///data/batch"
    ) as caught:
        object_store()

    assert f"（現在の値: '{(url or '').strip()}'）" in str(caught.value)


def test_the_connection_in_the_url_opens_a_bucket(bucket: S3Server) -> None:
    store = object_store()

    assert store.write("a/b.txt", b"first").endswith(f"{BUCKET}/batch/a/b.txt")
    store.write("a/b.txt", b"second")
    store.write("a/請求書.pdf", b"")

    assert bucket.names() == ["batch/a/b.txt", "batch/a/請求書.pdf"]
    assert [object_store().read(f"a/{name}") for name in store.names("a")] == [b"second", b""]
    store.delete("a")
    assert bucket.names() == []


def test_a_missing_bucket_is_an_error_and_not_created(
    bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"s3://{connection_of(bucket)}@skill-reprot/batch"
    )

    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        object_store().write("a/b.txt", b"content")

    assert [each["Name"] for each in bucket.client.list_buckets()["Buckets"]] == [BUCKET]
