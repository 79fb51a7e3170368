"""HMAC-SHA256 (RFC 2104) of files in the object store, which others may write. The keys are in Airflow, not in the store.

A file's code is in hexadecimal in ``<file>.mac``. It covers the bytes and the file's key in the store, so no file can replace another.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Fault, UnprovedError, copy_at_most

MAC_CONNECTION = "skill_batch_backup_mac"

SUFFIX = ".mac"

# `openssl rand -hex 32` writes 64 characters. Short keys can be guessed, because the store contains files with their codes.
_LEAST_CHARACTERS = 32

_CODE_BYTES = hashlib.sha256().digest_size * 2


@dataclass(frozen=True)
class MacKeys:
    """The present key, and earlier ones that only verify. Without keys no file is valid. :raises SettingsError: a key is too short."""

    keys: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if any(len(key) < _LEAST_CHARACTERS for key in self.keys):
            raise SettingsError(
                f"接続 '{MAC_CONNECTION}' の鍵は {_LEAST_CHARACTERS} 文字以上にしてください（例: `openssl rand -hex 32`）。"
            )

    def write(self, store: ObjectStore, key: str, content: bytes) -> None:
        """Write the file's code, if there is a key. Call it before writing the file, so that a complete file has its code."""
        if self.keys:
            store.write(key + SUFFIX, _code(self.keys[0], key, content).encode())

    def fault(self, store: ObjectStore, key: str, content: bytes) -> Fault | None:
        """As ``Proof``: the content counts if it has a valid code."""
        if not self.keys:
            return Fault.NO_CODE
        found = BytesIO()
        try:
            copy_at_most(store, key + SUFFIX, found, _CODE_BYTES)
        except UnprovedError:
            return Fault.NO_CODE
        codes = [_code(each, key, content).encode() for each in self.keys]
        return None if any(hmac.compare_digest(found.getvalue(), code) for code in codes) else Fault.NO_CODE


def _code(mac_key: str, key: str, content: bytes) -> str:
    # No key in the store contains NUL.
    return hmac.new(mac_key.encode(), key.encode() + b"\0" + content, hashlib.sha256).hexdigest()
