"""Measure BATCH-019-03 with a directory of 10,000 people within the services' rate limits, and the growth of memory.

The stand-ins enforce the limits of LINE WORKS (240 requests per minute) and Slack (20). The benchmark compares the peak memory of a run for
1,000 and 10,000 people. It also compares how the batch applies a plan with a loop that writes one row at a time. Compare ratios, not
seconds: because of Slack's limit, 10,000 people take two minutes.

    python -m benchmarks.external_sync [PEOPLE ...]
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.measurement import Databases, connected, measure, vacuum
from include.skillreport.batches.external_sync import create_batch
from include.skillreport.batches.external_sync.listing import Unit
from include.skillreport.batches.external_sync.sync import load_plan
from include.skillreport.core.catalog import EXTERNAL_SYNC
from include.skillreport.core.database import Statements, count_of, tenant_transaction
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.network import Network
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from local_stack.batch_runs import LOCAL, open_run, run_batch
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandInDirectory, StandIns

SIZES = (1_000, 10_000)
DAY = date(2026, 11, 1)
ALLOWED_MEMORY_RATIO = 1.25
REQUIRED_APPLY_RATIO = 5
SLACK_TOKEN, LINE_WORKS_CLIENT = "xoxb-benchmark", "benchmark-client"
_SQL = Statements(Path(__file__).parent)


def sync(allowed_hosts: frozenset[str], dsn: str, day: date) -> None:
    """Do one run as the DAG's tasks do."""
    with connected(dsn) as (platform, connection):
        batch, network = create_batch(LOCAL), Network(allowed_hosts=allowed_hosts)
        result = run_batch(platform, connection, EXTERNAL_SYNC, batch, day, network=network)
        assert result.status == "completed", result.sentence()


def fetch(allowed_hosts: frozenset[str], dsn: str, day: date) -> None:
    """Only list the directory of LINE WORKS and write the plan."""
    with connected(dsn) as (platform, connection):
        batch, network = create_batch(LOCAL), Network(allowed_hosts=allowed_hosts)
        run, tenants = open_run(platform, EXTERNAL_SYNC, batch, day)
        tenant_ids = tenants
        assert batch.fetch(Work(replace(run, part=LINE_WORKS), connection, tenant_ids, network=network)) == {}


def apply_at_once(dsn: str, day: date) -> None:
    """Apply the whole plan with a few statements, as the batch does."""
    unit = _planned(dsn, day)
    run = Run(unit.execution_id, day, day, part=unit.provider)
    with connected(dsn) as (_, connection), tenant_transaction(connection, [unit.tenant_id]):
        create_batch(LOCAL).process(Work(run, connection, [unit.tenant_id]))


def apply_in_a_loop(dsn: str, day: date) -> None:
    """Apply the new links of the plan one after the other: link, account and history, each link in a transaction."""
    unit = _planned(dsn, day)
    with connected(dsn) as (_, connection):
        with tenant_transaction(connection, [unit.tenant_id]):
            plan = load_plan(connection, unit)
        assert plan is not None
        for entry in plan.entries:
            about = {
                **unit.key,
                "subject_id": entry.subject_id,
                "employee_id": entry.employee_id,
                "matched_by": (entry.after or {})["matched_by"],
                "reason": entry.reason,
                "plan_hash": plan.plan_hash,
            }
            with tenant_transaction(connection, [unit.tenant_id]):
                for statement in ("loop_link", "loop_account", "loop_change"):
                    _SQL.execute(connection, statement, **about)


def load(databases: Databases, people: int, stand_ins: StandIns, provider: Channel) -> str:
    """Create a host with one tenant and this many employees, who all have an account at the provider."""
    dsn = databases.load(f"sync_{provider}_{people}_{stand_ins.http_port}", benchmark_shape(1))
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        _SQL.execute(connection, "many_employees", employees=people)
        auth, config = _credentials(stand_ins, provider)
        _SQL.execute(
            connection,
            "sync_integration",
            provider=provider,
            auth_config=json.dumps(auth),
            connection_config=json.dumps(config),
        )
    vacuum(dsn)
    directory = StandInDirectory()
    if provider is SLACK:
        members = [
            {
                "id": f"U{number}",
                "profile": {"real_name": f"社員 {number}", "email": f"bench{number}@example.jp"},
            }
            for number in range(1, people + 1)
        ]
        directory.fill(members, 200)
    else:
        users = [
            {
                "userId": f"L{number}",
                "userName": {"lastName": f"社員 {number}"},
                "email": f"bench{number}@example.jp",
            }
            for number in range(1, people + 1)
        ]
        directory.fill(users, 100)
    stand_ins.show_directory(provider, SLACK_TOKEN if provider is SLACK else LINE_WORKS_CLIENT, directory)
    return dsn


def links(dsn: str) -> int:
    """The number of linked accounts."""
    with psycopg.connect(dsn) as connection:
        return count_of(connection, "SELECT count(*) FROM batch.account_link")


def main(sizes: tuple[int, ...]) -> int:
    peaks = []
    with tempfile.TemporaryDirectory(prefix="sync-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            print(f"{'service':>10} {'people':>7} {'seconds':>8} {'peak MB':>8} {'refused':>8}")
            for provider, people in [
                *((LINE_WORKS, people) for people in sizes),
                (SLACK, sizes[-1]),
            ]:
                with StandIns(rate_limits=True) as stand_ins:
                    dsn = load(databases, people, stand_ins, provider)
                    measured = measure(partial(sync, stand_ins.allowed_hosts), dsn, DAY)
                    refused = stand_ins.refused_for_rate
                if links(dsn) != people or refused:
                    raise SystemExit(f"{links(dsn)} links, {refused} requests exceeded a rate limit")
                peaks.append(measured.peak_memory_bytes)
                print(
                    f"{provider:>10} {people:>7,} {measured.seconds:>8.1f} {peaks[-1] / 2**20:>8.0f} {refused:>8}",
                    flush=True,
                )
            applied = []
            for work in (apply_at_once, apply_in_a_loop):
                with StandIns() as stand_ins:
                    dsn = load(databases, sizes[-1], stand_ins, LINE_WORKS)
                    measure(partial(fetch, stand_ins.allowed_hosts), dsn, DAY)
                applied.append(sizes[-1] / measure(work, dsn, DAY).seconds)
                assert links(dsn) == sizes[-1]
        finally:
            server.reset()
    memory, speed = peaks[len(sizes) - 1] / peaks[0], applied[0] / applied[1]
    print(
        f"memory ratio {memory:.2f} (allowed: {ALLOWED_MEMORY_RATIO}); {applied[0]:,.0f} links/s applied,"
        f" {speed:.1f} times the loop's {applied[1]:,.0f} (required: {REQUIRED_APPLY_RATIO})"
    )
    return 0 if memory <= ALLOWED_MEMORY_RATIO and speed >= REQUIRED_APPLY_RATIO else 1


def _planned(dsn: str, day: date) -> Unit:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT tenant_id, provider, execution_id FROM batch.sync_plan").fetchone()
    assert row is not None
    tenant_id, provider, execution_id = row
    return Unit(tenant_id, CHANNELS[provider], execution_id, day)


def _credentials(stand_ins: StandIns, provider: Channel) -> tuple[dict[str, str], dict[str, str]]:
    if provider is SLACK:
        return {"bot_token": SLACK_TOKEN}, {"base_url": stand_ins.slack_base_url}
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "client_id": LINE_WORKS_CLIENT,
        "client_secret": "benchmark",
        "service_account": "bot@benchmark",
        "private_key": key.decode(),
    }, {
        "bot_id": "1",
        "auth_url": stand_ins.line_works_auth_url,
        "base_url": stand_ins.line_works_base_url,
    }


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
