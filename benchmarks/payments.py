"""The import of a bank's file: one transfer for each tenant's invoice, all of known payers, a tenth of them less a fee.

The run's steps are done as its tasks do them, with the shards in two processes. Then one matching of many transfers that stay open.
"""

from __future__ import annotations

import os
import time
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import psycopg
import pytest

from benchmarks.measurement import connected, measure, run_once
from benchmarks.place import Found, Place
from benchmarks.scale_world import LAST_DAY, World, vacuum
from benchmarks.workers import Site, run_side_by_side
from include.skillreport.billing import bank_inbox
from include.skillreport.billing.ledger.transfers import match_transfers, store_file
from include.skillreport.billing.receivables.transfer import BankFile, Transfer, payer_key
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from local_stack.batch_runs import request_of
from tests.worlds.own_settings import change_billing
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

PROCESSES = 2
ALLOWED_SECONDS, ALLOWED_MATCHING_SECONDS = 60, 20
PAID_ON, TODAY = date(2026, 11, 27), date(2026, 11, 30)
_FEE = 440
_SQL = Statements(Path(__file__).parent)


def bill(place: Place, tenants: int) -> str:
    """Tenants with an invoice of October each."""
    dsn = place.plant("payments", World(tenants, users=0, requests=0))
    with psycopg.connect(dsn) as connection:
        _SQL.execute(connection, "billing_month")
    vacuum(dsn)
    measure(partial(run_once, TENANT_BILLING), dsn, LAST_DAY.replace(day=1))
    return dsn


def file_of(dsn: str) -> tuple[bytes, int]:
    """The bank's file with a transfer for each invoice, and their number. The payers become known."""
    with psycopg.connect(dsn) as connection:
        invoices = _SQL.execute(connection, "open_invoices").fetchall()
        names = [f"ｶ)ﾃﾅﾝﾄ{number}" for number in range(len(invoices))]
        keys = {
            "tenant_ids": [tenant_id for tenant_id, _ in invoices],
            "payer_keys": [payer_key(name) for name in names],
        }
        _SQL.execute(connection, "know_payers", **keys)
    vacuum(dsn)
    transfers = (
        _transfer(number, amount - (0 if number % 10 else _FEE), name)
        for number, (name, (_, amount)) in enumerate(zip(names, invoices, strict=True))
    )
    return zengin_file(transfers), len(invoices)


def _transfer(number: int, amount: Decimal, name: str) -> Transfer:
    return Transfer(OWN_ACCOUNT, PAID_ON, amount, name, reference=f"{number % 1_000_000}")


def add_waiting(dsn: str, count: int, tenants: int) -> None:
    """Transfers that stay open: half of them of unknown payers, half of known ones with another amount than the invoice of November."""
    transfers = tuple(
        _transfer(
            number,
            Decimal(11_000 + number % 5_000),
            f"ｶ)ｼﾗﾅｲ{number}" if number % 2 else f"ｶ)ﾃﾅﾝﾄ{number % tenants}",
        )
        for number in range(count)
    )
    put = partial(store_file, virtual_accounts=(), run_on=TODAY, entered_by="b", execution_id="b")
    with connected(dsn) as (platform, _):
        put(platform, "waiting", "0" * 64, BankFile("zengin", transfers))
    vacuum(dsn)


def match_once(dsn: str, day: date) -> None:
    """One matching of all open transfers."""
    with connected(dsn) as (platform, _):
        match_transfers(platform, fee_tolerance=880, today=day)


def measurement(place: Place) -> Found:
    """Each transfer is a payment, nothing is open, and an operator does not wait."""
    tenants, waiting = place.size((10_000, 100_000), (200, 1_000))
    # The measured processes inherit the variable.
    change_billing(
        pytest.MonkeyPatch(), place.folder, payment_source="operations", own_accounts=[OWN_ACCOUNT]
    )
    dsn = bill(place, tenants)
    content, transfers = file_of(dsn)
    found = Found(f"{transfers:,} transfers", f"{ALLOWED_SECONDS} s, matching {ALLOWED_MATCHING_SECONDS} s")
    folder = place.folder / "store"
    file = Path(ObjectStore(folder).write(f"{bank_inbox.INCOMING}/benchmark.txt", content))
    before = time.time() - 120
    os.utime(file, (before, before))
    moment = datetime(2026, 11, 30, 8, 30, tzinfo=JAPAN)
    site = Site(dsn, IMPORT_PAYMENTS, moment, folder)
    start = time.perf_counter()
    request = request_of(IMPORT_PAYMENTS, TODAY, parameters={"operation": "import"}, run_at=moment)
    run_side_by_side(site, request, PROCESSES)
    found.seconds = time.perf_counter() - start
    with psycopg.connect(dsn) as connection:
        recorded = _SQL.row(connection, "recorded")
    found.require(recorded == (transfers, 0), f"payments and open amount: {recorded}")
    add_waiting(dsn, waiting, tenants)
    matching = measure(match_once, dsn, TODAY)
    found.peak_memory_bytes = matching.peak_memory_bytes
    found.result = (
        f"on {PROCESSES} processes; {waiting:,} open transfers are matched in {matching.seconds:.1f} s"
    )
    found.require(found.seconds <= ALLOWED_SECONDS, "the import takes too long")
    found.require(matching.seconds <= ALLOWED_MATCHING_SECONDS, "the matching takes too long")
    return found
