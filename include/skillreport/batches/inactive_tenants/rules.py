"""The days of a tenant's inactivity, and the resulting stage. Pure: dates and settings in, stages out.

Source: BATCH-018-04's rules; the days are settings. All dates are Asia/Tokyo, and "today" is the run's business date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from include.skillreport.batches.inactive_tenants.settings import InactivitySettings


class Stage(StrEnum):
    """The stages, from none to the worst."""

    NONE = "none"
    ATTENTION = "attention"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Stage).index(self)


class StageReason(StrEnum):
    """Why a stage changed. Only inactivity raises a stage, and only it is notified."""

    INACTIVITY = "inactivity"
    ACTIVITY = "activity"
    EXCLUDED = "excluded"
    SETTINGS = "settings"


@dataclass(frozen=True)
class StageChange:
    """One step from a stage to another."""

    from_stage: Stage
    to_stage: Stage
    reason: StageReason


def days_since(since: date, business_date: date) -> int:
    """Whole days; 0 if ``since`` is in the future."""
    return max(0, (business_date - since).days)


def stage_of(days: int, settings: InactivitySettings) -> Stage:
    """The stage of a tenant that has been inactive for this many days."""
    if days >= settings.critical_days:
        return Stage.CRITICAL
    if days >= settings.warning_days:
        return Stage.WARNING
    if days >= settings.attention_days:
        return Stage.ATTENTION
    return Stage.NONE


def latest_activity(seen: date | None, known: date | None, business_date: date) -> date | None:
    """The later of the activity in the logs and the activity known from earlier runs, without activity after the business date."""
    days = [day for day in (seen, known) if day is not None and day <= business_date]
    return max(days, default=None)


def counted_from(
    last_activity_on: date | None, created_on: date, contract_start: date | None, business_date: date
) -> date:
    """The first day of the count: the last activity, otherwise the contract's start or the tenant's creation.

    Days before the tenant's creation do not count, even with older imported activity or an older contract. A contract that starts after the
    last activity does not count, because contracts are renewed.
    """
    began_on = last_activity_on or contract_start or created_on
    return min(max(began_on, created_on), business_date)


def changes(
    before: Stage, now: Stage, *, was_active_since: bool, is_excluded: bool = False
) -> tuple[StageChange, ...]:
    """The changes between two judgements: more than one only if a user ``was_active_since`` the earlier judgement.

    Activity ends the period's stage first, so a stage that is reached afterwards is new.
    """
    if was_active_since and before is not Stage.NONE:
        reset = StageChange(before, Stage.NONE, StageReason.ACTIVITY)
        return reset, *changes(Stage.NONE, now, was_active_since=False)
    if now is before:
        return ()
    if now.rank > before.rank:
        return (StageChange(before, now, StageReason.INACTIVITY),)
    return (StageChange(before, now, StageReason.EXCLUDED if is_excluded else StageReason.SETTINGS),)
