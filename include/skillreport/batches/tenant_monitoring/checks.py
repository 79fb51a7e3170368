"""The checks of a tenant, and the calculation of breaches. Pure: figures and settings in, breaches with their evidence out.

Source: BATCH-018-03's rules; the thresholds are settings. A check without data (no calls, an hour that was not measured, no history) has no
result, which is neither a breach nor clean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from statistics import median
from typing import TypeAlias

from include.skillreport.batches.tenant_monitoring.anomalies import LEAST_WEEKS, Score, score, weeks_of
from include.skillreport.batches.tenant_monitoring.incidents import Breach, BreachSeverity
from include.skillreport.batches.tenant_monitoring.settings import MonitoringSettings
from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from include.skillreport.billing.settings import UsageSettings

# Failing batches that the evidence lists in full.
_LISTED_BATCHES = 2
_REASON_LIMIT = 80

# The smallest replacement for a MAD of 0: one call, one login, one percentage point, a tenth of a second.
_LEAST_SPREAD = Decimal(1)
_LEAST_SPREAD_SECONDS = Decimal("0.1")

# A ratio of at least this to the usual value is shown as a multiple, otherwise in percent.
_TIMES = Decimal("1.5")


class Check(StrEnum):
    """The checks, in the order in which the digest lists them."""

    ERROR_RATE = "error_rate"
    RESPONSE_TIME = "response_time"
    API_CALLS = "api_calls"
    FAILED_LOGINS = "failed_logins"
    FAILING_BATCHES = "failing_batches"
    STUCK_NOTIFICATIONS = "stuck_notifications"
    STORAGE_QUOTA = "storage_quota"
    API_QUOTA = "api_quota"
    CONTRACT_END = "contract_end"


@dataclass(frozen=True)
class CheckText:
    """The texts about a check: its name, and the action after a breach of one tenant or of the platform.

    A check without ``platform_action`` never opens a platform incident, regardless of the number of breaching tenants.
    """

    name: str
    action: str
    platform_action: str | None = None


TEXTS: Mapping[Check, CheckText] = {
    Check.ERROR_RATE: CheckText(
        "エラー率",
        "SYS_SystemLog で 5xx の URL を確認し、アプリ担当へ連絡",
        "アプリとデータベースの障害を疑い、アプリ担当へ直ちに連絡",
    ),
    Check.RESPONSE_TIME: CheckText(
        "平均応答時間",
        "SYS_SystemLog で遅い URL を確認し、アプリ担当へ連絡",
        "サーバーとデータベースの負荷を確認し、アプリ担当へ直ちに連絡",
    ),
    Check.API_CALLS: CheckText(
        "API 呼び出し数",
        "急増なら連携の暴走や攻撃、急減なら接続障害を疑い、テナントへ確認",
        "急減ならネットワークとログイン基盤、急増なら攻撃を疑い、アプリ担当へ直ちに連絡",
    ),
    Check.FAILED_LOGINS: CheckText(
        "ログイン失敗",
        "HIS_AuditLog で接続元とアカウントを確認。攻撃なら対象アカウントを止める",
        "ログイン基盤の障害か攻撃を疑い、アプリ担当とセキュリティ担当へ直ちに連絡",
    ),
    Check.FAILING_BATCHES: CheckText(
        "失敗中のバッチ",
        "ボードの「昨夜」で、そのバッチの「対処」のとおりにする",
        "最新の失敗した実行のログを開き、共通の原因（接続、ディスク、ホストの変更）を除く",
    ),
    Check.STUCK_NOTIFICATIONS: CheckText(
        "滞留中の通知",
        "operate_notifications を操作「一覧」で Trigger し、理由を確認",
        "batch_019_01 と batch_019_02 が動いているか、接続 skill_batch_smtp を確認",
    ),
    Check.STORAGE_QUOTA: CheckText("保存容量", "テナント管理者へ整理か増量を案内"),
    Check.API_QUOTA: CheckText("今月の API 呼び出し", "テナント管理者へ上限の引き上げを案内"),
    Check.CONTRACT_END: CheckText("契約終了", "営業担当へ更新の有無を確認"),
}


@dataclass(frozen=True)
class HourMeasure:
    """The events of one hour. ``response_ms`` is the total over ``responses`` calls. None: the host has no source."""

    api_calls: int | None
    errors: int | None
    responses: int | None
    response_ms: int | None
    failed_logins: int | None


@dataclass(frozen=True)
class WaitingMessages:
    """Messages due for ``hours`` (whole), in the batches' outbox or in the application's log."""

    is_ours: bool
    hours: int
    messages: int


@dataclass(frozen=True)
class FailingBatch:
    """A batch whose latest run failed for the tenant."""

    batch_id: str
    business_date: date
    reason: str


@dataclass(frozen=True)
class Figures:
    """A tenant at the end of ``hour`` (aware). ``measure`` is None if the hour was not measured; ``past`` contains the measured usual
    hours.

    Storage and calls are None if the host has no source for them.
    """

    hour: datetime
    measure: HourMeasure | None
    past: Mapping[datetime, HourMeasure]
    storage_bytes: int | None
    month_api_calls: int | None
    waiting: Sequence[WaitingMessages]
    failing: Sequence[FailingBatch]
    contract_end: date | None
    today: date


@dataclass(frozen=True)
class Limits:
    """The lowest values at which a figure is a warning, and critical."""

    warning: Decimal | int
    critical: Decimal | int
    unit: str

    def in_words(self) -> str:
        return f"警告 {number(self.warning)} {self.unit}、重大 {number(self.critical)} {self.unit}"


# By check: a breach, or None for clean. A check without data is absent.
Results: TypeAlias = dict[Check, Breach | None]


def run_checks(figures: Figures, settings: MonitoringSettings, usage: UsageSettings) -> Results:
    """The result of every check with data. ``usage`` contains the tenant's allowances."""
    results: Results = {}
    if figures.measure is not None:
        _check_hour(results, figures, figures.measure, settings)
    results[Check.FAILING_BATCHES] = _failing_batches(figures, settings)
    results[Check.STUCK_NOTIFICATIONS] = _stuck_notifications(figures, settings)
    if figures.storage_bytes is not None:
        results[Check.STORAGE_QUOTA] = _quota(
            "保存容量", Decimal(figures.storage_bytes) / BYTES_PER_GB, usage.storage_gb, "GB", settings
        )
    if figures.month_api_calls is not None:
        results[Check.API_QUOTA] = _quota(
            "今月の API 呼び出し", Decimal(figures.month_api_calls), usage.api_calls_per_month, "件", settings
        )
    results[Check.CONTRACT_END] = _contract_end(figures.contract_end, figures.today, settings)
    return results


def number(value: Decimal | int, places: int = 2) -> str:
    """A figure as text: rounded half up, thousands grouped, no trailing zeros; a small figure keeps two significant digits."""
    exact = Decimal(value)
    if 0 < abs(exact) < Decimal(1).scaleb(1 - places):
        places = 1 - exact.adjusted()
    rounded = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if places else text


def _check_hour(
    results: Results, figures: Figures, measure: HourMeasure, settings: MonitoringSettings
) -> None:
    rate = _error_rate(measure, settings)
    if rate is not None:
        results[Check.ERROR_RATE] = _less_is_better(
            f"エラー率 {number(rate, 1)} % = {measure.errors or 0:,} / {measure.api_calls or 0:,} 件",
            rate,
            Limits(settings.error_rate_warning_percent, settings.error_rate_critical_percent, "%"),
            _usual(figures, lambda past: _error_rate(past, settings)),
            settings,
        )
    seconds = _response_seconds(measure, settings)
    if seconds is not None:
        total = number(Decimal(measure.response_ms or 0) / 1000, 1)
        results[Check.RESPONSE_TIME] = _less_is_better(
            f"平均応答 {number(seconds)} 秒 = {total} 秒 / {measure.responses or 0:,} 件",
            seconds,
            Limits(settings.response_warning_seconds, settings.response_critical_seconds, "秒"),
            _usual(figures, lambda past: _response_seconds(past, settings)),
            settings,
            least_spread=_LEAST_SPREAD_SECONDS,
        )
    calls, usual = measure.api_calls, _usual(figures, lambda past: _known(past.api_calls))
    if calls and usual:
        is_worth_a_look = max(Decimal(calls), median(usual)) >= settings.anomaly_min_calls
        results[Check.API_CALLS] = _anomaly(
            f"API 呼び出し {calls:,} 件", Decimal(calls), usual if is_worth_a_look else [], settings
        )
    if measure.failed_logins is None:
        return
    failed = Decimal(measure.failed_logins)
    is_worth_a_look = failed >= settings.anomaly_min_failed_logins
    results[Check.FAILED_LOGINS] = _less_is_better(
        f"ログイン失敗 {measure.failed_logins:,} 件",
        failed,
        Limits(settings.failed_logins_warning, settings.failed_logins_critical, "件"),
        _usual(figures, lambda past: _known(past.failed_logins)) if is_worth_a_look else [],
        settings,
    )


def _error_rate(measure: HourMeasure, settings: MonitoringSettings) -> Decimal | None:
    """Percent; None if there are too few calls for a rate."""
    if measure.api_calls is None or measure.errors is None or measure.api_calls < settings.min_calls:
        return None
    return Decimal(measure.errors) * 100 / measure.api_calls


def _response_seconds(measure: HourMeasure, settings: MonitoringSettings) -> Decimal | None:
    if measure.responses is None or measure.response_ms is None or measure.responses < settings.min_calls:
        return None
    return Decimal(measure.response_ms) / measure.responses / 1000


def _known(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _usual(figures: Figures, value_of: Callable[[HourMeasure], Decimal | None]) -> list[Decimal]:
    """The values of the usual hours; empty if they come from fewer than three weeks."""
    values = {hour: value for hour, past in figures.past.items() if (value := value_of(past)) is not None}
    return list(values.values()) if weeks_of(values, figures.hour) >= LEAST_WEEKS else []


def _less_is_better(
    arithmetic: str,
    value: Decimal,
    limits: Limits,
    usual: Sequence[Decimal],
    settings: MonitoringSettings,
    *,
    least_spread: Decimal = _LEAST_SPREAD,
) -> Breach | None:
    """A breach of the fixed limits, which are the stronger evidence, otherwise of the usual values."""
    return _limit(value, limits, arithmetic) or _anomaly(
        arithmetic, value, usual, settings, least_spread=least_spread, is_low_harmless=True
    )


def _anomaly(
    arithmetic: str,
    value: Decimal,
    usual: Sequence[Decimal],
    settings: MonitoringSettings,
    *,
    least_spread: Decimal = _LEAST_SPREAD,
    is_low_harmless: bool = False,
) -> Breach | None:
    """A warning if the value is far from the usual values. None if there are no usual values."""
    if not usual:
        return None
    found = score(value, usual, floor_percent=settings.anomaly_floor_percent, least_spread=least_spread)
    change = value - found.median
    if (is_low_harmless and change < 0) or abs(found.z) <= settings.anomaly_score:
        return None
    if abs(change) * 100 < settings.anomaly_min_change_percent * found.median:
        return None
    return Breach(BreachSeverity.WARNING, f"{arithmetic}。{_in_words(found)}\n{_arithmetic(found)}")


def _in_words(found: Score) -> str:
    """The distance from the usual value, in words."""
    if not found.median:
        return "ふだんのこの時間帯は 0 です"
    usual = f"ふだんのこの時間帯（{number(found.median)}）"
    ratio = found.value / found.median
    return (
        f"{usual}の約 {number(ratio, 1)} 倍です"
        if ratio >= _TIMES
        else f"{usual}の約 {number(ratio * 100, 0)} % です"
    )


def _arithmetic(found: Score) -> str:
    spread = number(found.mad) if found.mad else f"0（{number(found.spread)} とみなす）"
    return (
        f"計算: 同じ時間帯の中央値 {number(found.median)}、ふだんのばらつき {spread}、外れの点数 {number(found.z)}"
        f" = 0.6745 × ({number(found.value)} − {number(found.median)}) / {number(found.spread)}"
    )


def _limit(value: Decimal, limits: Limits, arithmetic: str) -> Breach | None:
    if value < limits.warning:
        return None
    severity = BreachSeverity.CRITICAL if value >= limits.critical else BreachSeverity.WARNING
    return Breach(severity, f"{arithmetic}（{limits.in_words()}）")


def _quota(
    name: str, used: Decimal, allowance: Decimal | int | None, unit: str, settings: MonitoringSettings
) -> Breach | None:
    """Without an allowance, or with an allowance of 0 (the field's default), there is no breach."""
    if not allowance:
        return None
    percent = used * 100 / allowance
    return _limit(
        percent,
        Limits(settings.quota_warning_percent, settings.quota_critical_percent, "%"),
        f"{name} {number(percent, 1)} % = {number(used)} / {number(allowance)} {unit}",
    )


def _failing_batches(figures: Figures, settings: MonitoringSettings) -> Breach | None:
    listed = [
        f"{failing.batch_id}（業務日 {failing.business_date:%m-%d}）: {_shortened(failing.reason)}"
        for failing in figures.failing[:_LISTED_BATCHES]
    ]
    more = len(figures.failing) - len(listed)
    return _limit(
        Decimal(len(figures.failing)),
        Limits(settings.failing_batches_warning, settings.failing_batches_critical, "件"),
        f"失敗中のバッチ {len(figures.failing)} 件: {'、'.join(listed)}"
        + (f"、ほか {more} 件" if more else ""),
    )


def _stuck_notifications(figures: Figures, settings: MonitoringSettings) -> Breach | None:
    ours, theirs = (
        sum(
            waiting.messages
            for waiting in figures.waiting
            if waiting.is_ours is is_ours and waiting.hours >= hours
        )
        for is_ours, hours in ((True, settings.stuck_outbox_hours), (False, settings.stuck_host_hours))
    )
    return _limit(
        Decimal(ours + theirs),
        Limits(settings.stuck_messages_warning, settings.stuck_messages_critical, "件"),
        f"滞留中の通知 {ours + theirs:,} 件 = 送信箱で {settings.stuck_outbox_hours} 時間以上 {ours:,} 件"
        f" + 通知ログで {settings.stuck_host_hours} 時間以上 {theirs:,} 件",
    )


def _contract_end(contract_end: date | None, today: date, settings: MonitoringSettings) -> Breach | None:
    if contract_end is None:
        return None
    days = (contract_end - today).days
    if days < 0:
        return Breach(
            BreachSeverity.CRITICAL,
            f"契約は {contract_end:%Y-%m-%d} に終了（{-days} 日経過）。テナントは稼働中のまま",
        )
    if days > settings.contract_end_days:
        return None
    return Breach(
        BreachSeverity.WARNING,
        f"契約終了まで {days} 日 = {contract_end:%Y-%m-%d} − {today:%Y-%m-%d}（警告 {settings.contract_end_days} 日以内）",
    )


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _REASON_LIMIT else f"{line[: _REASON_LIMIT - 1]}…"
