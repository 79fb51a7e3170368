"""Object stores that fail while they write, or that give back other bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from include.skillreport.core.execution.object_store import ObjectStore


class FaultyStore(ObjectStore):
    """Another store's files; ``on_write`` is called with the key first, and ``reading`` may change the content that is read."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        on_write: Callable[[str], None] = lambda _: None,
        reading: Callable[[str, bytes], bytes] = lambda _, content: content,
    ) -> None:
        super().__init__(Path(store.location("root")).parent)
        self._on_write = on_write
        self._reading = reading

    def write(self, key: str, content: bytes) -> str:
        self._on_write(key)
        return super().write(key, content)

    @contextmanager
    def reader(self, key: str) -> Iterator[IO[bytes]]:
        with super().reader(key) as file:
            content = file.read()
        yield BytesIO(self._reading(key, content))


def files(store: ObjectStore) -> list[str]:
    """The keys of all files of the store."""
    root = Path(store.location("root")).parent
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def write_half(store: ObjectStore, key: str, error: type[BaseException]) -> None:
    """Begin to write, and fail."""
    with store.writer(key) as file:
        file.write(b"half of the wo")
        raise error
