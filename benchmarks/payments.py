"""Measure the import of a bank's file: one transfer for each tenant's invoice, all of known payers, a tenth of them less a fee.

First the parts of the step ``read_files`` are measured, and rolled back. Then the run's steps are done as its tasks do them, with the
shards in two processes. At the end, a matching of many transfers that nobody has confirmed.

    python -m benchmarks.payments [TENANTS [WAITING]]
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import yaml

from benchmarks.billing import run_billing_batch
from benchmarks.measurement import Databases, connected, measure, vacuum
from include.skillreport.billing import bank_inbox
from include.skillreport.billing.ledger.transfers import match_transfers, store_file
from include.skillreport.billing.receivables.bank_file import read_bank_file
from include.skillreport.billing.receivables.transfer import BankFile, Transfer, payer_key
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.flow import TaskKey
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.operations.import_payments import create_batch
from local_stack.batch_runs import LOCAL, LocalInstallation, request_of
from local_stack.generator import benchmark_shape
from local_stack.local_run import LocalRun
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import DEMO_SETTINGS
from tests.billing.zengin_files import OWN_ACCOUNT, zengin_file

TENANTS, WAITING = 10_000, 100_000
PROCESSES = 2
REQUIRED_SECONDS, REQUIRED_MATCHING_SECONDS = 60, 20
MONTH, PAID_ON, TODAY = date(2026, 10, 1), date(2026, 11, 27), date(2026, 11, 30)
_FEE = 440
_SQL = Statements(Path(__file__).parent)


@dataclass
class Seconds:
    """The seconds of each part, in order."""

    parts: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Measure a part."""
        start = time.perf_counter()
        yield
        self.parts[part] = time.perf_counter() - start
        print(f"{part:<28} {self.parts[part]:>7.1f} s", flush=True)


def use_own_account(folder: Path) -> None:
    """The demo's settings, with payments that the operations record. The measured processes inherit the variable."""
    own = yaml.safe_load(DEMO_SETTINGS.read_text(encoding="utf-8"))
    own["billing"] |= {
        "price_list": str(DEMO_SETTINGS.parent / own["billing"]["price_list"]),
        "payment_source": "operations",
        "own_accounts": [OWN_ACCOUNT],
    }
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(own, allow_unicode=True), encoding="utf-8")
    os.environ[SETTINGS_VARIABLE] = str(file)


def bill(databases: Databases, tenants: int) -> str:
    """Tenants with an invoice of October each."""
    dsn = databases.load(
        "payments", replace(benchmark_shape(tenants), users_per_tenant=0, requests_per_day=0)
    )
    with psycopg.connect(dsn) as connection:
        _SQL.execute(connection, "billing_month")
    vacuum(dsn)
    run_billing_batch(dsn, MONTH)
    return dsn


def file_of(dsn: str) -> tuple[bytes, int]:
    """The bank's file with a transfer for each invoice, and their number. The payers become known."""
    with psycopg.connect(dsn) as connection:
        invoices = _SQL.execute(connection, "open_invoices").fetchall()
        names = [f"ｶ)ﾃﾅﾝﾄ{number}" for number in range(len(invoices))]
        _SQL.execute(
            connection,
            "know_payers",
            tenant_ids=[tenant_id for tenant_id, _ in invoices],
            payer_keys=[payer_key(name) for name in names],
        )
    vacuum(dsn)
    content = zengin_file(
        Transfer(
            OWN_ACCOUNT,
            PAID_ON,
            amount - (0 if number % 10 else _FEE),
            name,
            reference=f"{number % 1_000_000}",
        )
        for number, (name, (_, amount)) in enumerate(zip(names, invoices, strict=True))
    )
    return content, len(invoices)


def measure_reading(dsn: str, content: bytes, seconds: Seconds) -> None:
    """The parts of the step that reads the files; they leave nothing."""
    settings = BillingSettings.load()
    with connected(dsn) as (platform, _), platform.transaction() as transaction:
        with seconds.of("  read the file"):
            file = read_bank_file(content, "benchmark.txt", settings, TODAY)
        with seconds.of("  store its transfers"):
            store_file(
                platform,
                "b",
                sha256(content).hexdigest(),
                file,
                run_on=TODAY,
                entered_by="b",
                execution_id="b",
            )
        with seconds.of("  match"):
            match_transfers(platform, fee_tolerance=settings.fee_tolerance, today=TODAY)
        raise psycopg.Rollback(transaction)


def measure_run(dsn: str, folder: Path, seconds: Seconds) -> None:
    """The run's steps, one after the other; the shards side by side."""
    with connected(dsn) as (platform, connection):
        installation = _installation(platform, connection, folder)
        form = {"operation": "import"}
        request = request_of(IMPORT_PAYMENTS, TODAY, parameters=form, run_at=installation.moment)
        run = LocalRun(IMPORT_PAYMENTS, request, installation)
        for task in run.tasks():
            if task.map_index < 0:
                with seconds.of(task.step):
                    run.do(task)
            elif task.map_index == 0:
                with seconds.of(f"{task.step}, {PROCESSES} processes"):
                    _side_by_side(dsn, run.run, run.shards, folder)
        assert run.closed is not None
        if run.closed.failure:
            raise SystemExit(f"the run has failed: {run.closed.result}")


def _installation(
    platform: psycopg.Connection, connection: psycopg.Connection, folder: Path
) -> LocalInstallation:
    return LocalInstallation(
        platform, connection, ObjectStore(folder), moment=datetime(2026, 11, 30, 8, 30, tzinfo=JAPAN)
    )


def _side_by_side(dsn: str, run: Run, shards: list[Any], folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    waiting = context.Queue()
    for shard in shards:
        waiting.put(shard)
    workers = [context.Process(target=_work, args=(dsn, run, waiting, folder)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a worker has failed")


def _work(dsn: str, run: Run, waiting: Any, folder: Path) -> None:
    batch = create_batch(LOCAL)
    while True:
        try:
            shard = waiting.get(timeout=0.5)
        except queue.Empty:
            return
        with connected(dsn) as (platform, connection):
            installation = _installation(platform, connection, folder)
            key = TaskKey("record_payments", shard.number)
            flow.process_shard(IMPORT_PAYMENTS, batch, run, shard, installation, key)


def check(dsn: str, transfers: int) -> None:
    """Each transfer is a payment, and nothing is open."""
    with psycopg.connect(dsn) as connection:
        recorded = _SQL.row(connection, "recorded")
        if recorded != (transfers, 0):
            raise SystemExit(f"wrong payments and open amount: {recorded}")


def add_waiting(dsn: str, count: int) -> None:
    """Transfers that stay open: half of them of unknown payers, half of known ones with another amount than the invoice of November."""
    with connected(dsn) as (platform, _):
        transfers = tuple(
            Transfer(
                OWN_ACCOUNT,
                PAID_ON,
                Decimal(11_000 + number % 5_000),
                f"ｶ)ｼﾗﾅｲ{number}" if number % 2 else f"ｶ)ﾃﾅﾝﾄ{number % TENANTS}",
                reference=f"{number}",
            )
            for number in range(count)
        )
        store_file(
            platform,
            "waiting",
            "0" * 64,
            BankFile("zengin", transfers),
            run_on=TODAY,
            entered_by="b",
            execution_id="b",
        )


def match_once(dsn: str, day: date) -> None:
    """One matching of all open transfers."""
    with connected(dsn) as (platform, _):
        match_transfers(platform, fee_tolerance=880, today=day)


def main(tenants: int = TENANTS, waiting: int = WAITING) -> int:
    seconds = Seconds()
    with tempfile.TemporaryDirectory(prefix="payments-benchmark-") as directory:
        use_own_account(Path(directory))
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        try:
            dsn = bill(Databases(server), tenants)
            content, transfers = file_of(dsn)
            folder = Path(directory) / "store"
            file = Path(ObjectStore(folder).write(f"{bank_inbox.INCOMING}/benchmark.txt", content))
            before = time.time() - 120
            os.utime(file, (before, before))
            measure_reading(dsn, content, seconds)
            vacuum(dsn)
            measure_run(dsn, folder, seconds)
            check(dsn, transfers)
            add_waiting(dsn, waiting)
            vacuum(dsn)
            matching = measure(match_once, dsn, TODAY)
        finally:
            server.reset()
    whole = sum(of_part for part, of_part in seconds.parts.items() if not part.startswith(" "))
    print(
        f"{transfers:,} transfers: {whole:.0f} s (required {REQUIRED_SECONDS}); {waiting:,} open transfers: matched in "
        f"{matching.seconds:.0f} s (required {REQUIRED_MATCHING_SECONDS}), peak {matching.peak_memory_bytes / 2**20:.0f} MB"
    )
    return int(whole > REQUIRED_SECONDS or matching.seconds > REQUIRED_MATCHING_SECONDS)


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
