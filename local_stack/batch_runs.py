"""Run batches without Airflow, for demo data, tests and benchmarks: an installation, and the ways to open, do and close a run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg

from include.skillreport.billing.service import Billing
from include.skillreport.core.errors import ConnectionMissingError
from include.skillreport.core.execution import flow, run_log
from include.skillreport.core.execution.batch import Batch, Run, TenantBatch, Work
from include.skillreport.core.execution.business_date import JAPAN, period_of
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.flow import ClosedRun, RunRequest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.shard_work import ShardReport, UnitsFailedError, work_on_tenants
from include.skillreport.core.network import MailboxConfig, Network
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.messaging.service import Notifications
from include.skillreport.schema.deletion import require_deletion
from include.skillreport.schema.deploy import CLEANUP
from include.skillreport.schema.deployment_check import check_deployment
from local_stack.local_run import LocalRun


@dataclass(frozen=True)
class LocalInstallation:
    """An ``Installation`` with the values that it gets: two open connections, a store, a network, and a fixed time.

    ``connect`` opens a connection as a role, for a time limit. Without an open connection, each step has its own, as in production.
    Every run counts as alive. ``reports``: whether digests can be sent.
    """

    platform_connection: psycopg.Connection | None = None
    tenant_connection: psycopg.Connection | None = None
    object_store: ObjectStore | None = None
    services: Network | None = None
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    cleanup_connection: psycopg.Connection | None = None
    databases: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)
    reports: bool = False
    connect: Callable[[str, timedelta], AbstractContextManager[psycopg.Connection]] | None = None

    def platform(self, time_limit: timedelta) -> AbstractContextManager[psycopg.Connection]:
        """A connection that acts as ``batch_platform``."""
        return self._connected("batch_platform", self.platform_connection, time_limit)

    def tenants(self, time_limit: timedelta) -> AbstractContextManager[psycopg.Connection]:
        """A connection that acts as ``batch_tenant``."""
        return self._connected("batch_tenant", self.tenant_connection, time_limit)

    @contextmanager
    def cleanup(self, time_limit: timedelta) -> Iterator[psycopg.Connection]:
        """A connection that acts as ``batch_cleanup``."""
        with self.platform(time_limit) as platform:
            require_deletion(platform)
        if self.cleanup_connection is None and self.connect is None:
            raise ConnectionMissingError("Airflow の接続 'skill_batch_cleanup_db' が定義されていません。")
        with self._connected(CLEANUP, self.cleanup_connection, time_limit) as connection:
            yield connection

    def check_logins(self, *, with_tenants: bool) -> None:
        """The connections act as their roles already."""

    def check_deployment(self, platform: psycopg.Connection) -> None:
        """Compare the database with this code."""
        check_deployment(platform)

    def database(self, name: str) -> str:
        """One of ``databases``."""
        return self._named(self.databases, name)

    def secret(self, name: str) -> str:
        """One of ``secrets``."""
        return self._named(self.secrets, name)

    def keys(self, name: str) -> list[str]:
        """One of ``secrets``: the present key, and the earlier ones after spaces."""
        return self.secrets.get(name, "").split()

    def variable(self, name: str) -> str:
        """One of ``variables``, or an empty text."""
        return self.variables.get(name, "")

    def store(self) -> ObjectStore | None:
        """The store; without a store, a run writes no files."""
        return self.object_store

    def network(self, *, with_mail: bool) -> Network | None:
        """The network; without a network, a run sends no messages and asks no services."""
        return self.services if with_mail or self.services is None else replace(self.services, email=None)

    def mailbox(self) -> MailboxConfig | None:
        """The mailbox of the network."""
        return self.services.mailbox if self.services else None

    def billing(self) -> Billing:
        """Billing with the settings of the environment."""
        return Billing()

    def notifications(self) -> Notifications:
        """Notifications with the settings of the environment."""
        return Notifications()

    def now(self) -> datetime:
        """The fixed time."""
        return self.moment

    def is_alive(self, dag_id: str, run_id: str) -> bool:
        """True for every run."""
        return bool(dag_id and run_id)

    def report(self, digest: Digest, result: RunResult) -> bool:
        """Send nothing; returns whether digests can be sent."""
        return self.reports and bool(digest.lines and result)

    def _connected(
        self, role: str, opened: psycopg.Connection | None, time_limit: timedelta
    ) -> AbstractContextManager[psycopg.Connection]:
        if opened is not None:
            return nullcontext(opened)
        assert self.connect is not None, f"this step needs no connection as {role}"
        return self.connect(role, time_limit)

    @staticmethod
    def _named(values: Mapping[str, str], name: str) -> str:
        if name not in values:
            raise ConnectionMissingError(f"Airflow の接続 '{name}' が定義されていません。")
        return values[name]


# For batches that use no value of the installation.
LOCAL = LocalInstallation()


def open_run(
    platform: psycopg.Connection, spec: RunSpec, batch: Batch, business_date: date, **options: Any
) -> tuple[Run, list[str]]:
    """Open a run; returns it and the ids of its tenants. ``options`` are those of ``request_of``."""
    request = request_of(spec, business_date, **options)
    run, _ = flow.open_run(spec, batch, request, LocalInstallation(platform, moment=request.run_at))
    return run, run_log.tenants_of_run(platform, run)


def run_batch(
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    spec: RunSpec,
    batch: Batch,
    business_date: date,
    *,
    store: ObjectStore | None = None,
    network: Network | None = None,
    sharding: ExecutionSettings | None = None,
    **options: Any,
) -> RunResult:
    """Do all steps of a run, but for those that need Airflow. Units that fail do not stop it. ``options`` are those of ``request_of``.

    ``platform`` acts as ``batch_platform`` and ``connection`` as ``batch_tenant``, both in autocommit mode.
    """
    request = request_of(spec, business_date, **options)
    installation = LocalInstallation(platform, connection, store, network, request.run_at)
    run = LocalRun(spec, request, installation, lambda: batch, sharding)
    for task in run.tasks():
        with suppress(UnitsFailedError):
            run.do(task)
    assert run.closed is not None
    return run.closed.result


def close_run(
    platform: psycopg.Connection,
    spec: RunSpec,
    batch: Batch,
    run: Run,
    *,
    store: ObjectStore | None = None,
    reports: bool = False,
    moment: datetime | None = None,
) -> ClosedRun:
    """Close a run at ``moment`` (aware), or at its own time. ``reports``: whether its digest can be sent."""
    installation = LocalInstallation(
        platform, object_store=store, reports=reports, moment=moment or _moment(run)
    )
    return flow.close_run(spec, batch, run, installation)


def process_tenants(
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    batch: TenantBatch,
    run: Run,
    tenant_ids: Sequence[str],
    store: ObjectStore | None = None,
    network: Network | None = None,
) -> ShardReport:
    """Do the work of one shard, without recording metrics."""
    return work_on_tenants(batch, Work(run, connection, tenant_ids, store, network), platform)


def request_of(
    spec: RunSpec,
    business_date: date,
    *,
    codes: Sequence[str] = (),
    dry_run: bool = False,
    parameters: Mapping[str, Any] | None = None,
    run_at: datetime | None = None,
    run_id: str | None = None,
    **options: Any,
) -> RunRequest:
    """A run for a batch's tenants, or for the tenants with these ``codes``. ``parameters`` are further values of its form.

    The time of the run is ``run_at``, or midnight (Asia/Tokyo) after its period. An earlier run's ``run_id`` means that it is cleared.
    ``options`` are other values of ``RunRequest``.
    """
    day_after = period_of(business_date, spec.works_on)[1] + timedelta(days=1)
    form = {"business_date": business_date.isoformat(), "tenants": list(codes), "dry_run": dry_run}
    return RunRequest(
        spec.dag_id,
        run_id or f"local {secrets.token_hex(4)}",
        run_at or datetime.combine(day_after, time(), JAPAN),
        form | dict(parameters or {}),
        **options,
    )


def _moment(run: Run) -> datetime:
    assert run.run_at is not None
    return run.run_at
