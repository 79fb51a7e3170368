"""A tenant's notification settings: its overrides of the installation's settings, its language, zone and quiet hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN, naive_utc
from include.skillreport.messaging.settings import NotificationSettings

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Preferences:
    """A tenant's settings and time zone. ``problem`` names an invalid value, for which the installation's setting, or Japan, is used.

    ``refused`` are the invalid values by the name of the setting (``timezone``: the zone). The name is empty if values contradict each
    other.
    """

    settings: NotificationSettings
    problem: str | None = None
    zone: ZoneInfo = JAPAN
    refused: Mapping[str, str] = field(default_factory=dict)


def load_preferences(
    connection: psycopg.Connection, defaults: NotificationSettings, now: datetime
) -> dict[str, Preferences]:
    """The preferences of the transaction's tenants at a time (aware), by tenant id."""
    rows = _SQL.rows(connection, "load_preferences", now=naive_utc(now))
    return {
        row["tenant_id"]: preferences_of(defaults, row["language"], row["overrides"] or {}, row["timezone"])
        for row in rows
    }


def preferences_of(
    defaults: NotificationSettings,
    language: str | None,
    overrides: Mapping[str, str | None],
    timezone: str = "Asia/Tokyo",
) -> Preferences:
    """The installation's settings with the tenant's overrides, in the tenant's language if it is supported, and in its zone."""
    in_language = {"language": language} if language in ("ja", "en") else {}
    defaults = defaults.model_copy(update=in_language)
    settings, remarks = defaults.overridden_if_valid(overrides)
    zone, problems = JAPAN, list(remarks)
    refused = {name: overrides.get(name) or "" for name in defaults.refused_keys(overrides)}
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        problems.append(
            f"MST_Tenant.timezone '{timezone[:40]}' は時間帯の名前ではありません（Asia/Tokyo を使いました）"
        )
        refused["timezone"] = timezone
    return Preferences(settings, "、".join(problems) or None, zone, refused)


def with_own_mail_server(preferences: Mapping[str, Preferences]) -> frozenset[str]:
    """The tenants that may use their own mail server."""
    return frozenset(tenant_id for tenant_id, each in preferences.items() if each.settings.own_mail_server)


def quiet_until(quiet_hours: str, now: datetime, zone: ZoneInfo = JAPAN) -> datetime | None:
    """The end of the quiet hours that contain ``now`` (aware); None outside them.

    ``quiet_hours`` are local times of ``zone``, such as ``22:00-07:00``, end exclusive; empty: no quiet hours.
    """
    if not quiet_hours:
        return None
    start, end = (time.fromisoformat(text) for text in quiet_hours.split("-"))
    local = now.astimezone(zone)
    clock = local.time()
    is_quiet = start <= clock < end if start <= end else clock >= start or clock < end
    if not is_quiet:
        return None
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    return datetime.combine(day, end, zone)
