"""Counts the messages that a run leaves to another sender: claimed messages whose lease has not been given back.

In most cases the other sender was killed. Only BATCH-019-02 takes over its messages, after the lease. Until then nothing has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.execution.batch import UnitFailure, UnitResult
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import next_firing

_SQL = Statements(Path(__file__).parent)

# The figure in the outcome's details. ``close_execution`` reads its total.
LEASED = "leasedCount"


@dataclass(frozen=True)
class Leases:
    """A tenant's number of messages under a lease, and the end (aware) of the last lease."""

    messages: int
    until: datetime

    def sentence(self, now: datetime) -> str:
        """For operators: how many messages wait, until when, and which run takes them over."""
        takes_over = next_firing(NOTIFICATION_RETRY.cron, max(self.until, now))
        return (
            f"通知 {self.messages} 件は、中断した送信者などが確保したままです"
            f"（日本時間 {self.until.astimezone(JAPAN):%m/%d %H:%M:%S} まで）。"
            f"その後、{takes_over:%m/%d %H:%M} の {NOTIFICATION_RETRY.id} が引き取ります"
            "（メールは再送し、ほかは届いたかの確認を求めます）"
        )


def load_leases(connection: psycopg.Connection, tenant_ids: Sequence[str]) -> dict[str, Leases]:
    """The leases of these tenants, including expired ones. Runs in its own transaction."""
    with tenant_transaction(connection, tenant_ids):
        rows = _SQL.execute(connection, "leases").fetchall()
    return {tenant_id: Leases(messages, until) for tenant_id, messages, until in rows}


def with_leases(
    outcome: UnitResult | UnitFailure, leases: Leases | None, now: datetime
) -> UnitResult | UnitFailure:
    """The tenant's outcome, with the number of its messages under a lease and a note about them."""
    details = outcome.details | {LEASED: leases.messages if leases else 0}
    notes = (*outcome.notes, leases.sentence(now)) if leases else outcome.notes
    return replace(outcome, details=details, notes=notes)
