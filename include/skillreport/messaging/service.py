"""The messaging of an installation. The notification hook is a subclass; batches and operations call it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import psycopg

from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.execution.batch import UnitFailure, UnitResult, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.lasting_connection import lasting
from include.skillreport.core.network import Network
from include.skillreport.messaging import outbox
from include.skillreport.messaging.dispatch import (
    DispatchReport,
    Finish,
    dispatch_due,
    failure_of,
    owner_of,
    with_closed_server,
)
from include.skillreport.messaging.leases import load_leases, with_leases
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.preferences import Preferences, load_preferences
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.settings import NotificationSettings

_SQL = Statements(Path(__file__).parent)

Judge = Callable[[Sequence[str], Mapping[str, Preferences], psycopg.Connection], Mapping[str, UnitFailure]]
"""The failures of these tenants, by tenant id, after their messages were sent. The connection has no transaction."""


class Notifications:
    """The outbox and the channels, with the installation's settings."""

    @cached_property
    def settings(self) -> NotificationSettings:
        """The settings, which are read once. :raises SettingsError: they are invalid."""
        return NotificationSettings.load()

    def enqueue(
        self, connection: psycopg.Connection, drafts: Sequence[MessageDraft], *, created_by: str
    ) -> int:
        """Add messages in the caller's transaction, each ``dedupe_key`` once per tenant; returns the number of new messages."""
        return outbox.enqueue(connection, drafts, created_by=created_by)

    def send_due(
        self,
        connection: psycopg.Connection,
        tenant_ids: Sequence[str],
        network: Network,
        *,
        owner: str,
        seconds: float,
        statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
        store: ObjectStore | None = None,
        preferences: Mapping[str, Preferences] | None = None,
        finish: Finish = lambda *_: None,
        execution_id: str | None = None,
    ) -> dict[str, DispatchReport]:
        """Send the due messages of these tenants, in separate transactions. Starts no send after ``seconds``.

        The further arguments: see ``dispatch_due``.
        """
        return dispatch_due(
            connection,
            tenant_ids,
            network,
            owner=owner,
            clock=lambda: datetime.now(UTC),
            settings=self.settings,
            statuses=statuses,
            stop_at=datetime.now(UTC) + timedelta(seconds=seconds),
            store=store,
            preferences=preferences,
            finish=finish,
            execution_id=execution_id,
        )

    def send_results(
        self,
        work: Work,
        results: Sequence[UnitResult],
        *,
        statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
        judge: Judge = lambda *_: {},
    ) -> list[UnitResult | UnitFailure]:
        """Send all due messages of a shard's tenants; returns the results with the figures of their messages.

        A tenant's outcome is recorded when its messages are done. A tenant fails if ``judge`` says so then, or if an error stopped one of
        its channels. Closed mail servers and messages that another sender has claimed are notes.
        """
        result_of = {result.unit_id: result for result in results}
        outcomes: dict[str, UnitResult | UnitFailure] = {}
        with lasting(work.connection) as database:
            preferences = database.run(partial(self._preferences, tenant_ids=list(result_of)))

            def finish(connection: psycopg.Connection, reports: Mapping[str, DispatchReport]) -> None:
                failures = judge(list(reports), preferences, connection)
                leases = load_leases(connection, list(reports))
                now = datetime.now(UTC)
                for tenant_id, report in reports.items():
                    result = result_of[tenant_id]
                    outcome = failures.get(tenant_id) or failure_of(tenant_id, report) or result
                    outcome = replace(outcome, details=result.details | report.figures())
                    outcomes[tenant_id] = with_leases(
                        with_closed_server(outcome, report), leases.get(tenant_id), now
                    )
                work.record(connection, [outcomes[tenant_id] for tenant_id in reports])

            self.send_due(
                work.connection,
                list(result_of),
                work.services,
                owner=owner_of(work.run),
                seconds=work.run.send_seconds,
                statuses=statuses,
                store=work.store,
                preferences=preferences,
                finish=finish,
                execution_id=work.run.execution_id,
            )
        return [outcomes[result.unit_id] for result in results]

    def _preferences(
        self, connection: psycopg.Connection, tenant_ids: Sequence[str]
    ) -> dict[str, Preferences]:
        with tenant_transaction(connection, tenant_ids):
            return load_preferences(connection, self.settings, datetime.now(UTC))

    def statuses(
        self, connection: psycopg.Connection, dedupe_keys: Sequence[str]
    ) -> dict[tuple[str, str], Status]:
        """The statuses of the transaction's tenants' messages, by tenant id and ``dedupe_key``."""
        rows = _SQL.execute(connection, "load_statuses", dedupe_keys=list(dedupe_keys))
        return {(tenant_id, key): Status(status) for tenant_id, key, status in rows}


class OffersNotifications(Protocol):
    """An installation that sends messages."""

    def notifications(self) -> Notifications:
        """Its outbox and channels."""
