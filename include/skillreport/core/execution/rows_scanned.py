"""Count how many rows of the application's tables a run reads and uses. All statements run as ``batch_platform``."""

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

    PostgreSQL counts the rows that a session fetches from a table, by scan or index. It publishes the counts after the transaction, so
    within it the difference belongs to the block. Rows read by parallel workers are not counted; statements that write staging rows use
    none.
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
    """The rows that the run has read, and the rows of its period that it has used, by table. Part of the run's result."""
    rows = _SQL.execute(platform, "load_scans", execution_id=execution_id)
    return {relation: {"read": read, "used": used} for relation, read, used in rows}
