"""The ways in which a writer of the store damages a file of a local store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path


def _folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def _link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _named_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _changed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


_WAYS: Mapping[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": _changed(lambda _: b""),
    "truncated": _changed(lambda content: content[: len(content) // 2]),
    "a bit flipped": _changed(_flipped),
    "longer": _changed(lambda content: content + b"\n"),
    "no text": _changed(lambda _: bytes(range(256)) * 40),
    "deep JSON": _changed(lambda _: b"[" * 60_000),
    "other JSON": _changed(lambda _: b'{"files": 1, "table": null, "tenant_id": []}'),
    "a folder": _folder,
    "a link to itself": _link_to_itself,
    "a named pipe": _named_pipe,
}

DAMAGES = tuple(_WAYS)


def damaged(path: Path, damage: str) -> None:
    """Damage the file in one of the ways of ``DAMAGES``."""
    _WAYS[damage](path)


def repaired(path: Path, content: bytes) -> None:
    """The file as it was."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
