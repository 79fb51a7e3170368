"""Load and validate the settings: the defaults of settings.yaml, and the installation's own file with overrides."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from include.billing_settings import BillingSettings
from include.errors import SettingsError
from include.yaml_files import load_yaml, read_text

SETTINGS_FILE = Path(__file__).with_name("settings.yaml")

# The environment variable with the path of the installation's own file. Its values override those of settings.yaml.
SETTINGS_VARIABLE = "SKILL_BATCH_SETTINGS"

# Replaced as a whole, so that the bank account of the sample is never mixed with a real issuer.
_REPLACED_AS_A_WHOLE = (("billing", "issuer"),)

Percent = Annotated[Decimal, Field(gt=0, le=1000, allow_inf_nan=False)]
Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _TenantSection(_Section):
    """A section whose settings may be overridden for one tenant, by rows of MST_TenantSettings with keys ``batch.<name>.*``."""

    override_name: ClassVar[str]
    same_for_all: ClassVar[frozenset[str]] = frozenset()

    def overridden(self, overrides: Mapping[str, str | None]) -> Self:
        """These settings with a tenant's own values (text) in place of the defaults.

        :raises SettingsError: names a key that is unknown or the same for all tenants, or whose value is not valid.
        """
        prefix = f"tenant setting batch.{self.override_name}."
        common = self.same_for_all.intersection(overrides)
        if common:
            raise SettingsError(f"{prefix}{min(common)}: the same for all tenants")
        try:
            return self.model_validate({**self.model_dump(), **overrides})
        except ValidationError as error:
            raise SettingsError(sentence_of(error, prefix)) from None

    def overridden_if_valid(self, overrides: Mapping[str, str | None]) -> tuple[Self, tuple[str, ...]]:
        """Like ``overridden``; if a value is not valid, returns the defaults and a remark instead of raising."""
        if not overrides:
            return self, ()
        try:
            return self.overridden(overrides), ()
        except SettingsError as error:
            return self, (f"{error}（既定値で判定しました）",)


class ExecutionSettings(_Section):
    """How a run's tenants are divided among mapped task instances."""

    # Airflow refuses to map over more than core.max_map_length (1024) items.
    max_mapped_tenants: Annotated[int, Field(gt=0, le=1000)]
    shards: Annotated[int, Field(gt=0, le=1000)]
    tenants_per_shard: PositiveInt


class IdentitySettings(_Section):
    """Keys that identify no particular person, and how many unplaced rows make a run partial. Source: ``host_views/people.sql``.

    Some screens of the application write a fixed key for every user. Rows with ``placeholders`` are unplaced. ``watched_keys`` are also
    codes of real employees, so their rows are placed and counted. ``system_keys`` belong to the application itself.
    """

    placeholders: tuple[str, ...]
    watched_keys: tuple[str, ...]
    system_keys: tuple[str, ...]
    unplaced_percent: Annotated[Decimal, Field(ge=0, le=100, allow_inf_nan=False)]
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
    surge_history_days: PositiveInt
    surge_min_history_days: PositiveInt
    surge_min_active_users: Count
    surge_min_storage_gb: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
    surge_min_api_calls: Count
    surge_min_reports_generated: Count
    storage_gb: Annotated[Decimal, Field(ge=0)] | None = None
    api_calls_per_month: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if self.quota_warning_percent >= self.quota_critical_percent:
            raise ValueError("quota_warning_percent must be below quota_critical_percent")
        if self.surge_min_history_days > self.surge_history_days:
            raise ValueError("surge_min_history_days must not exceed surge_history_days")
        return self


def _listed(value: object) -> object:
    """Split a tenant's own value, a text such as ``30, 7, 1``."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",")] if value.strip() else []


# The earliest reminder before a due date.
LONGEST_REMINDER_DAYS = 90


def _quiet_hours(value: str) -> str:
    if value and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("must be like 22:00-07:00, or empty")
    return value


EmailAddress = Annotated[str, Field(pattern=r"^[^@\s,<>]+@[^@\s,<>]+\.[^@\s,<>]+$", max_length=254)]

ReminderKinds = Annotated[tuple[Literal["certificate_expiry", "goal_due"], ...], BeforeValidator(_listed)]

DaysBefore = Annotated[
    tuple[Annotated[int, Field(gt=0, le=LONGEST_REMINDER_DAYS)], ...],
    Field(min_length=1),
    BeforeValidator(_listed),
]


class NotificationSettings(_TenantSection):
    """When BATCH-019 sends, expires and deletes notifications. A tenant may override each setting.

    ``quiet_hours`` (the tenant's time zone) is ``22:00-07:00`` or empty. ``digest`` are the kinds of reminders of which a recipient gets
    one message a run. ``fallback_hours`` is 0 (never) or the hours after which a closed channel's messages go out by e-mail.
    """

    override_name = "notification"

    expire_hours: PositiveInt
    give_up_hours: PositiveInt
    certificate_days: DaysBefore
    goal_days: DaysBefore
    language: Literal["ja", "en"]
    quiet_hours: Annotated[str, AfterValidator(_quiet_hours)]
    retention_days: PositiveInt
    archive_days: PositiveInt
    auto_disable: bool
    own_mail_server: bool
    digest: ReminderKinds
    fallback_hours: Annotated[int, Field(ge=0, le=24 * 30)]
    # Ten years; more would not fit into a date.
    suppress_days: Annotated[int, Field(gt=0, le=3_650)]

    @model_validator(mode="after")
    def _fallback_is_in_time(self) -> Self:
        if self.fallback_hours >= self.give_up_hours:
            raise ValueError("fallback_hours must be below give_up_hours")
        return self


class InactivitySettings(_TenantSection):
    """Days without activity after which BATCH-018-04 raises a tenant's stage. A tenant may override each setting."""

    override_name = "inactivity"

    attention_days: PositiveInt
    warning_days: PositiveInt
    critical_days: PositiveInt
    include_trial: bool

    @model_validator(mode="after")
    def _days_rise(self) -> Self:
        if not self.attention_days < self.warning_days < self.critical_days:
            raise ValueError(
                "attention_days must be below warning_days, and warning_days below critical_days"
            )
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
    stuck_outbox_hours: PositiveInt
    stuck_host_hours: PositiveInt
    stuck_messages_warning: PositiveInt
    stuck_messages_critical: PositiveInt
    contract_end_days: Count
    anomaly_score: Positive
    anomaly_min_calls: PositiveInt
    anomaly_min_failed_logins: PositiveInt
    anomaly_min_change_percent: Percent
    anomaly_floor_percent: Percent
    platform_percent: Percent
    platform_min_tenants: PositiveInt
    reminder_hour: Annotated[int, Field(ge=0, le=23)]

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        values = self.model_dump()
        for name, warning in values.items():
            critical = name.replace("_warning", "_critical")
            if critical != name and warning >= values[critical]:
                raise ValueError(f"{name} must be below {critical}")
        return self


class MonthlyReportSettings(_TenantSection):
    """How BATCH-004's reports look and who is notified. A tenant may override each setting.

    ``recipients`` are email addresses (joined by commas in a tenant's own value). Without any, the administrator is notified.
    """

    override_name = "monthly_report"

    colour: Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")]
    recipients: Annotated[tuple[EmailAddress, ...], BeforeValidator(_listed)]
    language: Literal["ja", "en"]
    fiscal_start_month: Annotated[int, Field(ge=1, le=12)]


class ExternalSyncSettings(_Section):
    """How many links BATCH-019-03 may end in one run without an operator's approval; the same for all tenants.

    The limit is a percentage, or ``most_ending_links`` for a directory with fewer than ``small_directory_links`` links.
    """

    most_ending_percent: Annotated[Decimal, Field(ge=0, le=100, allow_inf_nan=False)]
    small_directory_links: PositiveInt
    most_ending_links: Count


class RetentionSettings(_Section):
    """How many backups BATCH-001 keeps: the last backup of each of the newest days, ISO weeks and months with a backup."""

    daily: PositiveInt
    weekly: Count
    monthly: Count


class BackupSettings(_Section):
    """How BATCH-001 creates and keeps backups; the same for all tenants."""

    jobs: Annotated[int, Field(gt=0, le=32)]
    compression_level: Annotated[int, Field(ge=1, le=19)]
    encrypted: bool
    least_percent: Annotated[Decimal, Field(ge=0, le=100, allow_inf_nan=False)]
    compare_percent: Annotated[int, Field(ge=1, le=100)]
    retention: RetentionSettings


class LogClassSettings(_Section):
    """After how many days a class of log files is deleted, and whether it is archived before."""

    retention_days: PositiveInt
    archived: bool


class LogRowSettings(_Section):
    """After how many days BATCH-002 deletes old rows."""

    system_log: PositiveInt
    expired_token: PositiveInt
    execution_log: PositiveInt
    performance_metric: PositiveInt
    closed_incident: PositiveInt
    settled_alert: PositiveInt
    # Shorter times would delete rows that a batch still reads.
    login_day: Annotated[int, Field(ge=400)]
    statistics: Annotated[int, Field(ge=800)]
    statistics_group: Annotated[int, Field(ge=62)]
    usage_warning: Annotated[int, Field(ge=62)]
    inactivity_change: PositiveInt
    setting_change: PositiveInt
    directory_change: PositiveInt
    ended_suppression: PositiveInt
    service_limit: Annotated[int, Field(ge=7)]


class LogCleanupSettings(_Section):
    """What BATCH-002 compresses and deletes; the same for all tenants."""

    compress_days: PositiveInt
    chunk_rows: Annotated[int, Field(gt=0, le=100_000)]
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

    :raises SettingsError: names the file, the setting and the problem.
    """
    own = _values(own_text, own_source)
    document = _merged(_values(text, source), own)
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    sources = [
        # settings.yaml is complete, so a value is missing only because of the other file.
        own_source if own and (_has(own, place) or not _has(document, place)) else source
        for place in (problem["loc"] for problem in problems)
    ]
    raise SettingsError(
        "; ".join(
            _problem_sentence(problem, f"{name}: ") for problem, name in zip(problems, sources, strict=True)
        )
    )


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


def _values(text: str, source: str) -> dict[str, Any]:
    try:
        document = load_yaml(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{source} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"{source}: must be a mapping of settings (got {document!r})")
    billing = document.get("billing")
    if isinstance(billing, dict) and isinstance(billing.get("price_list"), str):
        billing["price_list"] = Path(source).parent / billing["price_list"]
    return document


def _merged(shipped: Any, own: Any, place: tuple[str, ...] = ()) -> Any:
    """``own`` instead of ``shipped``; two mappings are merged key by key."""
    if not (isinstance(shipped, dict) and isinstance(own, dict)) or place in _REPLACED_AS_A_WHOLE:
        return own
    merged = {
        key: _merged(shipped[key], value, (*place, str(key))) if key in shipped else value
        for key, value in own.items()
    }
    return shipped | merged


def _has(document: Any, place: Sequence[int | str]) -> bool:
    """Whether the document has a value at this place."""
    for key in place:
        if not (isinstance(document, dict) and key in document):
            return False
        document = document[key]
    return True


def sentence_of(error: ValidationError, where: str) -> str:
    """All problems, each with its place after ``where``."""
    return "; ".join(_problem_sentence(problem, where) for problem in error.errors(include_url=False))


def _problem_sentence(problem: ErrorDetails, where: str) -> str:
    if not problem["loc"]:
        return f"{where.rstrip('. :')}: {problem['msg']}"
    return f"{where}{'.'.join(map(str, problem['loc']))}: {problem['msg']} (got {problem['input']!r})"
