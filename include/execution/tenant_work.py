"""A batch's work on tenants, so that one tenant's failure never touches another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.types.json import Jsonb

from include.database import read_sql, tenant_transaction
from include.errors import BatchError, code_of, is_about_data, is_recoverable, reason_of

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """The run that the work belongs to; every row it leaves carries ``execution_id``. ``business_date`` is a Japanese date."""

    execution_id: str
    business_date: date
    dry_run: bool = False


@dataclass(frozen=True)
class TenantResult:
    """What came out for one tenant: figures for the execution log (JSON values), records read or written, remarks."""

    tenant_id: str
    details: dict[str, Any]
    records: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TenantFailure:
    """Why one tenant failed, in one sentence."""

    tenant_id: str
    code: str
    message: str
    recoverable: bool


class TenantsFailedError(BatchError):
    """Some of a shard's tenants failed; another try helps if it helps one of them."""

    def __init__(self, failures: Sequence[TenantFailure]) -> None:
        super().__init__(
            "、".join(f"テナント {failure.tenant_id}: {failure.message}" for failure in failures)
        )
        self.recoverable = any(failure.recoverable for failure in failures)


@dataclass
class ShardReport:
    """The outcome of one shard."""

    results: list[TenantResult] = field(default_factory=list)
    failures: list[TenantFailure] = field(default_factory=list)


class TenantBatch(Protocol):
    """What a per-tenant batch implements. Every step may run again, and must then leave the same rows."""

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read the host's large tables once for these tenants, into staging rows of the run."""

    def unprepared(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> list[str]:
        """Which of these tenants have no staging rows (never prepared, failed then, or used up by an earlier try)."""

    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult]:
        """Do the work of these tenants together, inside the transaction whose context they are, and use up their staging rows."""

    def discard(self, platform: psycopg.Connection, run: Run) -> None:
        """Delete the staging rows that the run has left."""


def prepare(
    platform: psycopg.Connection, batch: TenantBatch, run: Run, tenant_ids: Sequence[str]
) -> dict[str, Exception]:
    """Prepare the tenants that are not prepared yet in one pass, and leave out those whose rows break it; returns why, by tenant.

    Whoever is left out is prepared again on its own when its turn comes, and fails there, under its own name.
    """

    def work(part: Sequence[str]) -> None:
        with platform.transaction():
            batch.prepare(platform, run, part)

    return _isolate(batch.unprepared(platform, run, tenant_ids), work)


def process_shard(
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    batch: TenantBatch,
    run: Run,
    tenant_ids: Sequence[str],
) -> ShardReport:
    """Do the shard's tenants together; when that fails, find the broken ones and do the others without them.

    Work and outcome of a tenant are written by one transaction. With ``dry_run`` the work is rolled back and only the outcome stays.
    :raises psycopg.Error: the database failed for everybody; what was committed before stands.
    """
    errors = prepare(platform, batch, run, tenant_ids)
    report = ShardReport()

    def work(part: Sequence[str]) -> None:
        with tenant_transaction(connection, part) as transaction:
            results = batch.process(connection, run, part)
            if run.dry_run:
                raise psycopg.Rollback(transaction)
            _record(connection, run, [_success(result) for result in results])
        if run.dry_run:
            with tenant_transaction(connection, part):
                _record(connection, run, [_success(result) for result in results])
        report.results.extend(results)

    errors |= _isolate([tenant_id for tenant_id in tenant_ids if tenant_id not in errors], work)
    report.failures = [
        TenantFailure(tenant_id, code_of(error), reason_of(error), is_recoverable(error))
        for tenant_id, error in sorted(errors.items())
    ]
    if report.failures:
        with tenant_transaction(connection, [failure.tenant_id for failure in report.failures]):
            _record(connection, run, [_failure(failure) for failure in report.failures])
    return report


def _isolate(tenant_ids: Sequence[str], work: Callable[[Sequence[str]], None]) -> dict[str, Exception]:
    """Call ``work`` on all tenants, on an error that one tenant's data can cause on each half, and so on down to single tenants.

    One broken tenant among n costs about 2·log2(n) calls instead of n. Other errors are raised.
    """
    if not tenant_ids:
        return {}
    try:
        work(tenant_ids)
    except Exception as error:
        if not is_about_data(error):
            raise
        if len(tenant_ids) == 1:
            return {tenant_ids[0]: error}
        middle = len(tenant_ids) // 2
        return _isolate(tenant_ids[:middle], work) | _isolate(tenant_ids[middle:], work)
    return {}


def _record(connection: psycopg.Connection, run: Run, outcomes: list[dict[str, Any]]) -> None:
    connection.execute(
        read_sql(_HERE, "record_outcomes"), {"execution_id": run.execution_id, "outcomes": Jsonb(outcomes)}
    )


def _success(result: TenantResult) -> dict[str, Any]:
    return {
        "tenant_id": result.tenant_id,
        "status": "success",
        "details": result.details,
        "notes": result.notes,
        "records": result.records,
    }


def _failure(failure: TenantFailure) -> dict[str, Any]:
    return {
        "tenant_id": failure.tenant_id,
        "status": "failed",
        "details": {},
        "notes": (),
        "records": 0,
        "error_code": failure.code,
        "error_message": failure.message,
    }
