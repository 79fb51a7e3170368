"""The settings of notifications: when they are sent, expire and are deleted."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from include.skillreport.core.setting_types import Days, Flag, Hours, Listed, QuietHours, Range, below
from include.skillreport.core.settings import TenantSection

# The earliest reminder before a due date.
LONGEST_REMINDER_DAYS = 90


ReminderKinds = Annotated[tuple[Literal["certificate_expiry", "goal_due"], ...], Listed]

DaysBefore = Annotated[
    tuple[Annotated[int, Range(1, LONGEST_REMINDER_DAYS)], ...],
    Field(min_length=1),
    Listed,
]


class NotificationSettings(TenantSection):
    """When BATCH-019 sends, expires and deletes notifications. A tenant may override each setting.

    ``quiet_hours`` (the tenant's time zone) is ``22:00-07:00`` or empty. ``digest`` are the kinds of reminders of which a recipient gets
    one message a run. ``fallback_hours`` is 0 (never) or the hours after which a closed channel's messages go out by e-mail.
    """

    key = "notification"

    expire_hours: Hours
    give_up_hours: Hours
    certificate_days: DaysBefore
    goal_days: DaysBefore
    language: Literal["ja", "en"]
    quiet_hours: QuietHours
    retention_days: Days
    archive_days: Days
    auto_disable: Flag
    own_mail_server: Flag
    digest: ReminderKinds
    fallback_hours: Annotated[int, Range(0, 24 * 30)]
    suppress_days: Annotated[int, Range(1, 3_650)]

    @model_validator(mode="after")
    def _fallback_is_in_time(self) -> Self:
        if self.fallback_hours >= self.give_up_hours:
            raise ValueError(below("fallback_hours", "give_up_hours"))
        return self
