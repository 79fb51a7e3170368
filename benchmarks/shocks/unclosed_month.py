"""BATCH-018-01 never ran: billing finds a month without a closed day."""

from __future__ import annotations

from datetime import date

import psycopg

from benchmarks.measurement import connected, measure
from benchmarks.scale_world import World
from benchmarks.shocks.world import SQL, SQL_OF_BENCHMARKS, Found, Place, batch_of
from include.skillreport.core.catalog import TENANT_BILLING
from local_stack.batch_runs import run_batch

_MONTH = date(2026, 10, 1)
_LONGEST_REASON = 500


def bill(dsn: str, month: date) -> None:
    """One run, in one process."""
    with connected(dsn) as (platform, connection):
        run_batch(platform, connection, TENANT_BILLING, batch_of(TENANT_BILLING), month)


def shock(place: Place) -> Found:
    """Each tenant fails with the days by name, nothing is billed, and after the days are closed each is billed once."""
    tenants = place.size(1_000, 50)
    found = Found(f"{tenants:,} tenants, 31 days open", "nothing billed, days named")
    dsn = place.plant("unclosed", World(tenants, users=1, requests=1_000))
    measured = measure(bill, dsn, _MONTH)
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    with psycopg.connect(dsn, autocommit=True) as connection:
        reasons = SQL.execute(connection, "failures_by_code").fetchall()
        billed = SQL_OF_BENCHMARKS.execute(connection, "issued_invoices").fetchall()
        SQL_OF_BENCHMARKS.execute(connection, "billing_month")
    found.require([row[:2] for row in reasons] == [("USAGE_NOT_CLOSED", tenants)], f"failures: {reasons}")
    found.require(
        all("2026-10-01" in row[2] and len(row[2]) <= _LONGEST_REASON for row in reasons),
        "a reason names no days or is too long",
    )
    found.require(not billed, f"{len(billed)} invoices without a closed day")
    for _ in range(2):
        measure(bill, dsn, _MONTH)
    with psycopg.connect(dsn) as connection:
        billed = SQL_OF_BENCHMARKS.execute(connection, "issued_invoices").fetchall()
    found.require(len(billed) == len({row[0] for row in billed}) == tenants, f"then {len(billed)} invoices")
    found.result = f"USAGE_NOT_CLOSED for {tenants:,}; after the days are closed {len(billed):,} invoices, a second run none"
    return found
