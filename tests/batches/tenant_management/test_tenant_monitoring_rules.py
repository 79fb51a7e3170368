"""BATCH-018-03's pure rules: usual values, breaches, opening and closing of incidents, and the operators' digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.batches.tenant_monitoring.anomalies import Score, score, usual_hours, weeks_of
from include.skillreport.batches.tenant_monitoring.checks import (
    TEXTS,
    Check,
    FailingBatch,
    Figures,
    HourMeasure,
    WaitingMessages,
    number,
    run_checks,
)
from include.skillreport.batches.tenant_monitoring.digest import (
    IncidentNews,
    News,
    PlatformNews,
    What,
    digest_lines,
)
from include.skillreport.batches.tenant_monitoring.incidents import (
    Breach,
    BreachSeverity,
    Incident,
    Recent,
    step,
)
from include.skillreport.batches.tenant_monitoring.settings import MonitoringSettings
from include.skillreport.billing.settings import UsageSettings
from include.skillreport.core.errors import SettingsError

TOKYO = ZoneInfo("Asia/Tokyo")
# A Wednesday; the four before it are no holidays.
HOUR = datetime(2026, 11, 25, 9, tzinfo=TOKYO)
QUIET = HourMeasure(api_calls=0, errors=0, responses=0, response_ms=0, failed_logins=0)


def monitoring() -> MonitoringSettings:
    return MonitoringSettings.load()


def allowances(**values: Any) -> UsageSettings:
    return UsageSettings.load().model_copy(update=values)


def measure(calls: int = 100, errors: int = 0, mean_ms: int = 100, failed_logins: int = 0) -> HourMeasure:
    return HourMeasure(calls, errors, calls, calls * mean_ms, failed_logins)


def figures(now: HourMeasure | None = QUIET, usual: Sequence[HourMeasure] = (), **values: Any) -> Figures:
    """A tenant without problems except those of the test; ``usual`` are the measures of its usual hours, newest first."""
    return Figures(
        **{
            "hour": HOUR,
            "measure": now,
            "past": dict(zip(usual_hours(HOUR), usual, strict=False)),
            "storage_bytes": 0,
            "month_api_calls": 0,
            "waiting": (),
            "failing": (),
            "contract_end": None,
            "today": HOUR.date(),
        }
        | values
    )


def breach(check: Check, of: Figures, settings: MonitoringSettings | None = None) -> Breach | None:
    """The breach of a check that was judged."""
    return run_checks(of, settings or monitoring(), allowances())[check]


def calls_of(*calls: int) -> list[HourMeasure]:
    return [measure(count) for count in calls]


# Usual values -----------------------------------------------------------------------------------------------------------


def scored(value: int, history: Sequence[int]) -> Score:
    return score(
        Decimal(value), [Decimal(past) for past in history], floor_percent=Decimal(5), least_spread=Decimal(1)
    )


@pytest.mark.parametrize(
    ("value", "history", "median", "mad", "z"),
    [
        (250, [100, 102, 98, 101, 99, 103, 97, 100], "100", "1.5", "67.45"),
        (110, [120, 118, 125, 122], "121", "2", "-3.71"),
        (121, [120, 118, 125, 122], "121", "2", "0.00"),
    ],
)
def test_the_modified_z_score_is_0_6745_times_the_distance_in_mads(
    value: int, history: list[int], median: str, mad: str, z: str
) -> None:
    found = scored(value, history)
    assert (found.median, found.mad) == (Decimal(median), Decimal(mad))
    assert f"{found.z:.2f}" == z


def test_a_mad_of_zero_is_replaced_by_a_share_or_one() -> None:
    assert scored(100, [100] * 4).z == 0
    assert scored(110, [100] * 4).spread == 5
    assert scored(3, [0] * 4).spread == 1


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=10), st.integers(0, 10_000))
def test_the_score_never_divides_by_zero_and_keeps_its_sign(history: list[int], value: int) -> None:
    found = scored(value, history)
    assert (found.z > 0, found.z < 0) == (value > found.median, value < found.median)


def days(hour: datetime) -> list[date]:
    return [usual.date() for usual in usual_hours(hour)]


def test_usual_hours_are_the_same_weekday_hour_of_four_weeks() -> None:
    assert usual_hours(HOUR) == [HOUR - timedelta(weeks=weeks) for weeks in (1, 2, 3, 4)]
    assert HOUR not in usual_hours(HOUR)


def test_a_holiday_is_compared_with_sundays_and_holidays_only() -> None:
    labour_thanksgiving_day = datetime(2026, 11, 23, 9, tzinfo=TOKYO)  # a Monday
    assert days(labour_thanksgiving_day) == [
        date(2026, 11, 22),
        date(2026, 11, 15),
        date(2026, 11, 8),
        date(2026, 11, 3),  # a Tuesday, Culture Day
        date(2026, 11, 1),
    ]
    tuesday = datetime(2026, 11, 10, 9, tzinfo=TOKYO)
    assert days(tuesday) == [date(2026, 10, 27), date(2026, 10, 20), date(2026, 10, 13)]


def test_the_hours_are_those_of_japan_whatever_zone_they_come_in() -> None:
    utc = HOUR.astimezone(ZoneInfo("UTC"))
    assert usual_hours(utc) == usual_hours(HOUR)


def test_weeks_are_counted_back_from_the_hour() -> None:
    assert weeks_of([HOUR - timedelta(days=ago) for ago in (1, 7)], HOUR) == 1
    assert weeks_of([HOUR - timedelta(days=ago) for ago in (7, 8, 28)], HOUR) == 3


# Breaches ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "calls", "severity"),
    [
        (4, 100, None),
        (5, 100, BreachSeverity.WARNING),
        (9, 100, BreachSeverity.WARNING),
        (10, 100, BreachSeverity.CRITICAL),
        (31, 250, BreachSeverity.CRITICAL),
    ],
)
def test_an_error_rate_warns_at_5_and_is_critical_at_10(
    errors: int, calls: int, severity: BreachSeverity | None
) -> None:
    found = breach(Check.ERROR_RATE, figures(measure(calls, errors)))
    assert (found and found.severity) == severity


def test_a_breach_carries_its_arithmetic() -> None:
    found = breach(Check.ERROR_RATE, figures(measure(250, 31)))
    assert found == Breach(BreachSeverity.CRITICAL, "エラー率 12.4 % = 31 / 250 件（警告 5 %、重大 10 %）")
    slow = breach(Check.RESPONSE_TIME, figures(measure(250, mean_ms=3_400)))
    assert slow == Breach(
        BreachSeverity.WARNING, "平均応答 3.4 秒 = 850 秒 / 250 件（警告 3 秒、重大 10 秒）"
    )
    many = breach(Check.FAILED_LOGINS, figures(replace(QUIET, failed_logins=120)))
    assert many == Breach(BreachSeverity.CRITICAL, "ログイン失敗 120 件（警告 20 件、重大 100 件）")


@pytest.mark.parametrize(("mean_ms", "severity"), [(2_999, None), (3_000, "warning"), (10_000, "critical")])
def test_a_response_time_warns_at_3_seconds_and_critical_at_10(mean_ms: int, severity: str | None) -> None:
    found = breach(Check.RESPONSE_TIME, figures(measure(20, mean_ms=mean_ms)))
    assert (found and found.severity) == severity


def test_one_error_of_two_calls_is_no_rate() -> None:
    results = run_checks(figures(measure(2, 1)), monitoring(), allowances())
    assert Check.ERROR_RATE not in results
    assert Check.RESPONSE_TIME not in results


def test_zero_traffic_is_neither_a_breach_nor_clean() -> None:
    results = run_checks(figures(QUIET, calls_of(100, 102, 98, 101)), monitoring(), allowances())
    assert results.keys().isdisjoint({Check.ERROR_RATE, Check.RESPONSE_TIME, Check.API_CALLS})
    assert set(results.values()) == {None}


def test_an_hour_that_was_not_measured_is_not_judged() -> None:
    results = run_checks(figures(None, calls_of(100, 102, 98, 101)), monitoring(), allowances())
    assert results == dict.fromkeys(
        (
            Check.FAILING_BATCHES,
            Check.STUCK_NOTIFICATIONS,
            Check.STORAGE_QUOTA,
            Check.API_QUOTA,
            Check.CONTRACT_END,
        )
    )


@pytest.mark.parametrize(
    ("calls", "past", "evidence"),
    [
        (
            250,
            (100, 102, 98, 101, 99, 103, 97, 100),
            "API 呼び出し 250 件。ふだんのこの時間帯（100）の約 2.5 倍です\n"
            "計算: 同じ時間帯の中央値 100、ふだんのばらつき 1.5、外れの点数 67.45 = 0.6745 × (250 − 100) / 1.5",
        ),
        (
            110,
            (120, 118, 125, 122),
            "API 呼び出し 110 件。ふだんのこの時間帯（121）の約 91 % です\n"
            "計算: 同じ時間帯の中央値 121、ふだんのばらつき 2、外れの点数 -3.71 = 0.6745 × (110 − 121) / 2",
        ),
        (
            250,
            (100, 100, 100, 100),
            "API 呼び出し 250 件。ふだんのこの時間帯（100）の約 2.5 倍です\n"
            "計算: 同じ時間帯の中央値 100、ふだんのばらつき 0（5 とみなす）、外れの点数 20.24 = 0.6745 × (250 − 100) / 5",
        ),
    ],
)
def test_a_number_of_calls_far_from_the_usual_is_an_anomaly(
    calls: int, past: tuple[int, ...], evidence: str
) -> None:
    weeks = {HOUR - timedelta(weeks=ago): measure(count) for ago, count in enumerate(past, start=1)}
    found = breach(Check.API_CALLS, figures(measure(calls), past=weeks))
    assert found == Breach(BreachSeverity.WARNING, evidence)


@pytest.mark.parametrize(
    ("calls", "past"),
    [
        (121, (120, 118, 125, 122)),
        (110, (100, 100, 100, 100)),  # MAD 0
        (1_010, (1_000, 1_001, 999, 1_000)),  # 1 % more, whatever its score
        (40, (4, 5, 6, 5)),  # too few to matter
    ],
)
def test_small_or_usual_differences_are_no_anomaly(calls: int, past: tuple[int, ...]) -> None:
    assert breach(Check.API_CALLS, figures(measure(calls), calls_of(*past))) is None


@pytest.mark.parametrize("past", [(), (100,), (100, 101)])
def test_under_three_weeks_of_history_only_fixed_limits_apply(past: tuple[int, ...]) -> None:
    results = run_checks(figures(measure(250, 31), calls_of(*past)), monitoring(), allowances())
    assert Check.API_CALLS not in results
    assert results[Check.ERROR_RATE] is not None


def test_a_rate_far_above_usual_warns_below_the_fixed_limit() -> None:
    past = [measure(1_000, errors) for errors in (5, 6, 5, 4)]
    found = breach(Check.ERROR_RATE, figures(measure(1_000, 45), past))
    assert found is not None
    assert found.severity is BreachSeverity.WARNING
    assert "中央値 0.5、ふだんのばらつき 0.05" in found.evidence


@pytest.mark.parametrize("check", [Check.ERROR_RATE, Check.RESPONSE_TIME, Check.FAILED_LOGINS])
def test_better_than_usual_is_no_anomaly(check: Check) -> None:
    past = [measure(100, errors, 2_000 + errors, 15 + errors) for errors in (40, 41, 39, 40)]
    assert breach(check, figures(measure(100, 0, 50, 10), past)) is None


def test_hours_with_too_few_calls_are_no_usual_rate() -> None:
    past = [measure(2, 0), measure(2, 0), measure(1_000, 1), measure(2, 0)]
    assert breach(Check.ERROR_RATE, figures(measure(1_000, 40), past)) is None


def test_a_limit_and_an_anomaly_together_are_one_breach() -> None:
    past = [measure(1_000, errors) for errors in (5, 6, 5, 4)]
    found = breach(Check.ERROR_RATE, figures(measure(1_000, 124), past))
    assert found == Breach(BreachSeverity.CRITICAL, "エラー率 12.4 % = 124 / 1,000 件（警告 5 %、重大 10 %）")


@pytest.mark.parametrize(("gigabytes", "severity"), [(15, None), (16, "warning"), (19, "critical")])
def test_a_quota_warns_at_80_percent_and_is_critical_at_95(gigabytes: int, severity: str | None) -> None:
    usage = allowances(storage_gb=Decimal(20), api_calls_per_month=20_000)
    results = run_checks(
        figures(storage_bytes=gigabytes * 1024**3, month_api_calls=gigabytes * 1_000), monitoring(), usage
    )
    for check in (Check.STORAGE_QUOTA, Check.API_QUOTA):
        found = results[check]
        assert (found and found.severity) == severity
    if severity == "critical":
        storage, calls = results[Check.STORAGE_QUOTA], results[Check.API_QUOTA]
        assert storage is not None
        assert storage.evidence == "保存容量 95 % = 19 / 20 GB（警告 80 %、重大 95 %）"
        assert calls is not None
        assert calls.evidence == "今月の API 呼び出し 95 % = 19,000 / 20,000 件（警告 80 %、重大 95 %）"


@pytest.mark.parametrize("quota", [None, Decimal(0)])
def test_without_a_quota_nothing_is_breached(quota: Decimal | None) -> None:
    results = run_checks(figures(storage_bytes=10**15), monitoring(), allowances(storage_gb=quota))
    assert (results[Check.STORAGE_QUOTA], results[Check.API_QUOTA]) == (None, None)


def test_failing_batches_are_named_with_their_reasons() -> None:
    failing = [
        FailingBatch(f"BATCH-018-0{number}", date(2026, 11, 24), "0 で\n割ろうとしました")
        for number in (1, 2, 4)
    ]
    found = breach(Check.FAILING_BATCHES, figures(failing=failing))
    assert found == Breach(
        BreachSeverity.CRITICAL,
        "失敗中のバッチ 3 件: BATCH-018-01（業務日 11-24）: 0 で 割ろうとしました、"
        "BATCH-018-02（業務日 11-24）: 0 で 割ろうとしました、ほか 1 件（警告 1 件、重大 3 件）",
    )


def test_a_message_is_stuck_after_hours_that_depend_on_its_source() -> None:
    fresh = [
        WaitingMessages(is_ours=True, hours=11, messages=9),
        WaitingMessages(is_ours=False, hours=25, messages=9),
    ]
    stuck = [
        WaitingMessages(is_ours=True, hours=12, messages=3),
        WaitingMessages(is_ours=False, hours=26, messages=2),
    ]
    assert breach(Check.STUCK_NOTIFICATIONS, figures(waiting=fresh)) is None
    found = breach(Check.STUCK_NOTIFICATIONS, figures(waiting=fresh + stuck))
    assert found is not None
    assert found.evidence.startswith(
        "滞留中の通知 5 件 = 送信箱で 12 時間以上 3 件 + 通知ログで 26 時間以上 2 件"
    )


@pytest.mark.parametrize(
    ("days_left", "severity"), [(31, None), (30, "warning"), (0, "warning"), (-1, "critical")]
)
def test_a_contract_warns_30_days_before_its_end_and_critical_after(
    days_left: int, severity: str | None
) -> None:
    end = HOUR.date() + timedelta(days=days_left)
    found = breach(Check.CONTRACT_END, figures(contract_end=end))
    assert (found and found.severity) == severity


def test_every_threshold_can_be_another_for_one_tenant() -> None:
    own = monitoring().overridden({"error_rate_warning_percent": "20", "error_rate_critical_percent": "40"})
    assert breach(Check.ERROR_RATE, figures(measure(100, 19)), own) is None
    assert breach(Check.API_CALLS, figures(measure(110), calls_of(120, 118, 125, 122)), own) is not None
    calmer = monitoring().overridden({"anomaly_score": "4"})
    assert breach(Check.API_CALLS, figures(measure(110), calls_of(120, 118, 125, 122)), calmer) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("error_rate_warning_percent", "10"),  # not below the critical one
        ("anomaly_score", "-1"),
        ("min_calls", "0"),
        ("platform_percent", "50"),  # the same for all
        ("reminder_hour", "8"),
        ("no_such_threshold", "1"),
    ],
)
def test_an_override_that_does_not_hold_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"batch.monitoring.*{name}"):
        monitoring().overridden({name: value})
    kept, remarks = monitoring().overridden_if_valid({name: value})
    assert kept == monitoring()
    assert [name in remark for remark in remarks] == [True]


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        ("12.45", 1, "12.5"),
        ("1234567", 0, "1,234,567"),
        ("100", 2, "100"),
        ("0.125", 2, "0.13"),
        ("0.00512", 2, "0.0051"),
        ("0", 2, "0"),
        ("-3.70975", 2, "-3.71"),
    ],
)
def test_numbers_are_rounded_half_up_and_have_no_zeros_behind_the_point(
    value: str, places: int, text: str
) -> None:
    assert number(Decimal(value), places) == text


# Incidents --------------------------------------------------------------------------------------------------------------

WARNING = Breach(BreachSeverity.WARNING, "5 %")
CRITICAL = Breach(BreachSeverity.CRITICAL, "12 %")


def play(results: str, start: datetime = HOUR) -> list[tuple[int, Incident | None]]:
    """Incidents after each hour's result: ``w``, ``c`` breaches, ``-`` clean, a blank not judged; with the number of the hour."""
    recent, incident = Recent(), None
    states = []
    for number_of_hour, result in enumerate(results):
        if result != " ":
            recent, incident = step(
                recent,
                incident,
                {"w": WARNING, "c": CRITICAL, "-": None}[result],
                start + timedelta(hours=number_of_hour),
            )
        states.append((number_of_hour, incident))
    return states


def openings(results: str) -> list[tuple[int, datetime, int]]:
    """At which hours an incident opened or reopened, which one, and how often it had been back."""
    found, was_open = [], False
    for hour, incident in play(results):
        is_open = incident is not None and incident.closed_at is None
        if is_open and not was_open:
            assert incident is not None
            found.append((hour, incident.opened_at, incident.reopened))
        was_open = is_open
    return found


def last(results: str) -> Incident | None:
    return play(results)[-1][1]


@pytest.mark.parametrize("results", ["w", "-w-", "w--w", "w--w--w", f"w{' ' * 26}w"])
def test_one_breach_of_three_checks_is_no_incident(results: str) -> None:
    assert last(results) is None


@pytest.mark.parametrize("results", ["ww", "w-w", "-w-w", "w w", "w     w", f"w{' ' * 23}w"])
def test_two_breaches_of_the_last_three_checks_open_an_incident(results: str) -> None:
    assert openings(results) == [(len(results) - 1, HOUR + timedelta(hours=len(results) - 1), 0)]


@pytest.mark.parametrize(
    ("results", "is_closed"),
    [
        ("ww--", False),
        ("ww---", True),
        ("ww--w--", False),
        ("ww-  --", True),
        ("ww--      -", True),
        (f"ww-{' ' * 70}--", True),
        (f"ww{' ' * 70}---", True),
    ],
)
def test_three_clean_checks_in_a_row_close_it(results: str, is_closed: bool) -> None:
    incident = last(results)
    assert incident is not None
    assert (incident.closed_at is not None) is is_closed


def test_trouble_of_two_hours_a_day_is_reported_at_begin_and_end() -> None:
    day = "{}" + " " * 22
    assert len(openings(day.format("w-") + day.format("ww"))) == 1
    incident = last(day.format("ww") + day.format("--") + day.format("--"))
    assert incident is not None
    assert incident.closed_at == HOUR + timedelta(hours=48)


def test_a_value_that_flips_every_hour_is_one_incident() -> None:
    assert len(openings("w-" * 24)) == 1
    incident = last("w-" * 24)
    assert incident is not None
    assert incident.closed_at is None


def test_a_breach_soon_after_closing_reopens_the_same_incident() -> None:
    opened_at = HOUR + timedelta(hours=1)
    assert openings("ww---ww") == [(1, opened_at, 0), (6, opened_at, 1)]
    later = "ww---" + "-" * 6 + "ww"
    assert openings(later) == [(1, opened_at, 0), (12, HOUR + timedelta(hours=12), 0)]


def test_the_severity_rises_and_never_falls_while_it_is_open() -> None:
    assert [incident and incident.severity for _, incident in play("wwcw--")][1:] == [
        *(BreachSeverity.WARNING, BreachSeverity.CRITICAL),
        *[BreachSeverity.CRITICAL] * 3,
    ]


@given(st.text("wc- ", max_size=60))
def test_a_clean_check_opens_no_incident_and_a_breach_closes_none(results: str) -> None:
    before: Incident | None = None
    for hour, incident in play(results):
        was_open = before is not None and before.closed_at is None
        is_open = incident is not None and incident.closed_at is None
        if is_open and not was_open:
            assert results[hour] in "wc"
        if was_open and not is_open:
            assert results[hour] == "-"
        before = incident


# The operators' digest --------------------------------------------------------------------------------------------------

AT = datetime(2026, 11, 25, 10, tzinfo=TOKYO)


def news(
    what: What = What.OPENED, check: Check = Check.ERROR_RATE, code: str = "T001", **values: Any
) -> IncidentNews:
    defaults: dict[str, Any] = {
        "severity": BreachSeverity.CRITICAL,
        "tenant_name": "㈱髙橋",
        "evidence": "エラー率 12.4 % = 31 / 250 件（警告 5 %、重大 10 %）",
        "opened_at": AT - timedelta(hours=5),
        "closed_at": AT if what is What.CLOSED else None,
        "is_recovered": True,
    }
    return IncidentNews(what=what, check=check, tenant_code=code, **{**defaults, **values})


def test_without_news_there_is_no_digest() -> None:
    assert digest_lines(News(AT, [], [], [])) == []


def test_the_digest_says_what_for_whom_and_what_to_do() -> None:
    assert digest_lines(News(AT, [], [news()], [])) == [
        "テナント監視 11-25 10:00: 新規 1（重大 1）",
        "【重大】T001 ㈱髙橋: エラー率 12.4 % = 31 / 250 件（警告 5 %、重大 10 %）",
        "→ エラー率: SYS_SystemLog で 5xx の URL を確認し、アプリ担当へ連絡",
    ]


def test_the_worst_come_first_ten_are_named_and_the_rest_is_counted() -> None:
    warnings = [
        news(code=f"T{number:03}", severity=BreachSeverity.WARNING, check=Check.STORAGE_QUOTA)
        for number in range(12)
    ]
    lines = digest_lines(News(AT, [], [*warnings, news(code="T999"), news(What.REMINDER, code="T500")], []))
    assert lines[0] == "テナント監視 11-25 10:00: 新規 13（重大 1）、継続 1"
    assert lines[1].startswith("【重大】T999")
    assert [line.split()[0] for line in lines[2:11]] == [f"【警告】T{number:03}" for number in range(9)]
    assert lines[11] == "ほか 3 件"
    assert [line[:3] for line in lines[12:14]] == ["→ エ", "→ 保"]
    assert lines[14:] == ["継続中 ほか 1 件"]


def test_the_calculation_of_an_anomaly_has_its_own_line() -> None:
    evidence = "API 呼び出し 250 件。ふだんのこの時間帯（20）の約 12.5 倍です\n計算: 外れの点数 82.96"
    lines = digest_lines(
        News(
            AT,
            [],
            [
                news(check=Check.API_CALLS, evidence=evidence),
                news(What.REMINDER, check=Check.API_CALLS, evidence=evidence),
            ],
            [],
        )
    )
    assert lines[1:3] == [f"【重大】T001 ㈱髙橋: {evidence.splitlines()[0]}", "計算: 外れの点数 82.96"]
    assert lines[4:] == [
        f"継続中【重大】T001 ㈱髙橋: {evidence.splitlines()[0]}、11-25 05:00 から",
        "計算: 外れの点数 82.96",
    ]


def test_a_usual_value_of_nothing_has_no_ratio() -> None:
    weeks = {HOUR - timedelta(weeks=ago): measure(0) for ago in range(1, 5)}
    found = breach(Check.API_CALLS, figures(measure(250), past=weeks))
    assert found is not None
    assert found.evidence.startswith("API 呼び出し 250 件。ふだんのこの時間帯は 0 です\n計算: ")


def test_worse_reopened_closed_and_continuing_incidents_are_marked() -> None:
    lines = digest_lines(
        News(
            AT,
            [],
            [
                news(What.WORSE, code="T001"),
                news(What.REOPENED, code="T002", severity=BreachSeverity.WARNING),
                news(What.CLOSED, code="T003"),
                news(What.CLOSED, code="T004", is_recovered=False),
                news(What.REMINDER, code="T005", check=Check.CONTRACT_END, evidence="契約終了まで 3 日"),
            ],
            ["【孤立した実行】…"],
        )
    )
    assert lines == [
        "テナント監視 11-25 10:00: 悪化 1（重大 1）、再発 1、回復 2、継続 1、バッチ 1",
        "【重大・悪化】T001 ㈱髙橋: エラー率 12.4 % = 31 / 250 件（警告 5 %、重大 10 %）",
        "【警告・再発】T002 ㈱髙橋: エラー率 12.4 % = 31 / 250 件（警告 5 %、重大 10 %）",
        "→ エラー率: SYS_SystemLog で 5xx の URL を確認し、アプリ担当へ連絡",
        "回復（対応は不要です）: T003 エラー率（11-25 05:00〜11-25 10:00）",
        "稼働中でなくなったテナント（対応は不要です）: T004 エラー率（11-25 05:00〜11-25 10:00）",
        "継続中【重大】T005 ㈱髙橋: 契約終了まで 3 日、11-25 05:00 から",
        "→ 契約終了: 営業担当へ更新の有無を確認",
        "【孤立した実行】…",
    ]


def test_a_platform_incident_comes_first_and_silences_the_tenants_own() -> None:
    evidence = "エラー率: 40 % = 200 / 500 テナント（30 % 超で全体障害。T001、T002 ほか）"
    began = PlatformNews(What.OPENED, Check.ERROR_RATE, evidence, AT, None)
    assert digest_lines(News(AT, [began], [news(check=Check.STORAGE_QUOTA)], []))[:3] == [
        "テナント監視 11-25 10:00: 全体障害 発生 1、新規 1（重大 1）",
        f"【全体障害】{evidence}。テナント別の通知は回復まで止めます",
        "→ アプリとデータベースの障害を疑い、アプリ担当へ直ちに連絡",
    ]
    ended = PlatformNews(What.CLOSED, Check.ERROR_RATE, evidence, AT - timedelta(hours=4), AT)
    assert digest_lines(News(AT, [ended], [], [])) == [
        "テナント監視 11-25 10:00: 全体障害 回復 1",
        "【全体障害 回復】エラー率（11-25 06:00〜11-25 10:00）。続いているテナントは個別に通知します",
    ]


def test_begun_and_ended_incidents_are_critical_and_continuing_ones_not() -> None:
    began, goes_on, ended = (
        PlatformNews(what, Check.ERROR_RATE, "…", AT, None)
        for what in (What.OPENED, What.REMINDER, What.CLOSED)
    )
    assert [News(AT, [each], [], []).is_critical for each in (began, goes_on, ended)] == [True, False, True]
    assert {what: News(AT, [], [news(what)], []).is_critical for what in What} == {
        What.OPENED: True,
        What.WORSE: True,
        What.REOPENED: True,
        What.CLOSED: True,
        What.REMINDER: False,
    }
    warnings = [news(what, severity=BreachSeverity.WARNING) for what in What]
    assert not News(AT, [goes_on], [news(What.REMINDER), *warnings], ["【孤立した実行】…"]).is_critical


def test_a_tenants_name_makes_no_line_and_hides_none() -> None:
    (_, line, _) = digest_lines(News(AT, [], [news(code="T\n1", tenant_name="偽の\n行 " + "長" * 200)], []))
    assert line.startswith("【重大】T 1 偽の 行 長")
    assert len(line) < 100


def test_every_check_has_words_for_the_operators() -> None:
    assert TEXTS.keys() == set(Check)
