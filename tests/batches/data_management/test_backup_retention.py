"""Which backups stay, as a function of nothing but their dates and when they were verified."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.batches.data_backup.retention import ALWAYS_KEPT, VerifiedBackup, backups_to_keep
from include.skillreport.batches.data_backup.settings import BackupSettings, RetentionSettings

SETTINGS = BackupSettings.load().retention


def taken(day: date, number: int = 1, *, verified_on: date | None = None) -> VerifiedBackup:
    """Verified on the day itself unless said otherwise, in the order of the numbers."""
    on = verified_on or day
    verified_at = datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(minutes=number)
    return VerifiedBackup(day, verified_at, f"BKP_{day:%Y%m%d}_{number:03}")


def test_a_hundred_nights_leave_exactly_the_set() -> None:
    held: list[VerifiedBackup] = []
    for number in range(100):
        held.append(taken(date(2026, 7, 25) + timedelta(days=number)))
        kept = backups_to_keep(held, SETTINGS)
        held = [backup for backup in held if backup.backup_id in kept]
    assert held[-1].taken_on == date(2026, 11, 1)
    assert [backup.taken_on for backup in held] == [
        date(2026, 9, 30),  # last of September
        date(2026, 10, 11),  # Sundays: last of their ISO weeks
        date(2026, 10, 18),
        date(2026, 10, 25),
        date(2026, 10, 26),  # seven days
        date(2026, 10, 27),
        date(2026, 10, 28),
        date(2026, 10, 29),
        date(2026, 10, 30),
        date(2026, 10, 31),  # also last of October
        date(2026, 11, 1),  # also last of its week, and of November so far
    ]


def test_the_last_backup_of_a_day_stays_and_iso_weeks_count() -> None:
    first, second = taken(date(2026, 12, 31)), taken(date(2026, 12, 31), 2)
    later = [taken(date(2027, 1, day)) for day in range(1, 11)]
    kept = backups_to_keep([first, second, *later], SETTINGS)
    assert first.backup_id not in kept
    assert second.backup_id in kept  # December's last
    assert "BKP_20270103_001" in kept  # ISO week 2026-W53 ends on 3 January


def test_adopted_backups_cost_no_other_one_and_can_go_themselves() -> None:
    own = [taken(date(2026, 10, day)) for day in range(1, 31)]
    adopted = [replace(taken(date(2026, 11, day)), adopted=True) for day in range(1, 31)]
    kept = backups_to_keep([*own, *adopted], SETTINGS)
    assert backups_to_keep(own, SETTINGS) <= kept
    assert backups_to_keep(adopted, SETTINGS) < {each.backup_id for each in adopted}
    assert len(kept) < len(own)


def test_the_last_verified_backup_stays_however_old_its_business_date_is() -> None:
    nights = [taken(date(2026, 11, day)) for day in range(1, 6)]
    caught_up = taken(date(2026, 6, 1), verified_on=date(2026, 11, 6))
    kept = backups_to_keep([*nights, caught_up], RetentionSettings(daily=1, weekly=0, monthly=0))
    assert kept == {"BKP_20261104_001", "BKP_20261105_001", "BKP_20260601_001"}


@given(
    st.lists(st.dates(date(2026, 1, 1), date(2027, 12, 31)), min_size=1, max_size=80),
    st.integers(1, 10),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_the_newest_three_always_stay_and_nothing_is_made_up(
    days: list[date], daily: int, weekly: int, monthly: int
) -> None:
    # Verified in the order of the list, whatever the days.
    backups = [taken(day, number, verified_on=date(2028, 1, 1)) for number, day in enumerate(days, 1)]
    kept = backups_to_keep(backups, RetentionSettings(daily=daily, weekly=weekly, monthly=monthly))
    assert kept <= {backup.backup_id for backup in backups}
    assert {backup.backup_id for backup in backups[-ALWAYS_KEPT:]} <= kept
    assert max(backups).backup_id in kept  # the newest day's last
    assert len(kept) <= ALWAYS_KEPT + daily + weekly + monthly
