"""Whether a backup finds room: in the temporary folder, and how the lack of it is told."""

from __future__ import annotations

from shutil import disk_usage

from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.server import dump_processes
from include.skillreport.batches.data_backup.spool import DatabaseSize
from include.skillreport.core.execution.temporary_files import temporary_folder, temporary_place


def require_local_room(jobs: int, size: DatabaseSize) -> None:
    """Check the space. :raises BackupError: the temporary folder is too small, with the folder, the bytes and the largest table."""
    processes = dump_processes(jobs)
    needed = size.spool_bytes(processes)
    place = temporary_place()
    with temporary_folder():  # without the leftovers of killed processes
        available = disk_usage(place).free
    if available < needed:
        table = max(size.tables, key=lambda table: table.bytes)
        raise BackupError(
            f"{too_small(str(place), needed, available)}。"
            f"最も多く必要なのは表 {table.schema}.{table.name} の {table.bytes:,} バイトです"
            f"（{processes} 表を同時に処理します）。空けるか、置き場所（TMPDIR）を広げてください。"
        )


def too_small(place: str, needed: int, available: int) -> str:
    """The sentence without its full stop. Sizes are in bytes."""
    return f"{place} の空き容量が足りません（必要 {needed:,} バイト、空き {available:,} バイト）"
