"""異常・連携・バックアップ: incidents, directories, settings, inactive tenants and backups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from fastapi import APIRouter, Request, Response, status

from skill_batch.board.access import RightsDep, http_error
from skill_batch.board.database import BoardDatabase
from skill_batch.board.message_words import channel_labels
from skill_batch.board.rendering import render
from skill_batch.board.runs import is_late
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.approvals.requests import RequestKind
from include.skillreport.batches.tenant_monitoring.checks import TEXTS as CHECK_TEXTS
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    EXTERNAL_SYNC,
    INACTIVE_TENANTS,
    NOTIFICATION_SETTINGS_CHECK,
    SETTINGS_SYNC,
    TENANT_MONITORING,
)
from include.skillreport.core.operation_catalog import APPROVE_DIRECTORY_CHANGES
from include.skillreport.core.run_spec import BatchSpec

router = APIRouter()

# Closed incidents, orphaned runs and skipped directories are shown for this long.
_PERIOD = timedelta(days=7)
_MOST = 200

# The page's sections, each with the batch whose runs its reader may see.
_SECTIONS: tuple[tuple[str, BatchSpec], ...] = (
    ("incidents", TENANT_MONITORING),
    ("directories", EXTERNAL_SYNC),
    ("findings", NOTIFICATION_SETTINGS_CHECK),
    ("inactive", INACTIVE_TENANTS),
    ("settings", SETTINGS_SYNC),
    ("backups", DATA_BACKUP),
)

CHECK_NAMES = {check.value: text.name for check, text in CHECK_TEXTS.items()}

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Findings:
    """The content of the page; a list is empty if the reader may not see its section.

    Each row has the number of all rows as ``hits``, because a list shows at most 200.
    """

    now: datetime
    incidents: Rows
    platform: Rows
    orphans: Rows
    directories: Rows
    requests: Rows
    findings: Rows
    inactive: Rows
    settings: Rows
    backups: Rows

    @property
    def newest_backup(self) -> Mapping[str, Any] | None:
        """The newest verified backup."""
        return next((row for row in self.backups if row["status"] == "verified"), None)

    @property
    def backup_age(self) -> timedelta | None:
        """The age of the newest verified backup."""
        newest = self.newest_backup
        return self.now - newest["snapshot_at"] if newest else None

    @property
    def is_backup_late(self) -> bool:
        """True if the newest verified backup is missing, or older than a day and the batch's time limit."""
        return self.backup_age is None or is_late(self.backup_age)


def load_findings(connection: psycopg.Connection[Any], sections: frozenset[str], now: datetime) -> Findings:
    """The rows of these sections at ``now`` (aware)."""

    def rows(section: str, name: str, **parameters: Any) -> Rows:
        return _SQL.rows(connection, name, most=_MOST, **parameters) if section in sections else ()

    since = now - _PERIOD
    return Findings(
        now,
        incidents=rows("incidents", "incidents", since=since),
        platform=rows("incidents", "platform_incidents", since=since),
        orphans=rows("incidents", "orphans", since=since),
        directories=rows("directories", "directory_plans", since=since),
        requests=rows("directories", "open_requests", kind=RequestKind.DIRECTORY_CHANGES),
        findings=rows("findings", "setting_findings"),
        inactive=rows("inactive", "inactive_tenants"),
        settings=rows("settings", "setting_changes"),
        backups=rows("backups", "backups"),
    )


@router.get("/findings")
def findings_page(request: Request, rights: RightsDep) -> Response:
    """The sections that the user may see."""
    sections = frozenset(name for name, spec in _SECTIONS if rights.may_read(spec.dag_id))
    if not sections:
        raise http_error(status.HTTP_403_FORBIDDEN, "このページの DAG を見る権限がありません")
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        page = load_findings(connection, sections, datetime.now(UTC))
    return render(
        request,
        rights,
        "findings.html",
        page=page,
        sections=sections,
        checks=CHECK_NAMES,
        channels=channel_labels(),
        sees_requests=rights.may_read(APPROVE_DIRECTORY_CHANGES.dag_id),
    )
