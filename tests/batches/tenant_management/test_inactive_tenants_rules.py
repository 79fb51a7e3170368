"""BATCH-018-04's rules: the number of days, the stage, the steps between two judgements, and the operators' digest."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.batches.inactive_tenants.digest import InactiveTenant, digest_lines
from include.skillreport.batches.inactive_tenants.rules import (
    Stage,
    StageChange,
    StageReason,
    changes,
    counted_from,
    days_since,
    latest_activity,
    stage_of,
)
from include.skillreport.batches.inactive_tenants.settings import InactivitySettings
from include.skillreport.core.errors import SettingsError

DEFAULTS = InactivitySettings.load()
DAY = date(2026, 10, 31)
NONE, ATTENTION, WARNING, CRITICAL = Stage


@pytest.mark.parametrize(
    ("days", "stage"),
    [
        (0, NONE),
        (29, NONE),
        (30, ATTENTION),
        (59, ATTENTION),
        (60, WARNING),
        (89, WARNING),
        (90, CRITICAL),
        (9_999, CRITICAL),
    ],
)
def test_a_stage_begins_on_its_day(days: int, stage: Stage) -> None:
    assert stage_of(days, DEFAULTS) is stage


@given(
    st.lists(st.integers(1, 4_000), min_size=3, max_size=3, unique=True).map(sorted), st.integers(0, 5_000)
)
def test_stages_rise_with_days_and_begin_exactly_at_their_settings(thresholds: list[int], days: int) -> None:
    attention, warning, critical = thresholds
    settings = InactivitySettings(
        attention_days=attention, warning_days=warning, critical_days=critical, include_trial=False
    )
    assert stage_of(days, settings).rank == sum(days >= threshold for threshold in thresholds)
    assert stage_of(days, settings).rank <= stage_of(days + 1, settings).rank


@pytest.mark.parametrize(
    ("since", "business_date", "days"),
    [
        (date(2026, 10, 30), date(2026, 10, 31), 1),
        (date(2026, 9, 30), date(2026, 10, 31), 31),
        (date(2026, 1, 31), date(2026, 3, 1), 29),  # a February without the 29th
        (date(2028, 1, 31), date(2028, 3, 1), 30),  # and one with it
        (date(2028, 2, 29), date(2029, 2, 28), 365),
        (date(2026, 12, 31), date(2027, 1, 1), 1),
        (date(2026, 10, 31), date(2026, 10, 31), 0),
        (date(2026, 11, 30), date(2026, 10, 31), 0),  # begins in the future
    ],
)
def test_days_are_calendar_days(since: date, business_date: date, days: int) -> None:
    assert days_since(since, business_date) == days


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 4_000))
def test_every_day_adds_one(since: date, days: int) -> None:
    assert days_since(since, since + timedelta(days=days)) == days


@pytest.mark.parametrize(
    ("seen", "known", "latest"),
    [
        (None, None, None),
        (date(2026, 10, 1), None, date(2026, 10, 1)),
        (None, date(2026, 10, 1), date(2026, 10, 1)),  # the log was cleaned since
        (date(2026, 10, 1), date(2026, 10, 2), date(2026, 10, 2)),
        (date(2026, 10, 1), date(2026, 11, 1), date(2026, 10, 1)),  # known from a later day
        (None, date(2026, 11, 1), None),
        (DAY, None, DAY),
    ],
)
def test_the_latest_activity_counts_up_to_the_business_date(
    seen: date | None, known: date | None, latest: date | None
) -> None:
    assert latest_activity(seen, known, DAY) == latest


@pytest.mark.parametrize(
    ("last_activity_on", "created_on", "contract_start", "since"),
    [
        (date(2026, 8, 1), date(2026, 4, 1), None, date(2026, 8, 1)),
        (date(2026, 8, 1), date(2026, 4, 1), date(2026, 10, 1), date(2026, 8, 1)),  # a renewed contract
        (None, date(2026, 4, 1), None, date(2026, 4, 1)),
        (None, date(2026, 4, 1), date(2026, 6, 1), date(2026, 6, 1)),
        (None, date(2026, 10, 30), date(2020, 4, 1), date(2026, 10, 30)),  # moved here yesterday
        (date(2020, 8, 1), date(2026, 10, 30), None, date(2026, 10, 30)),  # with the data of years
        (None, date(2026, 4, 1), date(2027, 1, 1), DAY),
    ],
)
def test_days_are_counted_from_the_last_activity_or_the_beginning(
    last_activity_on: date | None, created_on: date, contract_start: date | None, since: date
) -> None:
    assert counted_from(last_activity_on, created_on, contract_start, DAY) == since


@pytest.mark.parametrize(
    ("before", "now", "was_active_since", "is_excluded", "expected"),
    [
        (NONE, NONE, True, False, ()),
        (NONE, ATTENTION, False, False, (StageChange(NONE, ATTENTION, StageReason.INACTIVITY),)),
        (NONE, CRITICAL, False, False, (StageChange(NONE, CRITICAL, StageReason.INACTIVITY),)),
        (WARNING, WARNING, False, False, ()),
        (CRITICAL, NONE, True, False, (StageChange(CRITICAL, NONE, StageReason.ACTIVITY),)),
        (CRITICAL, WARNING, False, False, (StageChange(CRITICAL, WARNING, StageReason.SETTINGS),)),
        (CRITICAL, NONE, False, True, (StageChange(CRITICAL, NONE, StageReason.EXCLUDED),)),
        (
            WARNING,
            WARNING,
            True,
            False,
            (
                StageChange(WARNING, NONE, StageReason.ACTIVITY),
                StageChange(NONE, WARNING, StageReason.INACTIVITY),
            ),
        ),
    ],
)
def test_the_steps_between_two_judgements(
    before: Stage, now: Stage, was_active_since: bool, is_excluded: bool, expected: tuple[StageChange, ...]
) -> None:
    assert changes(before, now, was_active_since=was_active_since, is_excluded=is_excluded) == expected


@given(st.sampled_from(Stage), st.sampled_from(Stage), st.booleans(), st.booleans())
def test_steps_lead_between_stages_and_only_inactivity_raises_one(
    before: Stage, now: Stage, was_active_since: bool, is_excluded: bool
) -> None:
    stage = before
    for step in changes(before, now, was_active_since=was_active_since, is_excluded=is_excluded):
        assert step.from_stage is stage
        assert (step.reason is StageReason.INACTIVITY) == (step.to_stage.rank > step.from_stage.rank)
        stage = step.to_stage
    assert stage is now


@pytest.mark.parametrize(
    "overrides",
    [
        {"attention_days": "60"},  # as many as a warning
        {"critical_days": "45"},
        {"warning_days": "0"},
        {"warning_days": "sixty"},
        {"warning_days": "60.5"},
        {"include_trial": "perhaps"},
        {"no_such_setting": "1"},
    ],
)
def test_invalid_or_unordered_days_are_refused_by_name(
    overrides: dict[str, str | None],
) -> None:
    with pytest.raises(SettingsError, match=r"batch\.inactivity") as raised:
        DEFAULTS.overridden(overrides)
    assert next(iter(overrides)) in str(raised.value)


def test_a_tenants_own_days_stand_in_for_the_installations() -> None:
    own = DEFAULTS.overridden({"critical_days": "180", "include_trial": "true"})
    assert own == InactivitySettings(
        attention_days=30, warning_days=60, critical_days=180, include_trial=True
    )


def inactive(code: str, stage: Stage, days: int, *, is_new: bool = True) -> InactiveTenant:
    return InactiveTenant(code, f"{code} 社", stage, days, DAY - timedelta(days=days), is_new)


def test_the_digest_lists_what_is_new_worst_first_and_counts_the_rest() -> None:
    lines = digest_lines(
        DAY,
        [
            inactive("A", ATTENTION, 30),
            inactive("C", CRITICAL, 90),
            inactive("D", CRITICAL, 400, is_new=False),
            inactive("B", CRITICAL, 200),
            InactiveTenant("E", "名前\nは【重大】", WARNING, 61, None, is_new=True),
        ],
    )
    assert lines == [
        "非アクティブテナント（2026-10-31）: 重大 3、警告 1、注意 1、うち新規 4",
        "・【重大】B B 社: 200 日（最終利用 2026-04-14）",
        "・【重大】C C 社: 90 日（最終利用 2026-08-02）",
        "・【警告】E 名前 は【重大】: 61 日（利用実績なし）",
        "・【注意】A A 社: 30 日（最終利用 2026-10-01）",
        "→ 重大: 営業担当へ契約を続けるか確認",
        "→ 警告: 営業担当へ利用状況の確認を依頼",
        "→ 注意: 対応は不要です",
    ]


@given(st.integers(0, 40))
def test_the_digest_never_lists_more_than_ten(count: int) -> None:
    lines = digest_lines(DAY, [inactive(f"T{number:02}", WARNING, 60 + number) for number in range(count)])
    assert len(lines) == 1 + min(count, 10) + (count > 10) + (count > 0)
    assert lines[0].endswith(f"うち新規 {count}")
    if count > 10:
        assert lines[-2] == f"ほか {count - 10} テナント"
