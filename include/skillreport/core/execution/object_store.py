"""The store for files that remain after a run: a local folder, or an object store with a path interface."""

from __future__ import annotations

import errno
import hashlib
import logging
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
from typing import IO, TYPE_CHECKING, Any, cast

from include.skillreport.core.database import has_control_characters
from include.skillreport.core.errors import reason_of
from include.skillreport.core.execution.storage_errors import StorageError, storage_errors_named
from include.skillreport.core.execution.temporary_files import temporary_file

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger(__name__)

_ABANDONED_SECONDS = 3600

_TENANT_FOLDER = re.compile(r"[A-Za-z0-9_-]{0,40}-[0-9a-f]{16}")

# The maximum number of names in a warning.
_NAMED = 5


@dataclass(frozen=True)
class StoreEntry:
    """An entry of a folder. An entry that is not a file is a folder, link or device. ``modified`` is in UTC; None for a folder of an object
    store.
    """

    name: str
    is_file: bool
    size: int
    modified: datetime | None


# Client packages whose errors are not OSErrors. Azure's client also raises RuntimeError.
_CLIENTS = ("azure", "adlfs", "gcsfs", "google", "aiohttp")


@contextmanager
def _client_errors_named(place: object) -> Iterator[None]:
    """Convert client errors that are not OSErrors (Azure, Google). :raises OSError: names the place."""
    try:
        yield
    except (OSError, StorageError):
        raise
    except Exception as error:
        if not (isinstance(error, RuntimeError) or type(error).__module__.startswith(_CLIENTS)):
            raise
        # Only the first line, because Azure appends ids. A URL's query may be a signature.
        reason = re.sub(r"\?\S+", "?…", (str(error) or type(error).__name__).splitlines()[0])
        raise OSError(
            f"保存先 {place} を読み書きできません。Airflow の接続の認証情報と権限を確認してください（{reason}）。"
        ) from error


class ObjectStore:
    """Files under one root: a ``pathlib.Path``, or a path with the same interface (Airflow's ``ObjectStoragePath``).

    A key consists of ids joined by slashes, and never contains names that users choose.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # An object store has no folders and no size limit. It shows an object only after its upload is complete.
        self._is_folder = getattr(root, "protocol", "") in ("", "file", "local")

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        """A file that replaces ``key`` at the end of the block. After an error the earlier file remains.

        :raises ValueError: the key leads out of the root. :raises StorageError: the store is full, read-only or broken.
        :raises OSError: for example, the store is not reachable.
        """
        target = self._path(key)
        if self._is_folder:
            with self._errors_named(), _local_writer(target) as file:
                yield file
            return
        # Upload only complete content: the store may abort an upload that waits for its source.
        with temporary_file() as content:
            yield content
            content.seek(0)
            with self._errors_named():
                _upload(content, target)

    def write(self, key: str, content: bytes) -> str:
        """Replace the content of ``key``; returns its location. Raises the errors of ``writer``."""
        with self.writer(key) as file:
            file.write(content)
        return self.location(key)

    def sync(self, key: str) -> None:
        """Wait until the file is on the disk. Call this before deleting the original: a power failure must not lose both.

        :raises StorageError: the store is full or broken.
        """
        if self._is_folder:
            path = Path(getattr(self._path(key), "path", self._path(key)))
            with self._errors_named():
                _sync(path)
                _sync(path.parent)

    def read(self, key: str) -> bytes:
        """The content. :raises FileNotFoundError: there is no such file."""
        with self.reader(key) as file, self._errors_named():
            return file.read()

    @contextmanager
    def reader(self, key: str) -> Iterator[IO[bytes]]:
        """The content as a stream. :raises FileNotFoundError: there is no such file."""
        path = self._path(key)
        with self._errors_named():
            opened = _open_local(path) if self._is_folder else path.open("rb")
        with opened as file:
            yield file

    def exists(self, key: str) -> bool:
        """True if there is such a file or folder."""
        path = self._now(key)
        with self._errors_named():
            return bool(path.exists())

    def names(self, key: str) -> list[str]:
        """The sorted names in the folder that a key can contain; empty if there is no such folder. Warns of other names."""
        found = self.all_names(key)
        if other := [name for name in found if not _is_name(name)]:
            log.warning("%s has entries that no key names: %s", self.location(key), ascii(other[:_NAMED]))
        return [name for name in found if _is_name(name)]

    def all_names(self, key: str) -> list[str]:
        """The sorted names in the folder, even those that no key can contain; empty if there is no such folder."""
        folder = self._now(key)
        with self._errors_named():
            return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def entries(self, key: str) -> list[StoreEntry]:
        """The entries of the folder with any name, sorted by name; empty if there is no such folder."""
        found = []
        for name in self.all_names(key):
            # The file may have been moved in the meantime.
            with suppress(FileNotFoundError), self._errors_named():
                path = self._path(key) / name
                found.append(_local_entry(path) if self._is_folder else _object_entry(path))
        return found

    def delete(self, key: str) -> None:
        """Delete a file, or a folder with its content. A missing file is not an error."""
        path = self._now(key)
        if self._is_folder:
            with self._errors_named():
                if errors := _delete(path):
                    raise errors[0]
        else:
            with suppress(FileNotFoundError), self._errors_named():
                _filesystem(path).rm(_key(path), recursive=True)

    def erase(self, folder: str) -> list[str]:
        """Delete the folder, including old object versions in S3. Other stores keep what they are configured to keep.

        Continues after a failure; returns the place and the reason for each file and version that cannot be deleted.
        """
        path = self._now(folder)
        if self._is_folder:
            return [f"{error.filename}: {reason_of(error)}" for error in _delete(path)]
        try:
            self.delete(folder)
            files = _filesystem(path)
            return _erase_versions(files, _key(path)) if hasattr(files, "call_s3") else []
        except (OSError, StorageError) as error:
            return [f"{path}: {reason_of(error)}"]

    def delete_unfinished(self, folder: str) -> None:
        """Delete the files that killed writers left in the folder: they have not been written to for an hour."""
        if self._is_folder:
            for unfinished in self._path(folder).glob(".*.part"):
                with suppress(FileNotFoundError):
                    if time.time() - unfinished.stat().st_mtime > _ABANDONED_SECONDS:
                        unfinished.unlink()

    def free_bytes(self) -> int | None:
        """The free space; None for an object store."""
        if not self._is_folder:
            return None
        folder = Path(getattr(self._root, "path", self._root))
        while not folder.exists():
            folder = folder.parent
        return disk_usage(folder).free

    def location(self, key: str) -> str:
        """The path or URL of the file, for messages."""
        return str(self._path(key))

    def _now(self, key: str) -> Path:
        """The path, after clearing an object store's cached listings: other tasks write there too."""
        path = self._path(key)
        if not self._is_folder:
            _filesystem(path).invalidate_cache()
        return path

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        place = f"保存先 {self._root}"
        if self._is_folder:
            with storage_errors_named(place, Path(getattr(self._root, "path", self._root))):
                yield
        else:
            with storage_errors_named(place, None), _client_errors_named(self._root):
                yield

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not all(map(_is_name, parts)):
            raise ValueError(f"{key!r} is no key of an object store")
        return self._root.joinpath(*parts)


def _is_name(name: str) -> bool:
    """True if a key may contain the name. PostgreSQL can store such a name, and it cannot change the lines of a log."""
    return name not in ("", ".", "..") and "\\" not in name and not has_control_characters(name)


def tenant_folder(tenant_id: str) -> str:
    """A unique folder name for a tenant id; readable for ordinary ids."""
    readable = re.sub("[^A-Za-z0-9_-]", "_", tenant_id)[:40]
    return f"{readable}-{hashlib.sha256(tenant_id.encode()).hexdigest()[:16]}"


def is_tenant_folder(name: str) -> bool:
    """True if ``tenant_folder`` can return the name."""
    return bool(_TENANT_FOLDER.fullmatch(name))


def _local_entry(path: Path) -> StoreEntry:
    found = Path(getattr(path, "path", path)).lstat()
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return StoreEntry(path.name, stat.S_ISREG(found.st_mode), found.st_size, modified)


def _object_entry(path: Path) -> StoreEntry:
    files, key = _filesystem(path), _key(path)
    found = files.info(key)
    is_file = found["type"] == "file"
    return StoreEntry(path.name, is_file, found["size"] or 0, files.modified(key) if is_file else None)


def _open_local(path: Path) -> IO[bytes]:
    """The open file. A named pipe would wait for a writer, and a device might never end: no such file.

    :raises FileNotFoundError: there is no regular file. :raises IsADirectoryError: it is a folder.
    """
    try:
        descriptor = os.open(getattr(path, "path", path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return os.fdopen(descriptor, "rb")  # raises for a folder
    except BaseException:
        os.close(descriptor)
        raise


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(path: Path) -> list[OSError]:
    """Delete the tree. Continues after a failure; returns all errors."""
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
    """After an error, abort the upload: closing the file would complete it with partial content."""
    file = _filesystem(target).open(_key(target), "wb")
    try:
        copyfileobj(content, file)
        file.close()
    except BaseException:
        # Mark the file as closed, so that the garbage collector does not complete the upload.
        with suppress(Exception):
            file.discard()
        file.closed = True
        raise


def _erase_versions(s3: Any, folder: str) -> list[str]:
    """Delete all versions; returns the failures. :raises OSError: they cannot be listed."""
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
    return cast("UPath", path).fs


def _key(path: Path) -> str:
    return cast("UPath", path).path
