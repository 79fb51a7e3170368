"""Where files go that outlive a run: any file system that looks like a path, local or an object store."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfileobj, disk_usage
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from upath import UPath


class ObjectStore:
    """Files under one root: a ``pathlib.Path``, or whatever behaves like one (Airflow's ``ObjectStoragePath``).

    A key is made of ids, never of names that people give, and joined by slashes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # An object store has no folders, shows an object once it is whole, and has no end.
        self._is_folder = getattr(root, "protocol", "") in ("", "file", "local")

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        """A file that takes the place of ``key`` when the block ends; after an error, what was there before still is.

        :raises ValueError: the key leads out of the root. :raises OSError: the disk is full, the store is not reachable.
        """
        target = self._path(key)
        if not self._is_folder:
            # Begun once all of the content is there: an upload that waits for its source may be given up by the store.
            with TemporaryFile() as content:
                yield content
                content.seek(0)
                _upload(content, target)
            return
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

    def write(self, key: str, content: bytes) -> str:
        """Put the content in place of ``key``; returns its location. Errors as ``writer``."""
        with self.writer(key) as file:
            file.write(content)
        return self.location(key)

    def sync(self, key: str) -> None:
        """Wait until the file is on the disk, so that a power cut cannot take it: before what it is a copy of is deleted."""
        if self._is_folder:
            path = Path(getattr(self._path(key), "path", self._path(key)))
            _sync(path)
            _sync(path.parent)

    def read(self, key: str) -> bytes:
        """The content. :raises FileNotFoundError: there is none."""
        return bytes(self._path(key).read_bytes())

    @contextmanager
    def reader(self, key: str) -> Iterator[IO[bytes]]:
        """The content as a stream. :raises FileNotFoundError: there is none."""
        with self._path(key).open("rb") as file:
            yield file

    def exists(self, key: str) -> bool:
        """Whether there is such a file or folder."""
        return bool(self._now(key).exists())

    def names(self, key: str) -> list[str]:
        """What is in the folder, by name; nothing if it is not there."""
        folder = self._now(key)
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def delete(self, key: str) -> None:
        """Delete the file, or the folder with all that is in it; what is not there needs no deleting."""
        path = self._now(key)
        if self._is_folder:
            _delete(path)
        else:
            with suppress(FileNotFoundError):
                _filesystem(path).rm(_key(path), recursive=True)

    def free_bytes(self) -> int | None:
        """How much more it can hold; None for an object store, which has no end."""
        if not self._is_folder:
            return None
        folder = Path(getattr(self._root, "path", self._root))
        while not folder.exists():
            folder = folder.parent
        return disk_usage(folder).free

    def location(self, key: str) -> str:
        """Where people find it: a path, or a URL."""
        return str(self._path(key))

    def _now(self, key: str) -> Path:
        """The path, without what an object store's client remembers of listings: other tasks write there too."""
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
    """A folder name for any tenant id whatsoever, its own; readable for ordinary ids."""
    readable = re.sub("[^A-Za-z0-9_-]", "_", tenant_id)[:40]
    return f"{readable}-{hashlib.sha256(tenant_id.encode()).hexdigest()[:16]}"


def _sync(path: Path) -> None:
    """Wait until a local file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for child in list(path.iterdir()):
            _delete(child)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _upload(content: IO[bytes], target: Path) -> None:
    """Put the content in place. Closing an object's file completes the upload, also of half the content: after an error it is given up."""
    file = _filesystem(target).open(_key(target), "wb")
    try:
        copyfileobj(content, file)
        file.close()
    except BaseException:
        # Whatever came in between: what is said is the first error, and nothing may close the file later on.
        with suppress(Exception):
            file.discard()
        file.closed = True
        raise


def _filesystem(path: Path) -> Any:
    """Fsspec's, which is below every path that is not local."""
    return cast("UPath", path).fs


def _key(path: Path) -> str:
    return cast("UPath", path).path
