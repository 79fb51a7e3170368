"""The folder of the object store into which the accountant puts the bank's files, and the folder in which they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from include.skillreport.core.execution.object_store import ObjectStore


@dataclass(frozen=True)
class Incoming:
    """The names in the folder: of files to read, of files that may still be growing, and of others with the reason (Japanese)."""

    files: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def incoming(store: ObjectStore, now: datetime) -> Incoming:
    """What is in the folder, sorted by name. A file waits until it is unchanged for a minute before ``now`` (with time zone)."""
    raise NotImplementedError


def read(store: ObjectStore, name: str) -> bytes:
    """The content of an incoming file. :raises FileNotFoundError: it is gone."""
    raise NotImplementedError


def keep(store: ObjectStore, name: str, content: bytes, sha256: str, day: date) -> str:
    """Move the file to the kept ones of the month of ``day``; returns the key. Call this after the commit.

    A run that was killed between copy and removal calls this again; a file of this name with another content stays in the folder.

    :raises NoSpaceError: the store is full. :raises OSError: for example, the store is not reachable.
    """
    raise NotImplementedError
