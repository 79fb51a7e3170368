"""The folder of the object store into which the accountant puts or uploads the bank's files, and the folder in which they are kept."""

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
from include.skillreport.core.execution.object_store import ObjectStore, StoreEntry

INCOMING = "bank-files/incoming"
IMPORTED = "bank-files/imported"

_UNCHANGED = timedelta(minutes=1)

# A clock may be ahead of another one, but not by more than this.
_CLOCKS_DIFFER = timedelta(hours=1)

# A kept name has at most this many characters of the file's name, of four bytes at most: a file system takes 255 bytes.
_LONGEST_NAME = 50

# The ends of names that browsers and tools give to a file until it is complete.
_UNFINISHED = (".part", ".tmp", ".crdownload")


@dataclass(frozen=True)
class Incoming:
    """The names in the folder: of files to read, of files that may still be growing, and of others with the reason (Japanese)."""

    files: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def incoming(store: ObjectStore, now: datetime, complete: Collection[str] = ()) -> Incoming:
    """What is in the folder, sorted by name. A file waits until it is unchanged for a minute before ``now`` (with time zone), unless
    its name is among the ``complete`` ones.

    Hidden files and those that end with ``.part`` or ``.tmp`` are uploads that have not ended, and are not named.
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
    """The content of an incoming file. :raises FileNotFoundError: it is gone."""
    return store.read(f"{INCOMING}/{name}")


def keep(store: ObjectStore, name: str, content: bytes, sha256: str, day: date) -> str:
    """Move the file to the kept ones of the month of ``day``, the day on which it was recorded; returns the key.

    Call this after the commit. A run that was killed between copy and removal calls it again with the same ``day``. A file of this name
    with another content stays in the folder. Kept files are never deleted.

    :raises NoSpaceError: the store is full. :raises OSError: for example, the store is not reachable.
    """
    folder = f"{IMPORTED}/{day:%Y-%m}"
    key = f"{folder}/{sha256[:16]}-{_safe(name)}"
    store.delete_unfinished(folder)
    if not store.exists(key):
        store.write(key, content)
    store.sync(key)
    with suppress(FileNotFoundError):
        if hashlib.sha256(read(store, name)).hexdigest() == sha256:
            store.delete(f"{INCOMING}/{name}")
    return key


def uploaded_name(name: str, sha256: str) -> str:
    """The name in the store of a file that was uploaded as ``name``. The same content has the same name, and another one never replaces it.

    :raises ParameterError: the file is a download that has not ended.
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
    """A name for the object store: letters of any script, digits, dots and hyphens; the end of a long one, so that its extension stays."""
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFKC", name))[-_LONGEST_NAME:]
