"""The digest of a run for the operators, and whether it is delivered."""

from __future__ import annotations

import psycopg

from include.skillreport.core.execution.batch import Batch, Run, Work


def take_digest(
    platform: psycopg.Connection, batch: Batch, run: Run, *, is_delivered: bool = True
) -> list[str]:
    """The lines, as ``close_run`` takes them. If they are not delivered, they do not count as reported."""
    with platform.transaction() as transaction:
        lines = list(batch.digest(Work(run, platform)).lines)
        if not is_delivered:
            raise psycopg.Rollback(transaction)
    return lines
