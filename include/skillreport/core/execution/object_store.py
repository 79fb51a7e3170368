"""The store for files that remain after a run: a local folder, or an object store behind a path interface."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfileobj, disk_usage
from tempfile import TemporaryFile, gettempdir
from typing import IO, TYPE_CHECKING, Any, cast

from include.skillreport.core.errors import BatchError, reason_of

if TYPE_CHECKING:
    from upath import UPath

# The answers of object stores that are full: the status 507 (MinIO), or an error code: a quota of Ceph, of MinIO, of Huawei's OBS.
_FULL_STATUS = 507
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorageSpace"})

_ABANDONED_SECONDS = 3600


@dataclass(frozen=True)
class StoreEntry:
    """What is in a folder: a file, or else a folder, a link or a device. ``modified`` is in UTC; a folder of an object store has none."""

    name: str
    is_file: bool
    size: int
    modified: datetime | None


class NoSpaceError(BatchError):
    """A disk or an object store is full."""


@contextmanager
def full_disk_named(place: str) -> Iterator[None]:
    """Replace the error of a full disk or object store. :raises NoSpaceError: names the place and the action."""
    try:
        yield
    except OSError as error:
        if not _is_full(error):
            raise
        raise NoSpaceError(
            f"{place} の空き容量がなくなりました。空けるか、広げてからやり直してください。"
        ) from error


# The packages of clients whose errors are no OSError. Azure's client also raises RuntimeError.
_CLIENTS = ("azure", "adlfs", "gcsfs", "google", "aiohttp")


@contextmanager
def _client_errors_named(place: object) -> Iterator[None]:
    """Replace errors that are no OSError, as the clients of Azure and Google raise. :raises OSError: names the place."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if not (isinstance(error, RuntimeError) or type(error).__module__.startswith(_CLIENTS)):
            raise
        # The first line, since Azure adds the ids of the request and its answer. The query of a URL may be a signature.
        reason = re.sub(r"\?\S+", "?…", (str(error) or type(error).__name__).splitlines()[0])
        raise OSError(
            f"保存先 {place} を読み書きできません。Airflow の接続の認証情報と権限を確認してください（{reason}）。"
        ) from error


class ObjectStore:
    """Files under one root: a ``pathlib.Path``, or a path with the same interface (Airflow's ``ObjectStoragePath``).

    A key consists of ids joined by slashes. It contains no names that users choose.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # An object store has no folders and no size limit, and shows an object only when its upload is complete.
        self._is_folder = getattr(root, "protocol", "") in ("", "file", "local")

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        """A file that replaces ``key`` when the block ends. After an error the earlier file remains.

        :raises ValueError: the key leads out of the root. :raises NoSpaceError: the store is full.
        :raises OSError: for example, the store is not reachable.
        """
        target = self._path(key)
        with full_disk_named(f"保存先 {self._root}"):
            if self._is_folder:
                with _local_writer(target) as file:
                    yield file
                return
            # Upload after the content is complete: the store may abort an upload that waits for its source.
            with TemporaryFile() as content:
                with full_disk_named(f"一時フォルダー（TMPDIR）{gettempdir()}"):
                    yield content
                    content.seek(0)
                with _client_errors_named(self._root):
                    _upload(content, target)

    def write(self, key: str, content: bytes) -> str:
        """Replace the content of ``key``; returns its location. Raises the errors of ``writer``."""
        with self.writer(key) as file:
            file.write(content)
        return self.location(key)

    def sync(self, key: str) -> None:
        """Wait until the file is on the disk. Call this before you delete the original: a power failure must not lose both.

        :raises NoSpaceError: the store is full.
        """
        if self._is_folder:
            path = Path(getattr(self._path(key), "path", self._path(key)))
            with full_disk_named(f"保存先 {self._root}"):
                _sync(path)
                _sync(path.parent)

    def read(self, key: str) -> bytes:
        """The content. :raises FileNotFoundError: there is no such file."""
        path = self._path(key)
        with _client_errors_named(self._root):
            return bytes(path.read_bytes())

    @contextmanager
    def reader(self, key: str) -> Iterator[IO[bytes]]:
        """The content as a stream. :raises FileNotFoundError: there is no such file."""
        path = self._path(key)
        with _client_errors_named(self._root):
            opened = path.open("rb")
        with opened as file:
            yield file

    def exists(self, key: str) -> bool:
        """Whether there is such a file or folder."""
        path = self._now(key)
        with _client_errors_named(self._root):
            return bool(path.exists())

    def names(self, key: str) -> list[str]:
        """The sorted names in the folder; empty if there is no such folder."""
        folder = self._now(key)
        with _client_errors_named(self._root):
            return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def entries(self, key: str) -> list[StoreEntry]:
        """What is in the folder, sorted by name; empty if there is no such folder."""
        found = []
        for name in self.names(key):
            # Somebody may just have moved it.
            with suppress(FileNotFoundError), _client_errors_named(self._root):
                path = self._path(key) / name
                found.append(_local_entry(path) if self._is_folder else _object_entry(path))
        return found

    def delete(self, key: str) -> None:
        """Delete the file, or the folder with its content. A missing file is no error."""
        path = self._now(key)
        if self._is_folder:
            if errors := _delete(path):
                raise errors[0]
        else:
            with suppress(FileNotFoundError), _client_errors_named(self._root):
                _filesystem(path).rm(_key(path), recursive=True)

    def erase(self, folder: str) -> list[str]:
        """Delete the folder, and the versions that a bucket of S3 keeps of its objects. Another store keeps what it is set up to keep.

        Goes on after a failure; returns the place and the reason of each file and version that cannot be deleted.
        """
        path = self._now(folder)
        if self._is_folder:
            return [f"{error.filename}: {reason_of(error)}" for error in _delete(path)]
        try:
            self.delete(folder)
            files = _filesystem(path)
            return _erase_versions(files, _key(path)) if hasattr(files, "call_s3") else []
        except OSError as error:
            return [f"{path}: {reason_of(error)}"]

    def delete_unfinished(self, folder: str) -> None:
        """Delete what killed writers have left in the folder. An hour after its last byte, a file is not being written any more."""
        if self._is_folder:
            for unfinished in self._path(folder).glob(".*.part"):
                with suppress(FileNotFoundError):
                    if time.time() - unfinished.stat().st_mtime > _ABANDONED_SECONDS:
                        unfinished.unlink()

    def free_bytes(self) -> int | None:
        """The free space; None for an object store, which has no size limit."""
        if not self._is_folder:
            return None
        folder = Path(getattr(self._root, "path", self._root))
        while not folder.exists():
            folder = folder.parent
        return disk_usage(folder).free

    def location(self, key: str) -> str:
        """The path or URL of the file, for people."""
        return str(self._path(key))

    def _now(self, key: str) -> Path:
        """The path. Clears the client's cached listings of an object store, because other tasks write there too."""
        path = self._path(key)
        if not self._is_folder:
            _filesystem(path).invalidate_cache()
        return path

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
            raise ValueError(f"{key!r} is no key of an object store")
        return self._root.joinpath(*parts)


def tenant_folder(tenant_id: str) -> str:
    """A unique folder name for any tenant id; readable for ordinary ids."""
    readable = re.sub("[^A-Za-z0-9_-]", "_", tenant_id)[:40]
    return f"{readable}-{hashlib.sha256(tenant_id.encode()).hexdigest()[:16]}"


def _local_entry(path: Path) -> StoreEntry:
    found = Path(getattr(path, "path", path)).lstat()
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return StoreEntry(path.name, stat.S_ISREG(found.st_mode), found.st_size, modified)


def _object_entry(path: Path) -> StoreEntry:
    files, key = _filesystem(path), _key(path)
    found = files.info(key)
    is_file = found["type"] == "file"
    return StoreEntry(path.name, is_file, found["size"] or 0, files.modified(key) if is_file else None)


@contextmanager
def _local_writer(target: Path) -> Iterator[IO[bytes]]:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a directory")
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.rename(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _is_full(error: OSError) -> bool:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # The client of S3 keeps the answer of the service as the cause.
    answer = getattr(error.__cause__, "response", None) or {}
    return (
        answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == _FULL_STATUS
        or answer.get("Error", {}).get("Code") in _FULL_CODES
    )


def _sync(path: Path) -> None:
    """Wait until the content of a local file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(path: Path) -> list[OSError]:
    """Delete a local file, or a folder with its content. Goes on after a failure; returns all."""
    errors: list[OSError] = []
    try:
        if path.is_dir() and not path.is_symlink():
            errors = [error for child in list(path.iterdir()) for error in _delete(child)]
            if not errors:
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        errors.append(error)
    return errors


def _upload(content: IO[bytes], target: Path) -> None:
    """Write the content. After an error, abort the upload: closing the file would complete it with partial content."""
    file = _filesystem(target).open(_key(target), "wb")
    try:
        copyfileobj(content, file)
        file.close()
    except BaseException:
        # Raise the first error. Mark the file as closed, so that the garbage collector does not complete the upload.
        with suppress(Exception):
            file.discard()
        file.closed = True
        raise


def _erase_versions(s3: Any, folder: str) -> list[str]:
    """Delete all versions of the objects in the folder; returns those that cannot be deleted. :raises OSError: they cannot be listed."""
    bucket, prefix, _ = s3.split_path(folder)
    failures: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = s3.call_s3("list_object_versions", Bucket=bucket, Prefix=f"{prefix}/", **start)
        found = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for kind in ("Versions", "DeleteMarkers")
            for version in page.get(kind, [])
        ]
        if found:
            answer = s3.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": found, "Quiet": True})
            failures += [
                f"s3://{bucket}/{error['Key']} ({error.get('VersionId', '–')}): {error['Code']}"
                for error in answer.get("Errors", [])
            ]
        if not page.get("IsTruncated"):
            return failures
        start = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}


def _filesystem(path: Path) -> Any:
    """The fsspec file system of a path that is not local."""
    return cast("UPath", path).fs


def _key(path: Path) -> str:
    return cast("UPath", path).path
