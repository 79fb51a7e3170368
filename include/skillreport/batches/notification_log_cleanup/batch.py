"""BATCH-019-04: archives and deletes finished notifications older than the tenant's retention, and later deletes the archives."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.batches.notification_log_cleanup.archive import (
    MESSAGES,
    NOTIFICATIONS,
    Job,
    archive,
)
from include.skillreport.core.database import Statements, tenant_transaction, tenant_turn
from include.skillreport.core.execution.batch import (
    Request,
    Run,
    TenantBatch,
    UnitResult,
    Work,
    count_effects,
)
from include.skillreport.core.execution.business_date import utc_bounds
from include.skillreport.core.execution.row_archive import delete_expired
from include.skillreport.messaging.preferences import Preferences, load_preferences, preferences_of
from include.skillreport.messaging.settings import NotificationSettings

_SQL = Statements(Path(__file__).parent)

# The first part of the lock's key, different from other locks; the tenant is the second part.
_TENANT_LOCK = 19_04

# The figure of each table's archived rows. Archived in this order, because a message's notification must be deleted first.
_FIGURES = {NOTIFICATIONS: "archivedNotifications", MESSAGES: "archivedMessages"}


class NotificationLogCleanupBatch(TenantBatch):
    """The steps of BATCH-019-04; see ``include.skillreport.core.execution.batch``.

    The staging rows (``batch.old_notification``) stay until the run is closed. So another attempt does not reread the application's table,
    and counts the earlier attempt's archived rows, too.
    """

    counted = frozenset(_FIGURES.values())

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings

    def further_tenants(self, request: Request) -> Collection[str]:
        """Suspended, ended and deleted tenants, because their rows and archives expire, too."""
        return set(_SQL.column(request.platform, "known_tenants"))

    def prepare(self, work: Work) -> None:
        """Read the application's notifications once. Stage the ids to archive, and one row with an empty id per tenant."""
        rows = _SQL.execute(
            work.connection,
            "load_overrides",
            tenant_ids=list(work.tenant_ids),
            now=utc_bounds(work.run.business_date).start,
        ).fetchall()
        overrides: dict[str, dict[str, str | None]] = dict(rows)
        preferences = {
            tenant_id: preferences_of(self._settings, None, each) for tenant_id, each in overrides.items()
        }
        cutoffs = self._cutoffs(work.run, work.tenant_ids, preferences)
        _SQL.execute(
            work.connection,
            "collect_notifications",
            staging_id=NOTIFICATIONS.staging_id(work.run.execution_id),
            **cutoffs,
            last_cutoff=max(cutoffs["cutoffs"], default=None),
        )

    def unprepared(self, work: Work) -> Sequence[str]:
        """The tenants without the row with the empty id, which separates "nothing is old enough" from "not searched yet"."""
        staging_id = NOTIFICATIONS.staging_id(work.run.execution_id)
        return _SQL.column(
            work.connection, "unprepared_tenants", staging_id=staging_id, tenant_ids=list(work.tenant_ids)
        )

    def process(self, work: Work) -> list[UnitResult]:
        """Find the outbox messages to archive, and count all rows. ``write_files`` archives them."""
        preferences = load_preferences(work.connection, self._settings, _start_of_day(work.run))
        staging = {
            "staging_id": NOTIFICATIONS.staging_id(work.run.execution_id),
            "message_staging_id": MESSAGES.staging_id(work.run.execution_id),
        }
        _SQL.execute(
            work.connection,
            "collect_messages",
            **staging,
            today=_start_of_day(work.run),
            **self._cutoffs(work.run, work.tenant_ids, preferences),
        )
        rows = _SQL.rows(
            work.connection,
            "count_collected",
            **staging,
            tenant_ids=list(work.tenant_ids),
        )
        results = []
        for row in rows:
            problem = self._of(preferences, row["tenant_id"]).problem
            details = {figure: row[source.name] for source, figure in _FIGURES.items()}
            results.append(
                UnitResult(
                    row["tenant_id"],
                    details,
                    records=sum(details.values()),
                    notes=(problem,) if problem else (),
                )
            )
        return results

    def write_files(self, work: Work, tenant_id: str) -> None:
        """Archive, read back and delete the notifications, then the outbox messages, whose notifications must be deleted first.

        Then delete the archives older than the tenant's ``archive_days``.
        """
        # The lock prevents two runs from archiving the same rows.
        with tenant_turn(work.connection, _TENANT_LOCK, tenant_id):
            job = self._job(work.connection, work.run, tenant_id)
            for source, figure in _FIGURES.items():

                def count(rows: int, figure: str = figure) -> None:
                    count_effects(work.connection, work.run, tenant_id, **{figure: rows})

                archive(work.connection, source, job, work.files, count)
            delete_expired(work.files, job.folder, job.archived_since)

    def discard(self, work: Work) -> None:
        """Delete the run's staging rows."""
        staging_ids = [source.staging_id(work.run.execution_id) for source in (NOTIFICATIONS, MESSAGES)]
        _SQL.execute(work.connection, "discard_staging", staging_ids=staging_ids)

    def _job(self, connection: psycopg.Connection, run: Run, tenant_id: str) -> Job:
        """The job with the present retention. If a tenant has extended it since ``prepare``, its rows stay."""
        with tenant_transaction(connection, [tenant_id]):
            preferences = load_preferences(connection, self._settings, _start_of_day(run))
            row = _SQL.execute(connection, "tenant_code").fetchone()
        settings = self._of(preferences, tenant_id).settings
        return Job(
            execution_id=run.execution_id,
            business_date=run.business_date,
            tenant_id=tenant_id,
            tenant_code=row[0] if row else tenant_id,
            retention_days=settings.retention_days,
            cutoff=_cutoff(run, settings.retention_days),
            archived_since=_days_before(run, settings.archive_days),
            today=_start_of_day(run),
        )

    def _cutoffs(
        self, run: Run, tenant_ids: Sequence[str], preferences: Mapping[str, Preferences]
    ) -> dict[str, Any]:
        """Statement parameters: the tenants, and their cutoffs in the same order."""
        days = [self._of(preferences, tenant_id).settings.retention_days for tenant_id in tenant_ids]
        return {"tenant_ids": list(tenant_ids), "cutoffs": [_cutoff(run, one) for one in days]}

    def _of(self, preferences: Mapping[str, Preferences], tenant_id: str) -> Preferences:
        return preferences.get(tenant_id) or Preferences(self._settings)


def _start_of_day(run: Run) -> datetime:
    """The time (aware) for all rules: equal in every attempt of the run, and never in the future."""
    return utc_bounds(run.business_date).start.replace(tzinfo=UTC)


def _cutoff(run: Run, retention_days: int) -> datetime:
    """The start of the first retained Japanese day, as naive UTC."""
    return utc_bounds(_days_before(run, retention_days)).start


def _days_before(run: Run, days: int) -> date:
    return run.business_date - timedelta(days=days)
