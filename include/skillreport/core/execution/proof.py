"""Reads files of the object store, which others may write. A file counts only with its proof: the SHA-256 that the database or a proved
manifest has of it, or its MAC. For its reader, a file without proof does not exist.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from io import BufferedIOBase, BytesIO
from typing import IO, Any, Protocol

from typing_extensions import override

from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.storage_errors import NoAccessError

_BLOCK_BYTES = 1 << 20


class Fault(StrEnum):
    """Why a file does not count, as a part of a Japanese sentence."""

    MISSING = "ファイルがありません"
    NO_FILE = "ファイルではなく、フォルダーなどがあります"
    DENIED = "ファイルを読む権限がありません"
    TOO_LARGE = "記録より大きすぎます"
    UNRECORDED = "データベースに記録がないため、内容を確かめられません"
    CHANGED = "書いた後に内容が変わっています"
    NO_CODE = "正しい検証コード（MAC）がありません"


class UnprovedError(BatchError):
    """The file does not count."""

    def __init__(self, location: str, fault: Fault) -> None:
        super().__init__(f"{location} は使えません（{fault}）。")
        self.fault = fault


class Proof(Protocol):
    """What proves the content of a file."""

    def fault(self, store: ObjectStore, key: str, content: bytes) -> Fault | None:
        """Why this content of the file does not count; None if it counts."""


class Recorded:
    """The SHA-256 (hex) of the file, as it was written, or those of several files of which it is one. None: nothing recorded it."""

    def __init__(self, *sha256: str | None) -> None:
        self._hashes = frozenset(filter(None, sha256))

    def fault(self, store: ObjectStore, key: str, content: bytes) -> Fault | None:  # noqa: ARG002  # as ``Proof``
        """Compares the hashes."""
        if not self._hashes:
            return Fault.UNRECORDED
        return None if hashlib.sha256(content).hexdigest() in self._hashes else Fault.CHANGED


class Unchecked:
    """For content that the caller checks, or that a user accepts: every content counts."""

    def fault(self, store: ObjectStore, key: str, content: bytes) -> None:
        """No reason."""


def read_proved(store: ObjectStore, key: str, proof: Proof, most_bytes: int) -> bytes:
    """The content of the file.

    :raises UnprovedError: it is missing, not readable, larger than ``most_bytes``, or does not prove itself.
    :raises OSError: the store fails, for example because it is not reachable. :raises ValueError: the key is invalid.
    """
    content = BytesIO()
    copy_at_most(store, key, content, most_bytes)
    if fault := proof.fault(store, key, content.getvalue()):
        raise UnprovedError(store.location(key), fault)
    return content.getvalue()


def keep(store: ObjectStore, key: str, content: bytes) -> None:
    """Write the file, unless it has this content. Others may have put something else in its place."""
    try:
        read_proved(store, key, Recorded(hashlib.sha256(content).hexdigest()), len(content))
    except UnprovedError:
        store.delete(key)
        store.write(key, content)


def copy_at_most(store: ObjectStore, key: str, target: IO[bytes], most_bytes: int) -> str:
    """Copy the file, and return its SHA-256, which the caller compares. Errors as ``read_proved``."""
    digest, missing = hashlib.sha256(), most_bytes
    try:
        with store.reader(key) as source:
            while block := source.read(_BLOCK_BYTES):
                missing -= len(block)
                if missing < 0:
                    raise UnprovedError(store.location(key), Fault.TOO_LARGE)
                digest.update(block)
                target.write(block)
    except FileNotFoundError:
        raise UnprovedError(store.location(key), Fault.MISSING) from None
    except (IsADirectoryError, NotADirectoryError):
        raise UnprovedError(store.location(key), Fault.NO_FILE) from None
    except (PermissionError, NoAccessError):
        raise UnprovedError(store.location(key), Fault.DENIED) from None
    return digest.hexdigest()


class HashingWriter(BufferedIOBase):
    """Writes to ``target``, and knows the number and the SHA-256 of the written bytes, so that nobody needs to read them back."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.bytes = 0
        # Of the target, for callers that hide it.
        self.error: OSError | None = None

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, block: Any) -> int:
        try:
            self._target.write(block)
        except OSError as error:
            self.error = error
            raise
        self._hash.update(block)
        self.bytes += len(block)
        return len(block)

    @override
    def flush(self) -> None:
        if not self._target.closed:
            self._target.flush()

    @property
    def sha256(self) -> str:
        """In hexadecimal."""
        return self._hash.hexdigest()
