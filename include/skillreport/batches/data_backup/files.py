"""A backup's files: compressed, optionally encrypted, and listed with their SHA-256 in manifests.

``backups/<backup id>/`` contains ``dump/…`` and ``dump.json``, ``tenants/<tenant>/…`` with a ``manifest.json`` each, and ``manifest.json``,
which is written last and lists the other manifests. Without it the backup does not count. Others may write into the store, so a manifest
counts only by its hash in the database, or by its MAC. Compression is zstd. Encryption is the age format (X25519, authenticated by chunk),
so ``age -d -i key | zstd -d`` opens a file without this code.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import pyrage  # type: ignore[import-untyped]
from typing_extensions import override

from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.core.errors import BatchError, SettingsError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import (
    Fault,
    HashingWriter,
    Proof,
    Recorded,
    UnprovedError,
    copy_at_most,
    read_proved,
)
from include.skillreport.core.execution.temporary_files import temporary_file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEY_CONNECTION = "skill_batch_backup_key"
FOLDER = "backups"
MANIFEST = "manifest.json"
BACKUP_ID = re.compile(r"BKP_\d{8}_\d{3}")
DUMP_MANIFEST = "dump.json"

_BLOCK_BYTES = 1 << 20

_MANIFEST_FAULTS = {
    Fault.MISSING: "がありません。このバックアップは完成していないため使えません。",
    Fault.NO_FILE: "がありません。このバックアップは完成していないため使えません。",
    Fault.TOO_LARGE: "が大きすぎます。別のバックアップを使ってください。",
    Fault.CHANGED: "が書き換えられています。別のバックアップを使ってください。",
}

# A manifest lists a file for each table or tenant, with about 200 bytes each.
MOST_MANIFEST_BYTES = 256 << 20


class BackupDamagedError(BatchError):
    """A file of a backup is missing, was changed, or cannot be opened."""


@dataclass(frozen=True)
class StoredFile:
    """A stored file. ``path`` is relative to the backup's folder. ``rows`` counts the rows of a table's export."""

    path: str
    bytes: int
    sha256: str
    rows: int | None = None


@dataclass(frozen=True)
class TableContent:
    """A table's content: the number of rows, and the sum of their 64-bit hashes, independent of their order.

    ``content_hash`` is None if only the rows were counted.
    """

    schema: str
    name: str
    rows: int
    content_hash: str | None


@dataclass(frozen=True)
class Manifest:
    """The files of a backup, of its dump, or of one tenant's export."""

    about: dict[str, Any]
    files: list[StoredFile] = field(default_factory=list)
    tables: list[TableContent] = field(default_factory=list)

    def as_json(self) -> bytes:
        """Readable JSON. Equal contents give equal bytes."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True).encode()

    @classmethod
    def parse(cls, content: bytes, name: str) -> Manifest:
        """The manifest with this JSON. :raises BackupDamagedError: the content is no manifest."""
        try:
            parts = json.loads(content)
            return cls(
                dict(parts["about"]),
                [StoredFile(**part) for part in parts["files"]],
                [TableContent(**part) for part in parts["tables"]],
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BackupDamagedError(
                f"目録 {name} が壊れています。別のバックアップを使ってください。"
            ) from None

    @property
    def total_bytes(self) -> int:
        """The size of the files that this manifest lists itself."""
        return sum(file.bytes for file in self.files)


class Packer:
    """Writes and reads the files of one backup. ``identity`` is the age key (``AGE-SECRET-KEY-1…``), None for no encryption.

    Without ``encrypts`` the key only opens encrypted files. ``only_encrypted``: rejects other files.

    :raises SettingsError: it is no age key. Without ``encrypts``, only when an encrypted file is read.
    """

    def __init__(
        self,
        store: ObjectStore,
        folder: str,
        *,
        level: int = 3,
        identity: str | None = None,
        encrypts: bool = True,
        only_encrypted: bool = False,
    ) -> None:
        self.store = store
        self.folder = folder
        self._level = level
        self._identity = identity
        self._only_encrypted = only_encrypted
        self._recipient = _parse_identity(identity).to_public() if identity and encrypts else None
        self.suffix = ".zst.age" if self._recipient else ".zst"

    def __repr__(self) -> str:
        return f"Packer({self.folder!r})"

    def pack(self, source: IO[bytes], path: str, rows: int | None = None) -> StoredFile:
        """Store the source's bytes at ``path`` with the suffix, through a temporary name.

        :raises NoSpaceError: the store is full. :raises OSError: it is unreachable.
        """
        path += self.suffix
        with self.store.writer(self.key(path)) as target:
            sink = HashingWriter(target)
            packed = cast("IO[bytes]", _Compressed(source, self._level))
            if self._recipient is None:
                shutil.copyfileobj(packed, cast("IO[bytes]", sink), _BLOCK_BYTES)
            else:
                try:
                    pyrage.encrypt_io(packed, sink, [self._recipient])
                except pyrage.EncryptError as error:
                    # pyrage hides the store's error in its text.
                    raise sink.error or error from None
                # pyrage ignores an error of its last write, so the file would be incomplete.
                if sink.error:
                    raise sink.error
        return StoredFile(path, sink.bytes, sink.sha256, rows)

    @contextmanager
    def unpacked(self, file: StoredFile) -> Iterator[IO[bytes]]:
        """The file's original content, after comparing the stored file with the manifest.

        :raises BackupDamagedError: the file is missing, differs or should be encrypted, or the key does not open it.
        """
        key = self.key(file.path)
        if self._only_encrypted and not file.path.endswith(".age"):
            raise BackupDamagedError(
                f"バックアップのファイル {self.store.location(key)} が暗号化されていません。取得時は暗号化していたので、書き換えられた"
                "可能性があります。別のバックアップを使ってください。"
            )
        with temporary_file() as stored:
            location = self.store.location(key)
            try:
                is_whole = copy_at_most(self.store, key, stored, file.bytes) == file.sha256
            except UnprovedError as error:
                if error.fault is not Fault.TOO_LARGE:
                    problem = (
                        "がありません" if error.fault is Fault.MISSING else f"を使えません（{error.fault}）"
                    )
                    raise BackupDamagedError(
                        f"バックアップのファイル {location} {problem}。別のバックアップを使ってください。"
                    ) from None
                is_whole = False
            if not is_whole:
                raise BackupDamagedError(
                    f"バックアップのファイル {location} の内容が目録と一致しません（目録では {file.bytes} バイト）。"
                    "別のバックアップを使ってください。"
                )
            stored.seek(0)
            if not file.path.endswith(".age"):
                yield cast("IO[bytes]", zstd.ZstdFile(stored))
                return
            with temporary_file() as decrypted:
                self._decrypt(stored, decrypted, key)
                stored.close()  # the content needs the memory
                decrypted.seek(0)
                yield cast("IO[bytes]", zstd.ZstdFile(decrypted))

    def write_manifest(self, manifest: Manifest, path: str, keys: MacKeys | None = None) -> StoredFile:
        """Store a manifest unencrypted, so that every reader of the store can read it. It contains no rows. ``keys``: add its MAC."""
        content = manifest.as_json()
        if keys:
            keys.write(self.store, self.key(path), content)
        self.store.write(self.key(path), content)
        return StoredFile(path, len(content), hashlib.sha256(content).hexdigest())

    def read_manifest(self, path: str, sha256: str) -> Manifest:
        """The manifest with this hash. The hash must come from the database, or from a manifest whose hash or MAC was checked.

        :raises BackupDamagedError: the manifest is missing, is not a manifest, or has another SHA-256.
        """
        return self.entry(path, sha256)[1]

    def entry(self, path: str, sha256: str) -> tuple[StoredFile, Manifest]:
        """As ``read_manifest``, with its entry for another manifest."""
        content = self.manifest_bytes(path, Recorded(sha256))
        return StoredFile(path, len(content), sha256), self.parsed(path, content)

    def manifest_bytes(self, path: str, proof: Proof) -> bytes:
        """The bytes of a stored manifest. :raises BackupDamagedError: it is missing, or too large, or does not prove itself."""
        location = self.store.location(self.key(path))
        try:
            return read_proved(self.store, self.key(path), proof, MOST_MANIFEST_BYTES)
        except UnprovedError as error:
            advice = _MANIFEST_FAULTS.get(
                error.fault, f"を使えません（{error.fault}）。別のバックアップを使ってください。"
            )
            raise BackupDamagedError(f"目録 {location} {advice}") from None

    def parsed(self, path: str, content: bytes) -> Manifest:
        """The manifest with this content. Errors as ``Manifest.parse``."""
        return Manifest.parse(content, self.store.location(self.key(path)))

    def key(self, path: str) -> str:
        """The store's key of a path in the backup."""
        return f"{self.folder}/{path}"

    def _decrypt(self, stored: IO[bytes], decrypted: IO[bytes], key: str) -> None:
        if not self._identity:
            raise BackupDamagedError(
                f"ファイル {self.store.location(key)} は暗号化されています。鍵を接続 '{KEY_CONNECTION}' のパスワードに設定してください。"
            )
        try:
            pyrage.decrypt_io(stored, decrypted, [_parse_identity(self._identity)])
        except pyrage.DecryptError:
            raise BackupDamagedError(
                f"接続 '{KEY_CONNECTION}' の鍵ではファイル {self.store.location(key)} を開けません。取得時の鍵を設定してください。"
            ) from None


class CopyStream(io.RawIOBase):
    """The output of a COPY as a readable file. ``next_block`` returns the next block, empty at the end."""

    def __init__(self, next_block: Callable[[], Any]) -> None:
        self._next_block = next_block
        self._rest = b""

    def readable(self) -> bool:
        """Always true."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; fewer only at the end."""
        parts, missing = [self._rest], (size if size >= 0 else 1 << 62) - len(self._rest)
        while missing > 0 and (block := bytes(self._next_block())):
            parts.append(block)
            missing -= len(block)
        content = b"".join(parts)
        if size < 0:
            size = len(content)
        self._rest = content[size:]
        return content[:size]


class _Compressed(io.RawIOBase):
    """The compressed bytes of a source, with a checksum."""

    def __init__(self, source: IO[bytes], level: int) -> None:
        super().__init__()
        parameters = zstd.CompressionParameter
        options: dict[int, int] = {parameters.compression_level: level, parameters.checksum_flag: 1}
        self._compressor = zstd.ZstdCompressor(options=options)
        self._source = source
        self._packed = memoryview(b"")
        self._ended = False

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        while not self._packed and not self._ended:
            block = self._source.read(_BLOCK_BYTES)
            self._ended = not block
            self._packed = memoryview(self._compressor.compress(block) if block else self._compressor.flush())
        part = self._packed[: len(buffer)]
        buffer[: len(part)] = part
        self._packed = self._packed[len(part) :]
        return len(part)


def is_complete(store: ObjectStore, backup_id: str) -> bool:
    """True if the manifest exists, which is written last, after the verification."""
    return bool(BACKUP_ID.fullmatch(backup_id)) and store.exists(f"{FOLDER}/{backup_id}/{MANIFEST}")


def _parse_identity(key: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(key.strip())
    except pyrage.IdentityError:
        raise SettingsError(
            f"接続 '{KEY_CONNECTION}' のパスワードは age の鍵（AGE-SECRET-KEY-1…）ではありません。`age-keygen` で作成してください。"
        ) from None


def differences(expected: Sequence[TableContent], found: Sequence[TableContent]) -> list[str]:
    """A sentence for each table that differs. Without an expected hash, compares only the number of rows."""
    actual: Mapping[tuple[str, str], TableContent] = {(table.schema, table.name): table for table in found}
    lines = []
    for table in expected:
        other = actual.get((table.schema, table.name))
        name = f"{table.schema}.{table.name}"
        if other is None:
            lines.append(f"{name} がありません")
        elif other.rows != table.rows:
            lines.append(f"{name} は {table.rows} 行のはずが {other.rows} 行です")
        elif table.content_hash is None:
            continue
        elif other.content_hash is None:
            lines.append(f"{name} の内容を比べていません")
        elif other.content_hash != table.content_hash:
            lines.append(f"{name} の内容が違います")
    return lines


def packer_suffix(path: str) -> str:
    """The suffix that packing added to the file's name."""
    return ".zst.age" if path.endswith(".age") else ".zst"


def write_out(packer: Packer, file: StoredFile, target: Path) -> None:
    """Write the file's content to ``target``. Errors as ``Packer.unpacked``."""
    with packer.unpacked(file) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, _BLOCK_BYTES)
