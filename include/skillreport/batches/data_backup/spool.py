"""The disk space that a few files of a dump need locally."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The maximum bytes that wait for the store or for pg_restore before more are fetched or dumped.
WAITING_BYTES = 256 << 20


@dataclass(frozen=True)
class TableSize:
    """The size of a table on the server, in bytes, without its indexes."""

    schema: str
    name: str
    bytes: int


@dataclass(frozen=True)
class DatabaseSize:
    """The size of a database on the server, in bytes; ``tables`` largest first."""

    tables: Sequence[TableSize]
    large_object_bytes: int
    database_bytes: int

    def spool_bytes(self, processes: int) -> int:
        """The maximum local bytes that a dump with this many processes needs.

        Each process writes a table, and finished files wait within ``WAITING_BYTES``. Large objects remain until the end. A file that is
        uploaded or downloaded also has a compressed copy; text compresses to less than half. A restore does not need more. This is an
        estimate: in a dump, binary columns take twice their bytes, and long texts, which the server compresses, several times.
        """
        whole = sum(table.bytes for table in self.tables)
        written = sum(table.bytes for table in self.tables[:processes])
        return min(whole, written + WAITING_BYTES) + written // 2 + self.large_object_bytes
