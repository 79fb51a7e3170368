"""Load and validate the settings: the defaults of settings.yaml, and the installation's own file with overrides."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.setting_problems import text_of, validated
from include.skillreport.core.setting_types import (
    LONGEST_DAYS,
    MOST,
    Colour,
    Count,
    Days,
    EmailAddress,
    Flag,
    Hours,
    Percent,
    Positive,
    PositiveInt,
    Quantity,
    QuietHours,
    Range,
    Share,
)
from include.skillreport.core.yaml_files import Node, problem_at, read_text, read_yaml

SETTINGS_FILE = Path(__file__).with_name("settings.yaml")

# The environment variable with the path of the installation's own file. Its values override those of settings.yaml.
SETTINGS_VARIABLE = "SKILL_BATCH_SETTINGS"

# The most processes of pg_dump and pg_restore.
MOST_JOBS = 32

# Replaced as a whole, so that the bank account of the sample is never mixed with a real issuer.
_REPLACED_AS_A_WHOLE = (("billing", "issuer"),)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _TenantSection(_Section):
    """A section whose settings may be overridden for one tenant, by rows of MST_TenantSettings with keys ``batch.<name>.*``."""

    override_name: ClassVar[str]
    same_for_all: ClassVar[frozenset[str]] = frozenset()

    def overridden(self, overrides: Mapping[str, str | None]) -> Self:
        """These settings with a tenant's own values (text) in place of the defaults.

        :raises SettingsError: names each key that is unknown or the same for all tenants, or whose value is not valid.
        """
        settings, problems = self._overridden(overrides)
        if problems:
            raise SettingsError("。".join(problems.values()))
        return settings

    def overridden_if_valid(self, overrides: Mapping[str, str | None]) -> tuple[Self, tuple[str, ...]]:
        """Like ``overridden``, with the default and a remark for each value that is not valid.

        If the valid values contradict each other or a default, all defaults apply.
        """
        settings, problems = self._overridden(overrides)
        if problems:
            valid = {key: value for key, value in overrides.items() if key not in problems}
            settings, contradictions = self._overridden(valid)
            problems |= contradictions
        return settings, tuple(f"{problem}（既定値を使いました）" for problem in problems.values())

    def _overridden(self, overrides: Mapping[str, str | None]) -> tuple[Self, dict[str, str]]:
        """The settings with these values, or without any if there are problems; and the problems by key (empty: of several values)."""
        if not overrides:
            return self, {}
        prefix = f"テナントの設定 batch.{self.override_name}"
        common = dict.fromkeys(
            sorted(self.same_for_all.intersection(overrides)),
            "全テナント共通のため、テナントごとには変えられません",
        )
        try:
            settings = self.model_validate({**self.model_dump(), **overrides})
            found = {}
        except ValidationError as error:
            settings = self
            found = {
                str(problem["loc"][0]) if problem["loc"] else "": text_of(problem)
                for problem in error.errors()
            }
        problems = {
            key: f"{prefix}.{key}".rstrip(".") + f": {text}" for key, text in (found | common).items()
        }
        return (self if problems else settings), problems


class ExecutionSettings(_Section):
    """How a run's tenants are divided among mapped task instances."""

    # Airflow refuses to map over more than core.max_map_length (1024) items.
    max_mapped_tenants: Annotated[int, Range(1, 1000)]
    shards: Annotated[int, Range(1, 1000)]
    tenants_per_shard: Annotated[int, Range(1, 1_000_000)]


class IdentitySettings(_Section):
    """Keys that identify no particular person, and how many unplaced rows make a run partial. Source: ``host_views/people.sql``.

    Some screens of the application write a fixed key for every user. Rows with ``placeholders`` are unplaced. ``watched_keys`` are also
    codes of real employees, so their rows are placed and counted. ``system_keys`` belong to the application itself.
    """

    placeholders: tuple[str, ...]
    watched_keys: tuple[str, ...]
    system_keys: tuple[str, ...]
    unplaced_percent: Share
    unplaced_events: Count

    def known_keys(self) -> dict[str, str]:
        """The kind of each key, as in ``batch.known_key``. A key in two lists has the kind of the last one."""
        return {
            **dict.fromkeys(self.watched_keys, "watched"),
            **dict.fromkeys(self.system_keys, "system"),
            **dict.fromkeys(self.placeholders, "placeholder"),
        }


class UsageSettings(_TenantSection):
    """Thresholds of BATCH-018-01's warnings. A tenant may override them and its plan's allowances."""

    override_name = "usage"
    # One statement reads the history of all tenants of a shard.
    same_for_all = frozenset({"surge_history_days"})

    quota_warning_percent: Percent
    quota_critical_percent: Percent
    surge_percent: Percent
    surge_history_days: Days
    surge_min_history_days: Days
    surge_min_active_users: Count
    surge_min_storage_gb: Quantity
    surge_min_api_calls: Count
    surge_min_reports_generated: Count
    storage_gb: Quantity | None = None
    api_calls_per_month: Annotated[int, Range(0, MOST)] | None = None

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if self.quota_warning_percent >= self.quota_critical_percent:
            raise ValueError(_below("quota_warning_percent", "quota_critical_percent"))
        if self.surge_min_history_days > self.surge_history_days:
            raise ValueError("surge_min_history_days は surge_history_days 以下にしてください")
        return self


def _listed(value: object) -> object:
    """Split a tenant's own value, a text such as ``30, 7, 1``."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",")] if value.strip() else []


# The earliest reminder before a due date.
LONGEST_REMINDER_DAYS = 90


ReminderKinds = Annotated[tuple[Literal["certificate_expiry", "goal_due"], ...], BeforeValidator(_listed)]

DaysBefore = Annotated[
    tuple[Annotated[int, Range(1, LONGEST_REMINDER_DAYS)], ...],
    Field(min_length=1),
    BeforeValidator(_listed),
]


class NotificationSettings(_TenantSection):
    """When BATCH-019 sends, expires and deletes notifications. A tenant may override each setting.

    ``quiet_hours`` (the tenant's time zone) is ``22:00-07:00`` or empty. ``digest`` are the kinds of reminders of which a recipient gets
    one message a run. ``fallback_hours`` is 0 (never) or the hours after which a closed channel's messages go out by e-mail.
    """

    override_name = "notification"

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
            raise ValueError(_below("fallback_hours", "give_up_hours"))
        return self


class InactivitySettings(_TenantSection):
    """Days without activity after which BATCH-018-04 raises a tenant's stage. A tenant may override each setting."""

    override_name = "inactivity"

    attention_days: Days
    warning_days: Days
    critical_days: Days
    include_trial: Flag

    @model_validator(mode="after")
    def _days_rise(self) -> Self:
        if not self.attention_days < self.warning_days < self.critical_days:
            raise ValueError("attention_days、warning_days、critical_days は、この順に大きくしてください")
        return self


class MonitoringSettings(_TenantSection):
    """Thresholds of BATCH-018-03. A tenant may override each setting, except those in ``same_for_all``."""

    override_name = "monitoring"
    same_for_all = frozenset({"platform_percent", "platform_min_tenants", "reminder_hour"})

    error_rate_warning_percent: Percent
    error_rate_critical_percent: Percent
    response_warning_seconds: Positive
    response_critical_seconds: Positive
    min_calls: PositiveInt
    quota_warning_percent: Percent
    quota_critical_percent: Percent
    failed_logins_warning: PositiveInt
    failed_logins_critical: PositiveInt
    failing_batches_warning: PositiveInt
    failing_batches_critical: PositiveInt
    stuck_outbox_hours: Hours
    stuck_host_hours: Hours
    stuck_messages_warning: PositiveInt
    stuck_messages_critical: PositiveInt
    contract_end_days: Annotated[int, Range(0, LONGEST_DAYS)]
    anomaly_score: Positive
    anomaly_min_calls: PositiveInt
    anomaly_min_failed_logins: PositiveInt
    anomaly_min_change_percent: Percent
    anomaly_floor_percent: Percent
    platform_percent: Percent
    platform_min_tenants: PositiveInt
    reminder_hour: Annotated[int, Range(0, 23)]

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        values = self.model_dump()
        for name, warning in values.items():
            critical = name.replace("_warning", "_critical")
            if critical != name and warning >= values[critical]:
                raise ValueError(_below(name, critical))
        return self


class MonthlyReportSettings(_TenantSection):
    """How BATCH-004's reports look and who is notified. A tenant may override each setting.

    ``recipients`` are email addresses (joined by commas in a tenant's own value). Without any, the administrator is notified.
    """

    override_name = "monthly_report"

    colour: Colour
    recipients: Annotated[tuple[EmailAddress, ...], BeforeValidator(_listed)]
    language: Literal["ja", "en"]
    fiscal_start_month: Annotated[int, Range(1, 12)]


class ExternalSyncSettings(_Section):
    """How many links BATCH-019-03 may end in one run without an operator's approval; the same for all tenants.

    The limit is a percentage, or ``most_ending_links`` for a directory with fewer than ``small_directory_links`` links.
    """

    most_ending_percent: Share
    small_directory_links: PositiveInt
    most_ending_links: Count


class RetentionSettings(_Section):
    """How many backups BATCH-001 keeps: the last backup of each of the newest days, ISO weeks and months with a backup."""

    daily: Days
    weekly: Annotated[int, Range(0, 5_300)]
    monthly: Annotated[int, Range(0, 1_200)]


class BackupSettings(_Section):
    """How BATCH-001 creates and keeps backups; the same for all tenants."""

    jobs: Annotated[int, Range(1, MOST_JOBS)]
    compression_level: Annotated[int, Range(1, 19)]
    encrypted: Flag
    least_percent: Share
    compare_percent: Annotated[int, Range(1, 100)]
    retention: RetentionSettings


class LogClassSettings(_Section):
    """After how many days a class of log files is deleted, and whether it is archived before."""

    retention_days: Days
    archived: Flag


class LogRowSettings(_Section):
    """After how many days BATCH-002 deletes old rows."""

    system_log: Days
    expired_token: Days
    execution_log: Days
    performance_metric: Days
    closed_incident: Days
    settled_alert: Days
    # Shorter times would delete rows that a batch still reads.
    login_day: Annotated[int, Range(400, LONGEST_DAYS)]
    statistics: Annotated[int, Range(800, LONGEST_DAYS)]
    statistics_group: Annotated[int, Range(62, LONGEST_DAYS)]
    usage_warning: Annotated[int, Range(62, LONGEST_DAYS)]
    inactivity_change: Days
    setting_change: Days
    directory_change: Days
    ended_suppression: Days
    service_limit: Annotated[int, Range(7, LONGEST_DAYS)]


class LogCleanupSettings(_Section):
    """What BATCH-002 compresses and deletes; the same for all tenants."""

    compress_days: Days
    chunk_rows: Annotated[int, Range(1, 100_000)]
    classes: Annotated[dict[str, LogClassSettings], Field(min_length=1)]
    row_days: LogRowSettings


class Settings(_Section):
    """The whole file."""

    execution: ExecutionSettings
    identity: IdentitySettings
    usage: UsageSettings
    billing: BillingSettings
    notification: NotificationSettings
    inactivity: InactivitySettings
    external_sync: ExternalSyncSettings
    monitoring: MonitoringSettings
    monthly_report: MonthlyReportSettings
    backup: BackupSettings
    log_cleanup: LogCleanupSettings


def parse_settings(text: str, source: str, own_text: str = "{}", own_source: str = "") -> Settings:
    """The settings of ``text`` with the overrides of ``own_text``. A path is relative to the file that contains it.

    :raises SettingsError: names the file, the line, the setting and the problem.
    """
    document = _merged(_sections(text, source), _sections(own_text, own_source))
    return validated(Settings, document)


def load_settings() -> Settings:
    """The settings of settings.yaml with the installation's overrides.

    :raises SettingsError: as ``parse_settings``, or names the file that cannot be read.
    """
    return _load(os.environ.get(SETTINGS_VARIABLE) or None)


@cache
def _load(own_file: str | None) -> Settings:
    shipped = read_text(SETTINGS_FILE)
    if own_file is None:
        return parse_settings(shipped, str(SETTINGS_FILE))
    own = Path(own_file).absolute()
    return parse_settings(shipped, str(SETTINGS_FILE), read_text(own, SETTINGS_VARIABLE), str(own))


def _sections(text: str, source: str) -> Node:
    document = read_yaml(text, source)
    if not isinstance(document.content, dict):
        raise problem_at(source, document.line, (), "設定のまとまり（usage: など）を書いてください")
    billing = document.content.get("billing")
    if billing and isinstance(billing.content, dict) and "price_list" in billing.content:
        price_list = billing.content["price_list"]
        if isinstance(price_list.content, str):
            absolute = str(Path(source).parent / price_list.content)
            billing.content["price_list"] = replace(price_list, content=absolute)
    return document


def _merged(shipped: Node, own: Node, place: tuple[str, ...] = ()) -> Node:
    """``own`` instead of ``shipped``; two mappings are merged key by key."""
    one, other = shipped.content, own.content
    if not (isinstance(one, dict) and isinstance(other, dict)) or place in _REPLACED_AS_A_WHOLE:
        return own
    merged = {
        key: _merged(one[key], node, (*place, key)) if key in one else node for key, node in other.items()
    }
    return replace(own, content=one | merged)


def _below(lower: str, upper: str) -> str:
    return f"{lower} は {upper} より小さくしてください"
