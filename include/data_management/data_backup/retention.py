"""Which backups stay: the last one of each of the newest days, ISO weeks and months."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date

from include.settings import RetentionSettings

# Whatever the settings say.
ALWAYS_KEPT = 3


@dataclass(frozen=True, order=True)
class VerifiedBackup:
    """A backup that was restored and found whole; ``taken_on`` is its business date (Asia/Tokyo). Ids of one day sort by time."""

    taken_on: date
    backup_id: str


def backups_to_keep(backups: Sequence[VerifiedBackup], settings: RetentionSettings) -> set[str]:
    """The ids of those that stay. Periods without a backup do not count, so that an outage costs no old backup."""
    newest_first = sorted(backups, reverse=True)
    kept = {backup.backup_id for backup in newest_first[:ALWAYS_KEPT]}
    periods: tuple[tuple[int, Callable[[date], Hashable]], ...] = (
        (settings.daily, lambda day: day),
        (settings.weekly, lambda day: day.isocalendar()[:2]),
        (settings.monthly, lambda day: (day.year, day.month)),
    )
    for count, period_of in periods:
        last_of: dict[Hashable, str] = {}
        for backup in newest_first:
            last_of.setdefault(period_of(backup.taken_on), backup.backup_id)
        kept.update(list(last_of.values())[:count])
    return kept
