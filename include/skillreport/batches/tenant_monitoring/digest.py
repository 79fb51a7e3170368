"""The digest of a run for the operators. Pure: news in, lines out. The most urgent news comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from include.skillreport.batches.tenant_monitoring.checks import TEXTS, Check
from include.skillreport.batches.tenant_monitoring.incidents import BreachSeverity
from include.skillreport.core.execution.digest import LISTED, listed, one_line

_NAME_LIMIT = 30

_SEVERITY_NAMES = {BreachSeverity.WARNING: "警告", BreachSeverity.CRITICAL: "重大"}


class What(StrEnum):
    """The change of an incident since it was last reported."""

    OPENED = "opened"
    WORSE = "worse"
    REOPENED = "reopened"
    CLOSED = "closed"
    REMINDER = "reminder"


# These changes need an action now.
_ALARMS = (What.OPENED, What.WORSE, What.REOPENED)
_ALARM_NAMES = {What.OPENED: "新規", What.WORSE: "悪化", What.REOPENED: "再発"}


@dataclass(frozen=True)
class IncidentNews:
    """News of one tenant's incident, with the tenant's code and name. Times are aware, in Asia/Tokyo."""

    what: What
    check: Check
    severity: BreachSeverity
    tenant_code: str
    tenant_name: str
    evidence: str
    opened_at: datetime
    closed_at: datetime | None
    is_recovered: bool


@dataclass(frozen=True)
class PlatformNews:
    """News of a platform incident."""

    what: What
    check: Check
    evidence: str
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True)
class News:
    """All news to report after the check at ``check_at``; ``notices`` are about the batches themselves."""

    check_at: datetime
    platform: Sequence[PlatformNews]
    incidents: Sequence[IncidentNews]
    notices: Sequence[str]

    @property
    def is_critical(self) -> bool:
        """True if a critical incident has begun or ended. The end is sent over the same channel as the beginning."""
        critical = (each.what for each in self.incidents if each.severity is BreachSeverity.CRITICAL)
        return any(what is not What.REMINDER for what in (*critical, *(each.what for each in self.platform)))


def digest_lines(news: News) -> list[str]:
    """The title, platform incidents, tenants with actions, closed incidents, reminders and notices; empty without news."""
    if not (news.platform or news.incidents or news.notices):
        return []
    alarms = sorted((each for each in news.incidents if each.what in _ALARMS), key=_worst_first)
    reminders = sorted((each for each in news.incidents if each.what is What.REMINDER), key=_worst_first)
    closed = sorted((each for each in news.incidents if each.what is What.CLOSED), key=_worst_first)
    return [
        f"テナント監視 {_moment(news.check_at)}: {'、'.join(_figures(news, alarms, reminders, closed))}",
        *_platform_lines(news.platform),
        *_lines(listed(alarms, _alarm, "ほか {} 件")),
        *_actions(alarms),
        *_closed_lines("回復", [each for each in closed if each.is_recovered]),
        *_closed_lines("稼働中でなくなったテナント", [each for each in closed if not each.is_recovered]),
        *_lines(listed(reminders, _reminder, "継続中 ほか {} 件", max(0, LISTED - len(alarms)))),
        *_actions(reminders, {each.check for each in alarms}),
        *news.notices,
    ]


def _figures(
    news: News,
    alarms: Sequence[IncidentNews],
    reminders: Sequence[IncidentNews],
    closed: Sequence[IncidentNews],
) -> Iterator[str]:
    of_platform = Counter("回復" if each.what is What.CLOSED else "発生" for each in news.platform)
    for name, count in of_platform.items():
        yield f"全体障害 {name} {count}"
    by_what = Counter(each.what for each in alarms)
    for what, name in _ALARM_NAMES.items():
        if by_what[what]:
            critical = sum(each.what is what and each.severity is BreachSeverity.CRITICAL for each in alarms)
            yield f"{name} {by_what[what]}" + (f"（重大 {critical}）" if critical else "")
    for name, count in (("回復", len(closed)), ("継続", len(reminders)), ("バッチ", len(news.notices))):
        if count:
            yield f"{name} {count}"


def _platform_lines(platform: Sequence[PlatformNews]) -> Iterator[str]:
    for each in sorted(platform, key=lambda each: list(Check).index(each.check)):
        text = TEXTS[each.check]
        if each.what is What.CLOSED:
            yield f"【全体障害 回復】{text.name}（{_period(each.opened_at, each.closed_at)}）。続いているテナントは個別に通知します"
            continue
        going_on = f"（{_moment(each.opened_at)} から継続）" if each.what is What.REMINDER else ""
        yield f"【全体障害】{each.evidence}{going_on}。テナント別の通知は回復まで止めます"
        yield f"→ {text.platform_action}"


def _lines(texts: Iterator[str]) -> list[str]:
    """The calculation of an anomaly has its own line."""
    return [line for text in texts for line in text.split("\n")]


def _alarm(news: IncidentNews) -> str:
    name = "" if news.what is What.OPENED else f"・{_ALARM_NAMES[news.what]}"
    return f"【{_SEVERITY_NAMES[news.severity]}{name}】{_tenant(news)}: {news.evidence}"


def _reminder(news: IncidentNews) -> str:
    words, *calculation = news.evidence.split("\n")
    told = (
        f"継続中【{_SEVERITY_NAMES[news.severity]}】{_tenant(news)}: {words}、{_moment(news.opened_at)} から"
    )
    return "\n".join((told, *calculation))


def _actions(incidents: Sequence[IncidentNews], told: AbstractSet[Check] = frozenset()) -> Iterator[str]:
    """The actions, once per check, except for checks in ``told``."""
    checks = {each.check for each in incidents} - told
    for check in Check:
        if check in checks:
            yield f"→ {TEXTS[check].name}: {TEXTS[check].action}"


def _closed_lines(title: str, closed: Sequence[IncidentNews]) -> Iterator[str]:
    if closed:
        yield f"{title}（対応は不要です）: {'、'.join(listed(closed, _closed, 'ほか {} 件'))}"


def _closed(news: IncidentNews) -> str:
    return (
        f"{one_line(news.tenant_code)} {TEXTS[news.check].name}（{_period(news.opened_at, news.closed_at)}）"
    )


def _worst_first(news: IncidentNews) -> tuple[bool, int, str]:
    return news.severity is not BreachSeverity.CRITICAL, list(Check).index(news.check), news.tenant_code


def _tenant(news: IncidentNews) -> str:
    """The tenant's name, shortened so that other tenants remain visible."""
    name = one_line(news.tenant_name)
    return f"{one_line(news.tenant_code)} {name if len(name) <= _NAME_LIMIT else f'{name[: _NAME_LIMIT - 1]}…'}".rstrip()


def _moment(moment: datetime) -> str:
    return f"{moment:%m-%d %H:%M}"


def _period(start: datetime, end: datetime | None) -> str:
    return "〜".join(_moment(moment) for moment in (start, end) if moment)
