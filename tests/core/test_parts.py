"""Work in parts: if one part fails, the others' results remain, and the tenant has failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.core.catalog import EXTERNAL_SYNC
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Run, TenantBatch, UnitResult, Work
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.sharding import Shard, Tenant, shard_tenants
from include.skillreport.core.network import Network
from local_stack.batch_runs import process_tenants
from tests.worlds import host_rows

DAY = date(2026, 11, 1)
T1, T2 = Tenant("T1", "T1", "T1"), Tenant("T2", "T2", "T2")
PARTS = {"T1": ["blue", "red"]}


class ColourBatch(TenantBatch):
    """Asks a service before it works. The service has no answer about ``broken``."""

    broken: tuple[str, ...] = ()
    asked: list[str]

    def fetch(self, work: Work) -> Mapping[str, Exception]:
        self.asked = list(work.tenant_ids)
        return {
            tenant_id: ValueError("no answer")
            for tenant_id in work.tenant_ids
            if work.run.part in self.broken
        }

    def process(self, work: Work) -> list[UnitResult]:
        return [UnitResult(tenant_id, {"colours": 1}, records=1) for tenant_id in work.tenant_ids]


def open_run(platform: psycopg.Connection) -> Run:
    return run_log.open_execution(
        platform,
        EXTERNAL_SYNC,
        dag_id="dag",
        run_id="run",
        business_date=DAY,
        run_date=DAY + timedelta(days=1),
        dry_run=False,
        parameters={},
        shards=shard_tenants([T1, T2], ExecutionSettings.load(), PARTS),
    )


def test_a_tenant_succeeds_when_all_its_parts_have(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    for tenant in (T1, T2):
        host_rows.tenant(host, tenant.id)
    run, batch, network = open_run(platform), ColourBatch(), Network()
    batch.broken = ("red",)
    for shard, tenant_ids in shard_tenants([T1, T2], ExecutionSettings.load(), PARTS).items():
        process_tenants(
            connection, platform, batch, replace(run, part=shard.part), tenant_ids, network=network
        )

    result = run_log.close_execution(platform, run)

    assert (result.status, result.total_tenants, result.success_count) == ("partial", 2, 1)
    assert [(tenant.code, tenant.reason) for tenant in result.failed_tenants] == [("T1", "red: no answer")]
    assert host.execute(
        "SELECT result -> 'results', result #>> '{totals,colours}' FROM batch.execution_log"
    ).fetchone() == ([{"tenantId": "T1", "part": "red", "status": "failed", "error": "no answer"}], "2")

    # The part is done again, alone.
    batch.broken = ()
    process_tenants(connection, platform, batch, replace(run, part="red"), ["T1"], network=network)
    assert run_log.close_execution(platform, run).status == "completed"
    assert host.execute(
        "SELECT tenant_id, part, attempts FROM batch.tenant_outcome ORDER BY tenant_id, part"
    ).fetchall() == [("T1", "blue", 1), ("T1", "red", 2), ("T2", "", 1)]


def test_a_part_that_was_not_done_is_a_failure(
    platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    run = open_run(platform)
    process_tenants(connection, platform, ColourBatch(), replace(run, part="blue"), ["T1"], network=Network())

    reasons = [tenant.reason for tenant in run_log.close_execution(platform, run).failed_tenants]

    lost = "タスクが結果を残さずに止まりました"
    assert [reason.partition("（")[0] for reason in reasons] == [f"red: {lost}", lost]


def test_a_dry_run_asks_services_for_the_remaining_tenants(
    platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    run, batch = replace(open_run(platform), dry_run=True, part="blue"), ColourBatch()

    report = process_tenants(connection, platform, batch, run, ["T1"], network=Network())

    assert (batch.asked, len(report.results)) == (["T1"], 1)


def test_parts_have_own_instances_and_above_the_limit_own_shards() -> None:
    few = ExecutionSettings(max_mapped_tenants=3, shards=2, tenants_per_shard=9, seconds_per_shard=5)
    assert shard_tenants([T1, T2], few, PARTS) == {
        Shard(0, "T1 blue", "blue"): ["T1"],
        Shard(1, "T1 red", "red"): ["T1"],
        Shard(2, "T2"): ["T2"],
    }
    assert shard_tenants([T1, T2], few, {"T1": ["blue", "red"], "T2": ["blue", "red"]}) == {
        Shard(0, "T1 – T2 (2) blue", "blue"): ["T1", "T2"],
        Shard(1, "T1 – T2 (2) red", "red"): ["T1", "T2"],
    }


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c"]), unique=True), max_size=400),
    st.builds(
        ExecutionSettings,
        max_mapped_tenants=st.integers(1, 500),
        shards=st.integers(1, 60),
        tenants_per_shard=st.integers(5, 500),
        seconds_per_shard=st.just(5),
    ),
)
def test_every_part_of_every_tenant_is_in_exactly_one_shard(
    parts_of: list[list[str]], settings: ExecutionSettings
) -> None:
    tenants = [Tenant(f"id-{number}", f"C{number}", "") for number in range(len(parts_of))]
    parts = {tenant.id: own for tenant, own in zip(tenants, parts_of, strict=True)}

    shards = shard_tenants(tenants, settings, parts)

    done = [(tenant_id, shard.part) for shard, tenant_ids in shards.items() for tenant_id in tenant_ids]
    assert sorted(done) == sorted(
        (tenant.id, part) for tenant in tenants for part in parts[tenant.id] or [""]
    )
    largest = max(settings.shards, len(done) // settings.tenants_per_shard + 1)
    assert len(shards) <= max(settings.max_mapped_tenants, largest + 4)
