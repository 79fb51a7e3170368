"""The news for the operators, and platform incidents (breaches of many tenants at once). Acts as ``batch_platform``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.batches.tenant_monitoring.anomalies import MEASURES_KEPT
from include.skillreport.batches.tenant_monitoring.checks import TEXTS, Check, number
from include.skillreport.batches.tenant_monitoring.digest import IncidentNews, News, PlatformNews, What
from include.skillreport.batches.tenant_monitoring.incidents import (
    Breach,
    BreachSeverity,
    Incident,
    Recent,
    step,
)
from include.skillreport.batches.tenant_monitoring.settings import MonitoringSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.tenant_selection import ACTIVE_STATUSES

_SQL = Statements(Path(__file__).parent)

# The maximum number of tenants in a platform incident's text.
_EXAMPLES = 5


def take_news(
    platform: psycopg.Connection,
    execution_id: str,
    check_at: datetime,
    settings: MonitoringSettings,
    *,
    all_tenants: bool,
) -> News:
    """Check the platform against the run's outcomes, and mark all news as reported.

    Uses one transaction. If the caller's transaction rolls back, the news stays unreported. A run of some tenants (not ``all_tenants``)
    neither checks the platform nor changes its incidents.
    """
    about = {
        "execution_id": execution_id,
        "check_at": check_at,
        "kept_from": check_at - MEASURES_KEPT,
        "today": check_at.date(),
        "is_reminding": check_at.hour >= settings.reminder_hour,
    }
    with platform.transaction(), platform.cursor(row_factory=dict_row) as cursor:
        # So concurrent runs do not report the same news.
        cursor.execute("LOCK TABLE batch.platform_check IN SHARE ROW EXCLUSIVE MODE")
        if all_tenants:
            _SQL.execute(cursor, "leave_tenants", **about, active_statuses=list(ACTIVE_STATUSES))
            _check_platform(cursor, about, settings)
        _SQL.execute(cursor, "join_platform")
        platform_rows = _SQL.execute(cursor, "take_platform", **about).fetchall()
        incident_rows = _SQL.execute(cursor, "take_incidents", **about).fetchall()
        notices = _SQL.execute(cursor, "take_notices").fetchall()
    return News(
        check_at,
        platform=[PlatformNews(**_in_words(row)) for row in platform_rows],
        incidents=[
            IncidentNews(**{**_in_words(row), "severity": BreachSeverity(row["severity"])})
            for row in incident_rows
        ],
        notices=[row["detail"] for row in notices],
    )


def _check_platform(
    cursor: psycopg.Cursor[dict[str, Any]], about: Mapping[str, Any], settings: MonitoringSettings
) -> None:
    """Run the platform's checks, unless this or a later hour was already judged."""
    checks = [check for check, text in TEXTS.items() if text.platform_action]
    known = {row.pop("check_name"): row for row in _SQL.execute(cursor, "load_platform")}
    counts = _SQL.execute(cursor, "count_breaches", **about, checks=checks, examples=_EXAMPLES).fetchall()
    for count in counts:
        row = known.get(count["check_name"])
        recent = Recent(row["recent"], row["checked_at"]) if row else Recent()
        if recent.at is not None and recent.at >= about["check_at"]:
            continue
        recent, incident = step(
            recent,
            _incident(row) if row else None,
            _platform_breach(count, settings),
            about["check_at"],
            # Each of these tenants had the two breaches that open an incident.
            is_confirmed=_concerns_platform(count["open"], count["judged"], settings),
        )
        _SQL.execute(
            cursor,
            "save_platform_check",
            check_name=count["check_name"],
            recent=recent.results,
            check_at=about["check_at"],
        )
        if incident is not None:
            _SQL.execute(cursor, "save_platform_incident", check_name=count["check_name"], **asdict(incident))


def _concerns_platform(tenants: int, judged: int, settings: MonitoringSettings) -> bool:
    return tenants >= settings.platform_min_tenants and tenants * 100 > settings.platform_percent * judged


def _platform_breach(count: Mapping[str, Any], settings: MonitoringSettings) -> Breach | None:
    breaching, judged = count["breaching"], count["judged"]
    if not _concerns_platform(breaching, judged, settings):
        return None
    share = number(Decimal(breaching) * 100 / judged, 1)
    more = " ほか" if breaching > len(count["examples"]) else ""
    return Breach(
        BreachSeverity.CRITICAL,
        f"{TEXTS[Check(count['check_name'])].name}: {share} % = {breaching:,} / {judged:,} テナント"
        f"（{number(settings.platform_percent)} % 超で全体障害。{'、'.join(count['examples'])}{more}）",
    )


def _incident(row: Mapping[str, Any]) -> Incident | None:
    """The newest platform incident of a check; platform incidents are always critical."""
    if row["opened_at"] is None:
        return None
    fields = ("opened_at", "evidence", "breached_at", "reopened", "closed_at")
    return Incident(severity=BreachSeverity.CRITICAL, **{name: row[name] for name in fields})


def _in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the enumerations and times that the digest uses."""
    words: dict[str, Any] = {
        name: value.astimezone(JAPAN) if isinstance(value, datetime) else value for name, value in row.items()
    }
    check = Check(words.pop("check_name"))
    return {**words, "what": What(row["what"]), "check": check}
