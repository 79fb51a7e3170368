"""What somebody can do who writes into the object store, and has no access to the database."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, MANIFEST, StoredFile
from include.skillreport.batches.data_backup.mac import MacKeys
from tests.worlds.backups import Backups

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@dataclass(frozen=True)
class Attacker:
    """Hides a statement in a dump, in the place of the comment of a table."""

    statement: str

    def plant(self, connection: psycopg.Connection) -> None:
        """A comment that is long enough for the statement."""
        connection.execute(self._original)

    def replace_contents(self, folder: Path) -> None:
        """Replace the table of contents of the dump, with its hash in ``dump.json``."""
        (stored,) = (folder / "dump").glob("toc.dat*")
        content = zstd.decompress(stored.read_bytes())
        assert content.count(self._original) == 1
        hidden = f"{self.statement}; --".encode().ljust(len(self._original))
        stored.write_bytes(zstd.compress(content.replace(self._original, hidden)))
        rehash(folder, DUMP_MANIFEST, "dump/toc.dat.zst")

    @property
    def _original(self) -> bytes:
        return f"""COMMENT ON TABLE public."MST_Tenant" IS '{"x" * len(self.statement)}'""".encode()


def rehash(folder: Path, manifest: str, path: str) -> StoredFile:
    """Write the hash of a plain file of the folder into a manifest, where it stood plain or encrypted; returns its entry."""
    parts = json.loads((folder / manifest).read_text())
    content = (folder / path).read_bytes()
    (entry,) = (each for each in parts["files"] if each["path"].removesuffix(".age") == path)
    entry |= {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / manifest).write_text(json.dumps(parts))
    return StoredFile(**entry)


def forged(backups: Backups, source: str, day: date, keys: MacKeys) -> str:
    """A copy of a backup with all its files, under the id and the dates of another day, with the MAC of these keys; returns the id."""
    other = f"BKP_{day:%Y%m%d}_001"
    folder = backups.root / "backups" / other
    shutil.copytree(
        backups.root / "backups" / source,
        folder,
        copy_function=os.link,
        ignore=shutil.ignore_patterns(f"{MANIFEST}*", "tenants"),
    )
    parts = json.loads((backups.root / "backups" / source / MANIFEST).read_text())
    parts["about"] |= {
        "backup_id": other,
        "business_date": day.isoformat(),
        "verified_at": f"{day}T03:00:00+00:00",
    }
    content = json.dumps(parts).encode()
    keys.write(backups.store, f"backups/{other}/{MANIFEST}", content)
    (folder / MANIFEST).write_bytes(content)
    return other
