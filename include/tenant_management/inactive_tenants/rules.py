"""How long a tenant has been without anybody, and which stage that is. Pure: dates and settings in, stages out.

Source: BATCH-018-04's rules; the days are settings. All dates are Asia/Tokyo, and "today" is the run's business date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from include.settings import InactivitySettings


class Stage(StrEnum):
    """From nothing to the worst, in this order."""

    NONE = "none"
    ATTENTION = "attention"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Stage).index(self)


class Reason(StrEnum):
    """Why a stage changed. Only inactivity raises one, and only that is told to anybody."""

    INACTIVITY = "inactivity"
    ACTIVITY = "activity"
    EXCLUDED = "excluded"
    SETTINGS = "settings"


@dataclass(frozen=True)
class Change:
    """One step from a stage to another."""

    from_stage: Stage
    to_stage: Stage
    reason: Reason


def days_since(since: date, business_date: date) -> int:
    """Whole days; what lies ahead is no days ago."""
    return max(0, (business_date - since).days)


def stage_of(days: int, settings: InactivitySettings) -> Stage:
    """The stage of a tenant that nobody has used for so many days."""
    if days >= settings.critical_days:
        return Stage.CRITICAL
    if days >= settings.warning_days:
        return Stage.WARNING
    if days >= settings.attention_days:
        return Stage.ATTENTION
    return Stage.NONE


def latest_activity(seen: date | None, known: date | None, business_date: date) -> date | None:
    """Of what the logs show and what earlier runs saw, the later; what is known of after the business date does not count."""
    days = [day for day in (seen, known) if day is not None and day <= business_date]
    return max(days, default=None)


def counted_from(
    last_activity_on: date | None, created_on: date, contract_start: date | None, business_date: date
) -> date:
    """The day from which a tenant's days are counted: of the last activity, or without any of the contract's start or the creation.

    Nobody was absent before the tenant was created, whatever older activity was imported with it or older contract it came with. The
    start of a contract that somebody was active before says nothing: contracts are renewed.
    """
    began_on = last_activity_on or contract_start or created_on
    return min(max(began_on, created_on), business_date)


def changes(
    before: Stage, now: Stage, *, was_active_since: bool, is_excluded: bool = False
) -> tuple[Change, ...]:
    """The steps between two judgements, one or none unless somebody ``was_active_since`` the one before.

    Activity ends a period of inactivity: a stage that was reached in it is left first, and one that is reached since then is new.
    """
    if was_active_since and before is not Stage.NONE:
        reset = Change(before, Stage.NONE, Reason.ACTIVITY)
        return reset, *changes(Stage.NONE, now, was_active_since=False)
    if now is before:
        return ()
    if now.rank > before.rank:
        return (Change(before, now, Reason.INACTIVITY),)
    return (Change(before, now, Reason.EXCLUDED if is_excluded else Reason.SETTINGS),)
