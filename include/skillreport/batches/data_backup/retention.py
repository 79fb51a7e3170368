"""The backups to keep: the newest, and the last backup of each of the newest days, ISO weeks and months."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from include.skillreport.batches.data_backup.settings import RetentionSettings

# The minimum for all settings.
ALWAYS_KEPT = 3


@dataclass(frozen=True, order=True)
class VerifiedBackup:
    """A backup that was restored and compared. ``taken_on`` is its business date (Asia/Tokyo). ``adopted``: known only from the store.

    An older backup may have a later business date, because a later run for a missed day contains the database at the time of the run.
    """

    taken_on: date
    verified_at: datetime
    backup_id: str
    adopted: bool = False


def backups_to_keep(backups: Sequence[VerifiedBackup], settings: RetentionSettings) -> set[str]:
    """The ids of the backups to keep. Periods without a backup do not count, so an outage deletes no old backup.

    Adopted backups can be deleted, but displace no others.
    """
    own = [backup for backup in backups if not backup.adopted]
    return _kept(own, settings) | _kept(backups, settings)


def _kept(backups: Sequence[VerifiedBackup], settings: RetentionSettings) -> set[str]:
    newest_first = sorted(backups, reverse=True)
    by_verification = sorted(backups, key=lambda backup: backup.verified_at)
    kept = {backup.backup_id for backup in by_verification[-ALWAYS_KEPT:]}
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
