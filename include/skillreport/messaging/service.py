"""The messaging of an installation, which batches, operations and the notification hook share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.network import Network
from include.skillreport.messaging import outbox
from include.skillreport.messaging.dispatch import DispatchReport, dispatch_due
from include.skillreport.messaging.outbox import Draft
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.settings import NotificationSettings

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Notifications:
    """The outbox and the channels, with the installation's settings."""

    settings: NotificationSettings

    def enqueue(self, connection: psycopg.Connection, drafts: Sequence[Draft], *, created_by: str) -> int:
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
    ) -> dict[str, DispatchReport]:
        """Send the due messages of these tenants, in separate transactions. Starts no send after ``seconds``.

        ``store`` contains the files of letters.
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
        )

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
