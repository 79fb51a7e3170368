"""BATCH-019-04: finished notifications that are older than the tenant keeps them go into the archive, and then out of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql, tenant_transaction, tenant_turn
from include.execution.business_date import utc_bounds
from include.execution.object_store import ObjectStore
from include.execution.tenant_work import Run, TenantBatch, TenantResult
from include.messaging.preferences import Preferences, load_preferences, preferences_of
from include.notification.notification_log_cleanup.archive import MESSAGES, NOTIFICATIONS, Job, archive
from include.settings import NotificationSettings

_HERE = Path(__file__).parent

# Nothing is older. A retention of a million days reaches back further than the calendar does.
_FIRST_DAY = date(1970, 1, 1)

# Any number that no other lock of ours has; the tenant comes beside it.
_TENANT_LOCK = 19_04


class NotificationLogCleanupBatch(TenantBatch):
    """The steps of BATCH-019-04; see ``TenantBatch`` for what each must hold to.

    The staging rows (``batch.old_notification``) stay until the run is closed: a tenant that is tried again neither costs another pass
    over the application's table nor forgets what the try before has archived.
    """

    writes_files = True

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read the application's notifications once, and leave the ids of those to archive and one row with an empty id per tenant."""
        rows = platform.execute(
            read_sql(_HERE, "load_overrides"),
            {"tenant_ids": list(tenant_ids), "now": utc_bounds(run.business_date).start},
        ).fetchall()
        overrides: dict[str, dict[str, str | None]] = dict(rows)
        preferences = {
            tenant_id: preferences_of(self._settings, None, own) for tenant_id, own in overrides.items()
        }
        platform.execute(
            read_sql(_HERE, "collect_notifications"),
            {"staging_id": NOTIFICATIONS.staging_id(run.execution_id)}
            | self._cutoffs(run, tenant_ids, preferences),
        )

    def unprepared(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> Sequence[str]:
        """The tenants without the row with the empty id, which tells "nothing is old enough" from "nobody has looked"."""
        rows = platform.execute(
            read_sql(_HERE, "unprepared_tenants"),
            {"staging_id": NOTIFICATIONS.staging_id(run.execution_id), "tenant_ids": list(tenant_ids)},
        )
        return [tenant_id for (tenant_id,) in rows]

    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult]:
        """Find the messages of the outbox that go as well, and say how much it is; ``deliver`` does it."""
        preferences = load_preferences(connection, self._settings, _start_of_day(run))
        staging = {
            "staging_id": NOTIFICATIONS.staging_id(run.execution_id),
            "message_staging_id": MESSAGES.staging_id(run.execution_id),
        }
        connection.execute(
            read_sql(_HERE, "collect_messages"),
            {**staging, "today": _start_of_day(run)} | self._cutoffs(run, tenant_ids, preferences),
        )
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                read_sql(_HERE, "count_collected"),
                {**staging, "execution_id": run.execution_id, "tenant_ids": list(tenant_ids)},
            ).fetchall()
        results = []
        for row in rows:
            problem = self._of(preferences, row["tenant_id"]).problem
            details = {
                "archivedNotifications": row["notifications"],
                "archivedMessages": row["messages"],
            }
            results.append(
                TenantResult(
                    row["tenant_id"],
                    details,
                    records=sum(details.values()),
                    notes=(problem,) if problem else (),
                )
            )
        return results

    def deliver(self, connection: psycopg.Connection, run: Run, tenant_id: str, store: ObjectStore) -> None:
        """Archive, read back, delete: first the notifications, then the messages of the outbox, whose notifications are gone by then."""
        # So that two runs do not archive the same rows twice.
        with tenant_turn(connection, _TENANT_LOCK, tenant_id):
            job = self._job(connection, run, tenant_id)
            for source in (NOTIFICATIONS, MESSAGES):
                archive(connection, source, job, store)

    def discard(self, platform: psycopg.Connection, run: Run) -> None:
        """Delete the run's staging rows."""
        staging_ids = [source.staging_id(run.execution_id) for source in (NOTIFICATIONS, MESSAGES)]
        platform.execute("DELETE FROM batch.old_notification WHERE execution_id = any(%s)", [staging_ids])

    def _job(self, connection: psycopg.Connection, run: Run, tenant_id: str) -> Job:
        """With the retention that holds now: a tenant that has extended it since the run has looked keeps its rows."""
        with tenant_transaction(connection, [tenant_id]):
            preferences = load_preferences(connection, self._settings, _start_of_day(run))
            row = connection.execute("SELECT tenant_code FROM batch.tenant").fetchone()
        days = self._of(preferences, tenant_id).settings.retention_days
        return Job(
            execution_id=run.execution_id,
            business_date=run.business_date,
            tenant_id=tenant_id,
            tenant_code=row[0] if row else tenant_id,
            retention_days=days,
            cutoff=_cutoff(run, days),
            today=_start_of_day(run),
        )

    def _cutoffs(
        self, run: Run, tenant_ids: Sequence[str], preferences: Mapping[str, Preferences]
    ) -> dict[str, Any]:
        """Statement parameters: the tenants, and at the same place what each one's rows must be older than."""
        days = [self._of(preferences, tenant_id).settings.retention_days for tenant_id in tenant_ids]
        return {"tenant_ids": list(tenant_ids), "cutoffs": [_cutoff(run, one) for one in days]}

    def _of(self, preferences: Mapping[str, Preferences], tenant_id: str) -> Preferences:
        return preferences.get(tenant_id) or Preferences(self._settings)


def _start_of_day(run: Run) -> datetime:
    """The run's moment (aware), which every rule is about: the same whenever the run is done, and never later than the clock."""
    return utc_bounds(run.business_date).start.replace(tzinfo=UTC)


def _cutoff(run: Run, retention_days: int) -> datetime:
    """The start of the first Japanese day that stays, as naive UTC."""
    days = min(retention_days, (run.business_date - _FIRST_DAY).days)
    return utc_bounds(run.business_date - timedelta(days=days)).start
