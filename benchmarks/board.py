"""The time of the board's pages with years of rows of 1,000 tenants, after a night in which a fifth of them failed.

The pages come from Airflow's API server over HTTP, one at a time. The rows are those of ``benchmarks.years``, up to the current hour.
Besides, 200 tenants have failed in BATCH-018-01, and 1,000 messages will not be sent any more. Airflow's own database has no runs. The
ports are those of the local stack.

    python -m benchmarks.board [TENANTS] [YEARS]
"""

from __future__ import annotations

import os
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, perf_counter, sleep

import httpx
import psycopg

from benchmarks.measurement import own_stack
from benchmarks.scale_world import World, plant_host
from benchmarks.years_world import plant_years, years_of
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.database import Statements
from include.skillreport.schema.deploy import upgrade
from local_stack.airflow_processes import API_SERVER, COMMANDS, SupervisedAirflow
from local_stack.stack import LocalStack

TENANTS, YEARS = 1_000, 5
FIRST_PAGE_SECONDS = 0.3
ROUNDS = 15
_START_SECONDS = 300
_FAILED_RUN = f"{TENANT_USAGE.id}_failed"
_PAGES = (
    "/",
    f"/batches/{TENANT_USAGE.id}",
    f"/runs/{TENANT_USAGE.dag_id}/scheduled__failed",
    "/tenants",
    "/tenants/tenant-000001",
    "/invoices",
    "/messages",
    "/durations",
    "/findings",
)
_SQL = Statements(Path(__file__).parent)


def plant(stack: LocalStack, tenants: int, years: int) -> None:
    """Create the application's tables, and the rows of the batches up to this hour."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    plant_host(stack.admin_dsn(), World(tenants, users=2, requests=1_000))
    upgrade(stack.admin_dsn(), passwords=stack.settings.passwords)
    plant_years(stack.admin_dsn(), years_of(tenants, years), until=now)
    with psycopg.connect(stack.admin_dsn(), autocommit=True) as connection:
        about = {"batch_id": TENANT_USAGE.id, "dag_id": TENANT_USAGE.dag_id, "execution_id": _FAILED_RUN}
        _SQL.execute(connection, "board_night", now=now, tenants=tenants, **about)
        _SQL.execute(connection, "board_outcomes", now=now, tenants=tenants, execution_id=_FAILED_RUN)
        _SQL.execute(connection, "board_messages", now=now, tenants=tenants)
        connection.execute("VACUUM ANALYZE")


def measured(stack: LocalStack) -> dict[str, float]:
    """Print and return the median of the seconds by page; infinite for a page that the board cannot show."""
    with signed_in(f"http://127.0.0.1:{stack.ports.ui}") as client:
        return {path: _page(client, path) for path in _PAGES}


def signed_in(url: str) -> httpx.Client:
    """A client that is signed in, as soon as the API server answers."""
    deadline = monotonic() + _START_SECONDS
    while True:
        try:
            token = httpx.get(f"{url}/auth/token").raise_for_status().json()["access_token"]
        except httpx.HTTPError:
            if monotonic() > deadline:
                raise
            sleep(1)
        else:
            return httpx.Client(base_url=url, cookies={"_token": token}, timeout=60)


def _page(client: httpx.Client, path: str) -> float:
    """The first request is not counted."""
    seconds, content = [], b""
    for _ in range(ROUNDS + 1):
        start = perf_counter()
        answer = client.get(f"/skill-batch-board{path}")
        if answer.is_error:
            print(f"{path:48} {answer.status_code}", flush=True)
            return float("inf")
        content = answer.content
        seconds.append(perf_counter() - start)
    median, longest = statistics.median(seconds[1:]), max(seconds[1:])
    print(f"{path:48} {1000 * median:>5.0f} ms {1000 * longest:>5.0f} ms {len(content):>9,}", flush=True)
    return median


def main(tenants: int, years: int) -> int:
    """Print the figures of each page; returns 0 if the first page is fast enough and the board can show all."""
    print(f"{tenants:,} tenants, {years} years")
    print(f"{'page':48} {'median':>8} {'maximum':>8} {'bytes':>9}")
    with own_stack("board-") as stack:
        plant(stack, tenants, years)
        stack.prepare_airflow()
        stack.airflow("dags", "reserialize")
        commands = {API_SERVER: COMMANDS[API_SERVER]}
        with SupervisedAirflow(os.environ | stack.environment(), stack.directory, print, commands=commands):
            found = measured(stack)
    first, slowest = found["/"], max(found, key=lambda path: found[path])
    print(
        f"first page: {1000 * first:.0f} ms (allowed {1000 * FIRST_PAGE_SECONDS:.0f}); slowest page: {slowest}"
    )
    return 0 if first <= FIRST_PAGE_SECONDS and found[slowest] < float("inf") else 1


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(arguments + [TENANTS, YEARS][len(arguments) :])))
