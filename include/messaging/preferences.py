"""The notification settings of a tenant: its overrides of the installation's settings, its language and its quiet hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import psycopg

from include.database import Statements
from include.errors import SettingsError
from include.execution.business_date import JAPAN
from include.settings import NotificationSettings

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Preferences:
    """A tenant's settings. ``problem`` names an invalid override; the installation's settings are used then."""

    settings: NotificationSettings
    problem: str | None = None


def load_preferences(
    connection: psycopg.Connection, defaults: NotificationSettings, now: datetime
) -> dict[str, Preferences]:
    """The preferences of the transaction's tenants at a time (aware), by tenant id."""
    rows = _SQL.rows(connection, "load_preferences", now=now.astimezone(UTC).replace(tzinfo=None))
    return {
        row["tenant_id"]: preferences_of(defaults, row["language"], row["overrides"] or {}) for row in rows
    }


def preferences_of(
    defaults: NotificationSettings, language: str | None, overrides: Mapping[str, str | None]
) -> Preferences:
    """The installation's settings with the tenant's overrides, in the tenant's language if it is supported."""
    settings = defaults
    if language in ("ja", "en"):
        settings = defaults.model_copy(update={"language": language})
    try:
        return Preferences(settings.overridden(overrides) if overrides else settings)
    except SettingsError as error:
        return Preferences(settings, f"{error}（既定値を使いました）")


def with_own_mail_server(preferences: Mapping[str, Preferences]) -> frozenset[str]:
    """The tenants that may use their own mail server."""
    return frozenset(tenant_id for tenant_id, each in preferences.items() if each.settings.own_mail_server)


def is_quiet(quiet_hours: str, now: datetime) -> bool:
    """Whether a time (aware) is in quiet hours such as ``22:00-07:00`` (Asia/Tokyo, end exclusive). Empty means no quiet hours."""
    if not quiet_hours:
        return False
    start, end = (time.fromisoformat(text) for text in quiet_hours.split("-"))
    local = now.astimezone(JAPAN).time()
    return start <= local < end if start <= end else local >= start or local < end
