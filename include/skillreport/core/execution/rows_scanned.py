"""How many rows of the application's tables a run reads, and how many of them it uses. All statements run as ``batch_platform``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Run

_SQL = Statements(Path(__file__).parent)


@contextmanager
def scans_counted(platform: psycopg.Connection, run: Run) -> Iterator[None]:
    """Add the rows that the block reads to the run's counts in ``batch.rows_scanned``, in the open transaction.

    PostgreSQL counts the rows that a session fetches from a table, by scan or by index. It publishes the counts after the transaction, so
    within the transaction the difference belongs to the block. Rows that parallel workers read are not counted; the statements that write
    staging rows use no parallel workers.
    """
    before = _counts(platform)
    yield
    read = {
        relation: difference
        for relation, count in _counts(platform).items()
        if (difference := count - before.get(relation, 0)) > 0
    }
    _SQL.execute(
        platform,
        "add_scans",
        execution_id=run.execution_id,
        relations=list(read),
        counts=list(read.values()),
    )


def _counts(platform: psycopg.Connection) -> dict[str, int]:
    return dict(_SQL.execute(platform, "session_scans").fetchall())


def load_scans(platform: psycopg.Connection, execution_id: str) -> dict[str, dict[str, int]]:
    """By table, the rows that the run has read, and the rows of its period that it has used. Part of the run's result."""
    rows = _SQL.execute(platform, "load_scans", execution_id=execution_id)
    return {relation: {"read": read, "used": used} for relation, read, used in rows}
