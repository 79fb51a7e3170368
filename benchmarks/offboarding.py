"""Measure the deletion of a large tenant, without Airflow's start-up: seconds and peak memory of each stage, and the longest transaction
that deletes.

    python -m benchmarks.offboarding [PEOPLE ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pyrage  # type: ignore[import-untyped]

from benchmarks.measurement import Databases, connected, measure, vacuum
from include.skillreport.approvals import APPROVE
from include.skillreport.approvals.asking import ask_for_approval
from include.skillreport.approvals.requests import Answer, record_answer
from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.server import CONNECTION
from include.skillreport.batches.data_backup.settings import BackupSettings
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import (
    APPROVE_OFFBOARDING,
    OFFBOARD_TENANT,
)
from include.skillreport.core.postgres_programs import BIN_VARIABLE
from include.skillreport.operations.approve_offboarding.batch import OffboardingApproval
from include.skillreport.operations.offboard_tenant import deletion
from include.skillreport.operations.offboard_tenant.batch import TenantOffboarding
from include.skillreport.operations.offboard_tenant.form import OPEN_ITEMS
from include.skillreport.operations.offboard_tenant.settings import OffboardingSettings
from include.skillreport.schema.deploy import upgrade
from local_stack.batch_runs import LocalInstallation, run_batch
from local_stack.generator import DataShape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (1_000, 10_000)
LONGEST_SECONDS = 1.0
DAY, AFTER_WAIT = date(2026, 11, 1), date(2027, 2, 1)
TOOLS = EmbeddedPostgres.binary("pg_dump").parent


def shape(people: int) -> DataShape:
    """Two tenants, a month of requests, of which one leaves."""
    return DataShape(
        tenants=2,
        users_per_tenant=people,
        first_day=date(2026, 10, 1),
        days=30,
        requests_per_day=people * 4,
        odd_tenants=False,
    )


def stage(folder: str, tenant: str, values: dict[str, Any], dsn: str, day: date) -> None:
    """One run of ``offboard_tenant``."""
    with _access(folder, dsn) as access:
        batch = TenantOffboarding(access, OffboardingSettings.load(), BillingSettings.load().issuer)
        _run(access, OFFBOARD_TENANT, batch, {**values, "tenants": [tenant]}, day, "beginner")


def approve(folder: str, tenant: str, dsn: str, _: date) -> None:
    """The question, its answer and the deletion; writes the longest transaction in seconds to ``folder``."""
    longest = _watch_transactions()
    with _access(folder, dsn) as access:
        batch = TenantOffboarding(access, OffboardingSettings.load(), BillingSettings.load().issuer)
        result = _run(
            access, OFFBOARD_TENANT, batch, {"operation": "ask", "tenants": [tenant]}, AFTER_WAIT, "asker"
        )
        installation = access.installation
        run = Run(result.execution_id, AFTER_WAIT, AFTER_WAIT)
        asked = ask_for_approval(APPROVE_OFFBOARDING, run, installation, lambda _: None)
        assert asked is not None
        request = asked.request
        at = datetime.combine(AFTER_WAIT + timedelta(days=1), datetime.min.time(), UTC)
        with installation.platform(timedelta()) as platform:
            record_answer(platform, request.request_id, Answer("approver", at, [tenant]))
        values = {"request": request.request_id, "answer": APPROVE}
        _run(
            access,
            APPROVE_OFFBOARDING,
            OffboardingApproval(access, BillingSettings.load().issuer),
            values,
            AFTER_WAIT,
            "approver",
        )
    Path(folder, "longest").write_text(str(max(longest)))


def _watch_transactions() -> list[float]:
    longest, entered = [0.0], vars(deletion)["tenant_transaction"]

    @contextmanager
    def timed(*given: Any) -> Iterator[Any]:
        start = time.perf_counter()
        with entered(*given) as transaction:
            yield transaction
        longest.append(time.perf_counter() - start)

    vars(deletion)["tenant_transaction"] = timed
    return longest


@contextmanager
def _access(folder: str, dsn: str) -> Iterator[BackupAccess]:
    with connected(dsn) as (platform, _), psycopg.connect(dsn, autocommit=True) as cleanup:
        cleanup.execute("SET ROLE batch_cleanup")
        installation = LocalInstallation(
            platform,
            object_store=ObjectStore(Path(folder)),
            cleanup_connection=cleanup,
            databases={CONNECTION: dsn},
            variables={BIN_VARIABLE: str(TOOLS)},
        )
        yield BackupAccess(BackupSettings.load(), installation)


def _run(
    access: BackupAccess, spec: Any, batch: Any, values: dict[str, Any], day: date, person: str
) -> RunResult:
    with access.installation.platform(timedelta()) as platform:
        codes = tuple(values.pop("tenants", ()))
        result = run_batch(
            platform, platform, spec, batch, day, codes=codes, parameters=values, triggered_by=person
        )
    assert result.status == "completed", result
    return result


def compare(databases: Databases, people: int) -> tuple[str, float]:
    """A line of the table, and the longest transaction in seconds."""
    dsn = databases.load(f"people_{people}", shape(people))
    upgrade(dsn, with_deletion=True)
    with psycopg.connect(dsn, autocommit=True) as admin:
        (tenant,) = admin.execute(
            """
            UPDATE "MST_Tenant" SET status = 'INACTIVE'
            WHERE tenant_id = (SELECT min(tenant_id) FROM "MST_Tenant")
            RETURNING tenant_id
            """
        ).fetchone() or ("",)
    vacuum(dsn)
    begin = {"operation": "begin", "reason": "benchmark", **dict.fromkeys(OPEN_ITEMS, True)}
    export = {"operation": "export", "age_key": str(pyrage.x25519.Identity.generate().to_public())}
    with tempfile.TemporaryDirectory() as folder:
        measure(partial(stage, folder, tenant, begin), dsn, DAY)
        exported = measure(partial(stage, folder, tenant, export), dsn, DAY)
        deleted = measure(partial(approve, folder, tenant), dsn, DAY)
        longest = float(Path(folder, "longest").read_text())
    with psycopg.connect(dsn) as admin:
        row = admin.execute("SELECT sum(done) FROM batch.offboarding_table").fetchone()
    assert row is not None
    return (
        f"{people:>8,} {row[0]:>10,} {exported.seconds:>9.1f} {exported.peak_memory_bytes / 2**20:>10.0f}"
        f" {deleted.seconds:>9.1f} {deleted.peak_memory_bytes / 2**20:>10.0f} {longest:>12.2f}"
    ), longest


def main() -> None:
    """Print the table; exit with an error if a transaction takes too long."""
    sizes = [int(each) for each in sys.argv[1:]] or SIZES
    print(
        f"{'people':>8} {'rows':>10} {'export s':>9} {'memory MB':>10} {'delete s':>9} {'memory MB':>10} {'longest tx s':>12}"
    )
    found = []
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        try:
            for size in sizes:
                found.append(compare(Databases(server), size))
                print(found[-1][0], flush=True)
        finally:
            server.reset()
    if max(longest for _, longest in found) > LONGEST_SECONDS:
        raise SystemExit(f"A transaction took longer than {LONGEST_SECONDS} s.")


if __name__ == "__main__":
    main()
