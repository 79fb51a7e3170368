"""Compare BATCH-018-01, without Airflow's start-up, with the sequential loop of the customer's list.

The loop follows the batch list, section 4.1: four queries and a save for each tenant. The rows are as the application writes them, so the
loop resolves people too. It has indexes on the host's tables that the host does not have and that the batches must not create, and a table
with each tenant's keys, made before the measurement; the batch runs without them. So each look-up of the loop is one by index, and a tenant
costs the same at any number of tenants: the table has its milliseconds. Both must write the same rows to SYS_TenantUsage, except the
assessments, for which the data have no source. The batch also closes the days, saves the logins, and records outcomes, warnings and
unassigned rows. The loop is measured with plain statements, as a database hook sends them, and with prepared statements, its best case.

Compare ratios, not seconds, because the ratio does not depend on the machine.

    python -m benchmarks.usage [TENANTS ...]
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from benchmarks.measurement import Databases, Measurement, Work, connected, measure, vacuum
from include.skillreport.batches.tenant_usage import create_batch
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import utc_bounds
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (100, 1_000, 10_000)
ROUNDS = 2
REQUIRED_RATIO = 8
_SQL = Statements(Path(__file__).parent)


def run_usage_batch(dsn: str, day: date) -> None:
    """Do one run as the DAG's tasks do, with one connection per role."""
    with connected(dsn) as (platform, connection):
        assert run_batch(platform, connection, TENANT_USAGE, create_batch(LOCAL), day).status == "completed"


def run_plain_loop(dsn: str, day: date) -> None:
    """The customer's loop: one tenant after the other, four queries and a save each."""
    _loop(dsn, day, prepare_threshold=None)


def run_prepared_loop(dsn: str, day: date) -> None:
    """The same loop with prepared statements."""
    _loop(dsn, day, prepare_threshold=0)


def _loop(dsn: str, day: date, *, prepare_threshold: int | None) -> None:
    bounds = utc_bounds(day)
    with psycopg.connect(
        dsn, autocommit=True, row_factory=dict_row, prepare_threshold=prepare_threshold
    ) as connection:
        connection.execute("SET timezone TO 'UTC'")
        # Only look-ups by index are left. A table that grows with all tenants is never read as a whole for one of them.
        for method in ("seqscan", "hashjoin", "mergejoin"):
            connection.execute("SELECT set_config(%s, 'off', false)", [f"enable_{method}"])
        tenants = connection.execute('SELECT tenant_id FROM "MST_Tenant" ORDER BY tenant_id').fetchall()
        for tenant in tenants:
            values = {**tenant, "day": day, "day_start": bounds.start, "day_end": bounds.end}
            for name in ("user_count", "storage_usage", "api_call_count", "report_count"):
                values |= _SQL.row(connection, f"loop_{name}", **values)
            _SQL.execute(connection, "loop_save", **values)


def best(work: Work, dsn: str, day: date) -> Measurement:
    """The fastest of several rounds. The first round also warms the server's cache."""
    return min((measure(work, dsn, day) for _ in range(ROUNDS)), key=lambda measurement: measurement.seconds)


def add_loop_indexes(dsn: str) -> None:
    """Create the indexes that the loop needs."""
    with psycopg.connect(dsn) as connection:
        connection.execute((Path(__file__).parent / "sql" / "loop_indexes.sql").read_bytes())
    vacuum(dsn)


def usage_rows(dsn: str) -> list[tuple[object, ...]]:
    """The rows that the application shows, in the order of the tenants."""
    with psycopg.connect(dsn) as connection:
        return _SQL.execute(connection, "usage_rows").fetchall()


def main(sizes: tuple[int, ...]) -> int:
    ratio = 0.0
    with tempfile.TemporaryDirectory(prefix="usage-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            print(f"{'':>19} {'batch':>19}  {'plain loop':>18}  {'prepared loop':>18}")
            print(
                f"{'tenants':>8} {'log rows':>10} {'tenants/s':>10} {'peak MB':>8}  {'ms/tenant':>10} {'ratio':>7}"
                f"  {'ms/tenant':>10} {'ratio':>7}"
            )
            for tenants in sizes:
                shape = benchmark_shape(tenants)
                dsn = databases.load(f"batch_{tenants}", shape)
                loop_dsn = databases.copy(f"loop_{tenants}", f"batch_{tenants}")
                add_loop_indexes(loop_dsn)
                batch = best(run_usage_batch, dsn, shape.first_day)
                plain = best(run_plain_loop, loop_dsn, shape.first_day)
                prepared = best(run_prepared_loop, loop_dsn, shape.first_day)
                if usage_rows(dsn) != usage_rows(loop_dsn):
                    raise SystemExit("batch and loop have left different rows")
                ratio = plain.seconds / batch.seconds
                print(
                    f"{tenants:>8,} {shape.requests_per_day:>10,} {tenants / batch.seconds:>10,.0f}"
                    f" {batch.peak_memory_bytes / 2**20:>8.0f}  {1000 * plain.seconds / tenants:>10.2f} {ratio:>7.1f}"
                    f"  {1000 * prepared.seconds / tenants:>10.2f} {prepared.seconds / batch.seconds:>7.1f}",
                    flush=True,
                )
            _memory_by_rows(databases)
        finally:
            server.reset()
    print(
        f"ratio to the plain loop at {sizes[-1]:,} tenants: {ratio:.1f} (required at 10,000: {REQUIRED_RATIO})"
    )
    return 0 if sizes[-1] < SIZES[-1] or ratio >= REQUIRED_RATIO else 1


def _memory_by_rows(databases: Databases) -> None:
    """The same tenants with ten times as many log rows, which must not change the memory."""
    peaks = []
    for factor in (1, 10):
        shape = replace(benchmark_shape(1_000), requests_per_day=100_000 * factor)
        dsn = databases.load(f"memory_{factor}", shape)
        peaks.append(measure(run_usage_batch, dsn, shape.first_day).peak_memory_bytes)
    print(
        f"peak memory, 1,000 tenants: {peaks[0] / 2**20:.0f} MB with 100,000 log rows,"
        f" {peaks[1] / 2**20:.0f} MB with 1,000,000 (ratio {peaks[1] / peaks[0]:.2f})"
    )


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
