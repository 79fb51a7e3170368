"""Billing needs BATCH-018-01 to have closed the month's last day: how long a run waits for that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import psycopg

from include.billing.periods import Period
from include.database import read_sql
from include.execution.business_date import JAPAN

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class UsageState:
    """How far the last day is: tenants of the run without it, whether BATCH-018-01 has ended for it, when the run was opened."""

    unclosed_tenants: int
    usage_run_ended: bool
    opened_at: datetime


def usage_state(platform: psycopg.Connection, execution_id: str, last_day: date) -> UsageState:
    """The state of ``last_day`` for the tenants of the billing run."""
    row = platform.execute(
        read_sql(_HERE, "usage_state"), {"execution_id": execution_id, "last_day": last_day}
    ).fetchone()
    assert row is not None, "the run's own log row is there"
    return UsageState(*row)


def is_worth_waiting(state: UsageState, period: Period, now: datetime, longest: timedelta) -> bool:
    """Whether the last day may still be closed by tonight's BATCH-018-01. Pure; ``now`` is aware.

    Only on the day after the period, for at most ``longest`` from the opening of the run, and not once BATCH-018-01 has ended: what it
    left open then, nobody will close but an operator. Tenants whose days stay open fail on their own, with the days named.
    """
    return (
        state.unclosed_tenants > 0
        and not state.usage_run_ended
        and now.astimezone(JAPAN).date() == period.next_day
        and now < state.opened_at + longest
    )
