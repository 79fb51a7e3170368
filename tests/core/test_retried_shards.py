"""A worker that is killed in the last part of a large shard: its retry repeats that part, a clear repeats all, and no figure changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.execution import shard_work
from include.skillreport.core.execution.batch import Outcome, UnitResult, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.network import Network
from local_stack.batch_runs import LocalInstallation, request_of
from local_stack.local_run import KilledError, LocalRun
from tests.worlds.seat_batch import DAY, SeatBatch, plant_tenants

# Four parts of five tenants, in one instance.
TOGETHER = ExecutionSettings(max_mapped_tenants=1, shards=1, tenants_per_shard=500, seconds_per_shard=5)
PART = 5

INSTANCE = f"{TENANT_USAGE.mapped_task}[0]"


@dataclass
class Written(SeatBatch):
    """Only writes rows. ``worked`` has the tenants of each transaction; the process is killed before the number ``dies_at``."""

    effects = frozenset({"added"})
    states = frozenset({"seats"})
    dies_at: list[int] = field(default_factory=list)
    worked: list[list[str]] = field(default_factory=list)

    def process(self, work: Work) -> list[UnitResult]:
        self._live()
        results = self._added(work)
        self.worked.append(list(work.tenant_ids))
        return results

    def _added(self, work: Work) -> list[UnitResult]:
        """The results, with the number of new rows."""
        known = {
            tenant_id
            for (tenant_id,) in work.connection.execute(
                "SELECT tenant_id FROM batch.login_day WHERE login_date = %s", [DAY]
            )
        }
        return [
            UnitResult(each.unit_id, {**each.details, "added": int(each.unit_id not in known)}, 1)
            for each in SeatBatch.process(self, work)
        ]

    def _live(self) -> None:
        if self.dies_at and len(self.worked) == self.dies_at[0]:
            self.dies_at.clear()
            raise KilledError


@dataclass
class Filed(Written):
    """Also writes a file for each tenant. ``worked`` has the tenant of each file."""

    def process(self, work: Work) -> list[UnitResult]:
        return self._added(work)

    def write_files(self, work: Work, tenant_id: str) -> None:
        self._live()
        work.files.write(f"seats/{tenant_id}", b"10")
        self.worked.append([tenant_id])


@dataclass
class Sent(Written):
    """Also sends a message for each tenant, and reports a part of them at a time."""

    def process(self, work: Work) -> list[UnitResult]:
        return self._added(work)

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[Outcome]:
        for start in range(0, len(results), PART):
            some = results[start : start + PART]
            self._live()
            self.worked.append([each.unit_id for each in some])
            work.record(work.connection, some)
        return results


@pytest.mark.parametrize(("kind", "at"), [(Written, 3), (Filed, 17), (Sent, 3)])
def test_a_retry_repeats_what_was_not_final(
    host: psycopg.Connection,
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: type[Written],
    at: int,
) -> None:
    monkeypatch.setattr(shard_work, "_TENANTS_TOGETHER", PART)
    ids = plant_tenants(host, 20)
    batch = kind(dies_at=[at])
    run = _run(platform, connection, lambda: batch, tmp_path)
    run.execute()
    assert isinstance(run.failed[INSTANCE], KilledError)
    before = _tenants(batch)

    batch.worked.clear()
    run.retry(INSTANCE)
    assert run.failed == {}

    done = _tenants(batch)
    assert len(set(before) & set(done)) <= PART
    assert sorted({*before, *done}) == ids
    assert _result(host, run) == (20, {"seats": 200, "added": 20})

    # A clear starts anew.
    batch.worked.clear()
    run.clear(INSTANCE)
    assert _tenants(batch) == ids
    assert _result(host, run) == (20, {"seats": 200, "added": 20})


def test_a_cleared_run_also_reports_what_it_had_done_before(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection, tmp_path: Path
) -> None:
    ids = plant_tenants(host, 6)
    run = _run(platform, connection, Written, tmp_path)
    run.execute()
    # Meanwhile a tenant has left.
    host.execute("""UPDATE "MST_Tenant" SET status = 'SUSPENDED' WHERE tenant_id = %s""", [ids[2]])
    run.clear("open_run")

    assert _result(host, run) == (5, {"seats": 50, "added": 6})


def _run(
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    create: Callable[[], Written],
    folder: Path,
) -> LocalRun:
    request = request_of(TENANT_USAGE, DAY)
    installation = LocalInstallation(platform, connection, ObjectStore(folder), Network(), request.run_at)
    return LocalRun(TENANT_USAGE, request, installation, create, TOGETHER, failures=(Exception, KilledError))


def _tenants(batch: Written) -> list[str]:
    return sorted(tenant_id for part in batch.worked for tenant_id in part)


def _result(host: psycopg.Connection, run: LocalRun) -> tuple[int, dict[str, Any]]:
    """The tenants that succeeded, and the totals."""
    row = host.execute(
        "SELECT success_count, result -> 'totals' FROM batch.execution_log WHERE execution_id = %s",
        [run.run.execution_id],
    ).fetchone()
    assert row is not None
    return row
