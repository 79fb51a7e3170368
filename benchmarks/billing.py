"""Compare BATCH-018-02, without Airflow's start-up, with the sequential loop of the customer's list.

The loop follows the batch list, section 4.2: it prices, finalises and saves one tenant after the other, each in a transaction, with the
same rules. The batch processes a shard's tenants together. Both must give the same invoices. Then the benchmark writes the documents
(PDF and JSON) of the first tenants. The benchmark uses one process on one core; a run uses up to five.

Compare ratios, not seconds, because the ratio does not depend on the machine.

    python -m benchmarks.billing [TENANTS ...]
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, connected, measure, vacuum
from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.billing.documents.archive import write_documents
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.batch_runs import LOCAL, open_run, run_batch
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (1_000, 10_000)
MONTH = date(2026, 10, 1)
DOCUMENTS = 300
REQUIRED_TENANTS_PER_SECOND = 500
REQUIRED_DOCUMENTS_PER_SECOND = 50
_SQL = Statements(Path(__file__).parent)


def run_billing_batch(dsn: str, month: date) -> None:
    """Do one run as the DAG's tasks do, without the files."""
    with connected(dsn) as (platform, connection):
        assert (
            run_batch(platform, connection, TENANT_BILLING, create_batch(LOCAL), month).status == "completed"
        )


def run_loop(dsn: str, month: date) -> None:
    """The customer's loop: one tenant after the other."""
    batch = create_batch(LOCAL)
    with connected(dsn) as (platform, connection):
        run, tenants = open_run(platform, TENANT_BILLING, batch, month)
        for tenant_id in tenants:
            with tenant_transaction(connection, [tenant_id]):
                batch.process(Work(run, connection, [tenant_id]))


def write_files(directory: str, dsn: str, month: date) -> None:
    """Write the documents of the first invoices."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        invoiced = _SQL.execute(connection, "issued_invoices").fetchmany(DOCUMENTS)
        connection.execute("SET ROLE batch_tenant")
        for tenant_id, *_ in invoiced:
            write_documents(
                connection, tenant_id, month, ObjectStore(Path(directory)), largest_attachment=10**7
            )


def issued_invoices(dsn: str) -> list[tuple[object, ...]]:
    """The invoices: total and hash of the inputs, in the order of the tenants."""
    with psycopg.connect(dsn) as connection:
        return _SQL.execute(connection, "issued_invoices").fetchall()


def main(sizes: tuple[int, ...]) -> int:
    rate = documents_rate = 0.0
    with tempfile.TemporaryDirectory(prefix="billing-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        databases = Databases(server)
        try:
            print(
                f"{'tenants':>8} {'tenants/s':>10} {'peak MB':>8}  {'loop tenants/s':>14} {'ratio':>6}  documents/s  peak MB"
            )
            for tenants in sizes:
                shape = replace(benchmark_shape(tenants), users_per_tenant=0, requests_per_day=0)
                dsn = databases.load(f"batch_{tenants}", shape)
                with psycopg.connect(dsn) as connection:
                    _SQL.execute(connection, "billing_month")
                vacuum(dsn)
                loop_dsn = databases.copy(f"loop_{tenants}", f"batch_{tenants}")
                batch = measure(run_billing_batch, dsn, MONTH)
                loop = measure(run_loop, loop_dsn, MONTH)
                if issued_invoices(dsn) != issued_invoices(loop_dsn):
                    raise SystemExit("batch and loop have left different invoices")
                files = measure(partial(write_files, directory), dsn, MONTH)
                rate = tenants / batch.seconds
                written = min(DOCUMENTS, len(issued_invoices(dsn)))
                documents_rate = written / files.seconds
                print(
                    f"{tenants:>8,} {rate:>10,.0f} {batch.peak_memory_bytes / 2**20:>8.0f}"
                    f"  {tenants / loop.seconds:>14,.0f} {loop.seconds / batch.seconds:>6.1f}"
                    f"  {documents_rate:>11,.0f} {files.peak_memory_bytes / 2**20:>8.0f}",
                    flush=True,
                )
        finally:
            server.reset()
    print(
        f"at {sizes[-1]:,} tenants: {rate:,.0f} tenants/s (required {REQUIRED_TENANTS_PER_SECOND}), "
        f"{documents_rate:,.0f} documents/s (required {REQUIRED_DOCUMENTS_PER_SECOND})"
    )
    return int(rate < REQUIRED_TENANTS_PER_SECOND or documents_rate < REQUIRED_DOCUMENTS_PER_SECOND)


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
