"""The wait of a billing run for BATCH-018-01 to close the month's last day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import psycopg

from include.skillreport.billing.periods import Period
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class UsageState:
    """The last day's unclosed tenants, whether BATCH-018-01 has ended for it, and when the billing run was opened."""

    unclosed_tenants: int
    usage_run_ended: bool
    opened_at: datetime


def usage_state(platform: psycopg.Connection, execution_id: str, last_day: date) -> UsageState:
    """The state of ``last_day`` for the tenants of the billing run."""
    row = _SQL.row(platform, "usage_state", execution_id=execution_id, last_day=last_day)
    return UsageState(*row)


def is_worth_waiting(state: UsageState, period: Period, now: datetime, longest: timedelta) -> bool:
    """True if tonight's BATCH-018-01 may still close the last day. Pure; ``now`` is aware.

    A run waits only on the day after the period, for at most ``longest`` after its opening, and until BATCH-018-01 has ended. Tenants with
    days that are still open then fail. The failure names the days, and an operator must act.
    """
    return (
        state.unclosed_tenants > 0
        and not state.usage_run_ended
        and now.astimezone(JAPAN).date() == period.next_day
        and now < state.opened_at + longest
    )
