"""What holds for one tenant: its own settings over the installation's, in its own language, and its quiet hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql
from include.errors import SettingsError
from include.execution.business_date import JAPAN
from include.settings import NotificationSettings

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Preferences:
    """A tenant's settings. ``problem`` says which of its own do not hold; the installation's do then."""

    settings: NotificationSettings
    problem: str | None = None


def load_preferences(
    connection: psycopg.Connection, defaults: NotificationSettings, now: datetime
) -> dict[str, Preferences]:
    """The preferences of the transaction's tenants at a moment (aware), by tenant id."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            read_sql(_HERE, "load_preferences"), {"now": now.astimezone(UTC).replace(tzinfo=None)}
        ).fetchall()
    return {
        row["tenant_id"]: preferences_of(defaults, row["language"], row["overrides"] or {}) for row in rows
    }


def preferences_of(
    defaults: NotificationSettings, language: str | None, overrides: Mapping[str, str | None]
) -> Preferences:
    """The installation's settings, in the tenant's language if there are texts in it, with the tenant's overrides."""
    settings = defaults
    if language in ("ja", "en"):
        settings = defaults.model_copy(update={"language": language})
    try:
        return Preferences(settings.overridden(overrides) if overrides else settings)
    except SettingsError as error:
        return Preferences(settings, f"{error}（既定値を使いました）")


def is_quiet(quiet_hours: str, now: datetime) -> bool:
    """Whether ``22:00-07:00`` (Asia/Tokyo; from the first minute to before the last) holds at a moment (aware); empty never does."""
    if not quiet_hours:
        return False
    start, end = (time.fromisoformat(text) for text in quiet_hours.split("-"))
    at = now.astimezone(JAPAN).time()
    return start <= at < end if start <= end else at >= start or at < end
