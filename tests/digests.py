"""What a run tells the operators, and whether it reaches them."""

from __future__ import annotations

import psycopg

from include.execution.batch import ReportsDigest, Run, Work


def take_digest(
    platform: psycopg.Connection, batch: ReportsDigest, run: Run, *, is_delivered: bool = True
) -> list[str]:
    """The lines, as ``close_run`` takes them; if they are not delivered, nothing that they mark as told is."""
    with platform.transaction() as transaction:
        lines = list(batch.digest(Work(run, platform)).lines)
        if not is_delivered:
            raise psycopg.Rollback(transaction)
    return lines
