"""The object store's folder for the bank files that the accountant copies or uploads, and the folder for imported files."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from include.skillreport.billing.receivables.bank_file import MOST_BYTES
from include.skillreport.core.database import has_control_characters, storable
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution import proof
from include.skillreport.core.execution.object_store import ObjectStore, StoreEntry
from include.skillreport.core.execution.proof import Fault, Unchecked, UnprovedError, read_proved

INCOMING = "bank-files/incoming"
IMPORTED = "bank-files/imported"

_UNCHANGED = timedelta(minutes=1)

# The maximum difference between two clocks.
_CLOCKS_DIFFER = timedelta(hours=1)

# A kept name has at most this many characters of the file's name, because they may have four bytes, and a file system allows 255 bytes.
_LONGEST_NAME = 50

# The name endings that browsers and tools give to incomplete files.
_UNFINISHED = (".part", ".tmp", ".crdownload")


@dataclass(frozen=True)
class Incoming:
    """The names in the folder: files to read, files that may still be growing, and others with the reason (Japanese)."""

    files: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def incoming(store: ObjectStore, now: datetime, complete: Collection[str] = ()) -> Incoming:
    """The content of the folder, sorted by name. A file waits until it is unchanged for a minute before ``now`` (with time zone), unless
    its name is in ``complete``.

    Hidden files, lock files (``~$``) and unfinished uploads (``_UNFINISHED``) are omitted.
    """
    files, waiting, refused = [], [], {}
    for entry in store.entries(INCOMING):
        if entry.name.startswith((".", "~$")) or entry.name.lower().endswith(_UNFINISHED):
            continue
        if reason := _reason_against(entry, now):
            refused[storable(entry.name)] = reason
        elif entry.name in complete:
            files.append(entry.name)
        elif entry.modified is None or now - entry.modified < _UNCHANGED:
            waiting.append(entry.name)
        else:
            files.append(entry.name)
    return Incoming(tuple(files), tuple(waiting), refused)


def read(store: ObjectStore, name: str) -> bytes:
    """The content of an incoming file. :raises FileNotFoundError: it is gone. :raises ParameterError: it cannot be read."""
    try:
        return read_proved(store, f"{INCOMING}/{name}", Unchecked(), MOST_BYTES)
    except UnprovedError as error:
        if error.fault is Fault.MISSING:
            raise FileNotFoundError(name) from None
        raise ParameterError(f"ファイル '{name}': {error.fault}。置き直してください。") from None


def keep(store: ObjectStore, name: str, content: bytes, sha256: str, day: date) -> str:
    """Move the file to the kept files of the month of ``day``, the day on which it was recorded. Returns the key.

    Call it after the commit. If a run is killed between copy and removal, call it again with the same ``day``. A file of this name with
    another content remains in the folder. Kept files are never deleted.

    :raises NoSpaceError: the store is full. :raises OSError: for example, the store is not reachable.
    """
    folder = f"{IMPORTED}/{day:%Y-%m}"
    key = f"{folder}/{sha256[:16]}-{_safe(name)}"
    store.delete_unfinished(folder)
    proof.keep(store, key, content)
    store.sync(key)
    with suppress(FileNotFoundError):
        if hashlib.sha256(read(store, name)).hexdigest() == sha256:
            store.delete(f"{INCOMING}/{name}")
    return key


def uploaded_name(name: str, sha256: str) -> str:
    """The name in the store for a file that is uploaded as ``name``. It contains a part of the SHA-256, so that other content never
    replaces the file.

    :raises ParameterError: the file is an unfinished download.
    """
    if name.lower().endswith(_UNFINISHED):
        raise ParameterError(
            f"ファイル '{name}' はダウンロードが終わっていません。終わってから、もう一度選んでください。"
        )
    stem, dot, extension = re.sub(r"\.+", ".", _safe(name)).strip("._-").rpartition(".")
    return f"{stem or extension or 'file'}-{sha256[:8]}{dot}{extension if stem else ''}"


def _reason_against(entry: StoreEntry, now: datetime) -> str:
    if not entry.is_file:
        return "ファイルではありません。フォルダーやリンクではなく、ファイルを置いてください"
    if "\\" in entry.name or has_control_characters(entry.name):
        return "ファイル名に使えない文字があります。名前を変えてください"
    if entry.size > MOST_BYTES:
        return f"{MOST_BYTES // 10**6} MB を超えています。期間を分けて取得してください"
    if entry.modified and entry.modified - now > _CLOCKS_DIFFER:
        return f"更新日時（{entry.modified:%Y-%m-%d %H:%M} UTC）が未来です。置き直してください"
    return ""


def _safe(name: str) -> str:
    """A name for the object store: letters of any script, digits, dots and hyphens. A long name keeps its end, and so its extension."""
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFKC", name))[-_LONGEST_NAME:]
