"""A whole run of a per-tenant batch without Airflow, step by step as the DAG's tasks do it: for demo data, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import psycopg

from include.catalog import BatchSpec
from include.execution import run_log
from include.execution.business_date import period_of
from include.execution.object_store import ObjectStore
from include.execution.run_log import RunResult
from include.execution.sharding import Tenant, shard_tenants
from include.execution.tenant_work import Run, TenantBatch, prepare, process_shard
from include.messaging.message import Network
from include.settings import ExecutionSettings, load_settings


def open_run(
    platform: psycopg.Connection,
    spec: BatchSpec,
    batch: TenantBatch,
    business_date: date,
    *,
    codes: Sequence[str] = (),
    dry_run: bool = False,
    parameters: Mapping[str, Any] | None = None,
    run_at: datetime | None = None,
) -> tuple[Run, list[Tenant]]:
    """Open a run for the batch's tenants, or for those with these codes, on the day after the period that it works on."""
    tenants = run_log.select_tenants(platform, codes, batch.further_tenants(platform, business_date)).tenants
    options = batch.options(parameters or {}, tenants, all_tenants=not codes)
    batch.verify(platform, options, tenants)
    run = run_log.open_execution(
        platform,
        spec,
        dag_id=spec.dag_id,
        run_id="without Airflow",
        business_date=business_date,
        run_date=period_of(business_date, spec.works_on)[1] + timedelta(days=1),
        dry_run=dry_run,
        parameters=parameters or {},
        tenants=tenants,
        options=options,
        parts=batch.parts(platform, tenants),
        run_at=run_at,
    )
    return run, tenants


def run_batch(
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    spec: BatchSpec,
    batch: TenantBatch,
    business_date: date,
    *,
    codes: Sequence[str] = (),
    dry_run: bool = False,
    parameters: Mapping[str, Any] | None = None,
    sharding: ExecutionSettings | None = None,
    store: ObjectStore | None = None,
    network: Network | None = None,
    run_at: datetime | None = None,
) -> RunResult:
    """Open, prepare, process shard after shard, close.

    ``platform`` acts as ``batch_platform`` and ``connection`` as ``batch_tenant``, both in autocommit mode.
    """
    run, tenants = open_run(
        platform,
        spec,
        batch,
        business_date,
        codes=codes,
        dry_run=dry_run,
        parameters=parameters,
        run_at=run_at,
    )
    prepare(platform, batch, run, [tenant.id for tenant in tenants])
    parts = batch.parts(platform, tenants)
    for shard in shard_tenants(tenants, sharding or load_settings().execution, parts):
        own = replace(run, part=shard.part)
        process_shard(connection, platform, batch, own, shard.tenant_ids, store, network)
    if store and not run.dry_run:
        batch.finish(platform, run, store)
    result = run_log.close_execution(platform, run)
    batch.discard(platform, run)
    return result
