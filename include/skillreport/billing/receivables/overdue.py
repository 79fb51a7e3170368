"""When a reminder of an overdue invoice is due. Pure; days are Asia/Tokyo dates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta

# Older reminders are not sent. Otherwise, an installation that starts to send reminders would send them for all past invoices without a
# recorded payment.
LONGEST_DELAY = timedelta(days=30)


def due_reminder(
    due_on: date, today: date, reminder_days: Sequence[int], queued: Collection[int] = ()
) -> int | None:
    """The reminder to send today, as the number of days after the due date, or None.

    It is the latest due stage. Missed earlier stages are not sent, and no stage is sent twice.
    """
    due = [days for days in reminder_days if due_on + timedelta(days=days) <= today]
    if not due:
        return None
    stage = max(due)
    is_late = today - (due_on + timedelta(days=stage)) > LONGEST_DELAY
    return None if is_late or any(days >= stage for days in queued) else stage


def due_dates_to_remind(today: date, reminder_days: Sequence[int]) -> tuple[date, date]:
    """The first and the last due date of invoices that may get a reminder today."""
    return today - timedelta(days=max(reminder_days)) - LONGEST_DELAY, today - timedelta(
        days=min(reminder_days)
    )
