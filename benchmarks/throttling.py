"""Send through services that throttle, each with its documented limit, and compare the time with the minimum time of the limit.

Each case has a separate process, database and stand-ins. All cases run at the same time, so the whole takes as long as the longest (about
17 minutes). No message may be lost, dead or sent twice, and no case may take more than 1.2 times the seconds of its limit.

    python -m benchmarks.throttling [--share 0.1] [NAME ...]

``--share`` sends only this part of the messages, for a quick test. The start then has more weight, so the ratios are higher.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.measurement import Databases, vacuum
from include.skillreport.core.database import Statements
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

REQUIRED_RATIO = 1.2
# A run that takes this many times longer than the limit is stopped. Messages that are not sent by then count as lost.
_STOP_RATIO = 3
_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Case:
    """A service and its messages. ``seconds_each``: the minimum time of one message under the limit.

    ``destination`` names the destinations: ``{}`` is replaced by a number below ``destinations``.
    """

    channel: Channel
    messages: int
    seconds_each: float
    limit: Callable[[StandIns], None]
    destination: str
    destinations: int
    integration: Callable[[StandIns], tuple[str, Mapping[str, str], Mapping[str, str]]] | None = None
    tenants: int = 1


@dataclass(frozen=True)
class Result:
    """The results of the messages. ``seconds`` is the time of the dispatch, ``refused`` the number of refusals by a rate limit."""

    name: str
    messages: int
    seconds: float
    limit_seconds: float
    refused: int
    dead: int
    twice: int
    lost: int

    @property
    def ratio(self) -> float:
        """The time divided by the minimum time of the limit."""
        return self.seconds / self.limit_seconds

    @property
    def is_good(self) -> bool:
        """Whether the case meets the requirement."""
        return not (self.dead or self.twice or self.lost) and self.ratio <= REQUIRED_RATIO


# Amazon SES: 14 letters per second for all senders of one account.
def _ses(services: StandIns) -> None:
    services.set_limit("email", 14, 1)


# Exchange Online: 3 connections, and 30 letters per minute. It delays its answers above that.
def _exchange(services: StandIns) -> None:
    services.limit_smtp_connections(3)
    services.delay_letters(2)


def _exchange_connections(services: StandIns) -> None:
    services.limit_smtp_connections(3, refuses_connections=True)
    services.delay_letters(2)


# Slack: a message per second to each channel, and some hundreds per minute to a workspace.
def _slack(services: StandIns) -> None:
    services.set_limit("slack_channel", 1, 1)
    services.set_limit("slack_workspace", 600, 60)


def _slack_burst(services: StandIns) -> None:
    services.set_limit("slack_channel", 1, 1)
    services.pause_after("slack_workspace", 60, 2)


def _webhook(services: StandIns) -> None:
    services.set_limit("slack_webhook", 1, 1)


# LINE WORKS states its limit with each answer.
def _line_works(per_minute: int) -> Callable[[StandIns], None]:
    return lambda services: services.set_limit("line_works", per_minute, 60)


# Teams: 4 messages per second through a workflow.
def _teams(services: StandIns) -> None:
    services.set_limit("teams", 4, 1)


def _slack_bot(services: StandIns) -> tuple[str, Mapping[str, str], Mapping[str, str]]:
    return "slack", {"bot_token": "xoxb-benchmark"}, {"base_url": services.slack_base_url}


def _slack_webhook(services: StandIns) -> tuple[str, Mapping[str, str], Mapping[str, str]]:
    return "slack", {"webhook_url": services.slack_webhook_url}, {}


def _teams_workflow(services: StandIns) -> tuple[str, Mapping[str, str], Mapping[str, str]]:
    return "teams", {"webhook_url": services.teams_webhook_url}, {}


def _line_works_bot(services: StandIns) -> tuple[str, Mapping[str, str], Mapping[str, str]]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    auth = {
        "client_id": "client",
        "client_secret": "secret",
        "service_account": "batch@example",
        "private_key": key.decode(),
    }
    urls = {"auth_url": services.line_works_auth_url, "base_url": services.line_works_base_url}
    return "line_works", auth, {"bot_id": "1000001"} | urls


_LETTER = "member{}@example.jp"

CASES = {
    "ses": Case(EMAIL, 3_000, 1 / 14, _ses, _LETTER, 3_000, tenants=20),
    "exchange": Case(EMAIL, 300, 2, _exchange, _LETTER, 300, tenants=20),
    "exchange_connections": Case(EMAIL, 300, 2, _exchange_connections, _LETTER, 300, tenants=20),
    "slack": Case(SLACK, 10_000, 0.1, _slack, "C{}", 20, _slack_bot),
    # 60 messages to 20 channels take three seconds, and two more are refused.
    "slack_burst": Case(SLACK, 2_000, 5 / 60, _slack_burst, "C{}", 20, _slack_bot),
    "webhook": Case(SLACK, 120, 1, _webhook, "C{}", 20, _slack_webhook),
    "line_works_60": Case(LINE_WORKS, 300, 1, _line_works(60), "users/{}", 300, _line_works_bot),
    "line_works_240": Case(LINE_WORKS, 480, 0.25, _line_works(240), "users/{}", 480, _line_works_bot),
    "teams": Case(TEAMS, 960, 0.25, _teams, "", 1, _teams_workflow),
}


def run_case(name: str, share: float, dsn: str) -> Result:
    """Send the messages of a case in one run."""
    case = CASES[name]
    messages = max(1, round(share * case.messages))
    limit_seconds = messages * case.seconds_each
    with StandIns() as services, psycopg.connect(dsn, autocommit=True) as connection:
        case.limit(services)
        tenant_ids = _prepare(connection, case, messages, services)
        vacuum(dsn)
        connection.execute("SET ROLE batch_tenant")
        mail = EmailConfig("127.0.0.1", services.smtp_port, "no-reply@example.jp", security="none")
        begin = time.perf_counter()
        dispatch_due(
            connection,
            tenant_ids,
            Network(mail, services.allowed_hosts),
            owner="benchmark",
            clock=lambda: datetime.now(UTC),
            settings=NotificationSettings.load(),
            stop_at=datetime.now(UTC) + timedelta(seconds=_STOP_RATIO * limit_seconds + 60),
        )
        seconds = time.perf_counter() - begin
        connection.execute("RESET ROLE")
        rows = connection.execute("SELECT status FROM batch.outbox").fetchall()
        statuses = Counter(status for (status,) in rows)
        arrived = Counter(message.text for message in services.messages)
        dead = statuses["dead"] + statuses["ambiguous"]
        return Result(
            name,
            messages,
            seconds,
            limit_seconds,
            services.messages_refused_for_rate,
            dead,
            twice=sum(count > 1 for count in arrived.values()),
            # A message is also lost if its status in the outbox is sent and it has not arrived.
            lost=messages - dead - min(statuses["sent"], len(arrived)),
        )


def _prepare(connection: psycopg.Connection, case: Case, messages: int, services: StandIns) -> list[str]:
    """Put the messages into the outbox, and give the tenants their channel; returns the tenants."""
    rows = connection.execute(
        'SELECT tenant_id FROM "MST_Tenant" ORDER BY tenant_id LIMIT %s', [case.tenants]
    ).fetchall()
    tenant_ids = [tenant_id for (tenant_id,) in rows]
    if case.integration is not None:
        key, auth, settings = case.integration(services)
        connection.execute(
            """
            INSERT INTO "SYS_IntegrationConfig" (id, tenant_id, integration_key, auth_config, connection_config, updated_at)
            SELECT tenant_id, tenant_id, %s, %s, %s, now() - interval '1 day'
            FROM "MST_Tenant"
            WHERE tenant_id = any(%s)
            """,
            [key, json.dumps(auth), json.dumps(settings), tenant_ids],
        )
    _SQL.execute(
        connection,
        "throttled_queue",
        tenant_ids=tenant_ids,
        channel=case.channel,
        messages=messages,
        destination=case.destination,
        destinations=case.destinations,
    )
    return tenant_ids


def main(names: list[str], share: float) -> int:
    results = []
    with tempfile.TemporaryDirectory(prefix="throttling-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            shape = replace(
                benchmark_shape(max(CASES[name].tenants for name in names)),
                users_per_tenant=0,
                requests_per_day=0,
            )
            databases.load("throttling", shape)
            of_case = {name: databases.copy(name, "throttling") for name in names}
            print(
                f"{'service':<21} {'messages':>8} {'seconds':>8} {'limit s':>8} {'ratio':>6} {'refused':>8} {'dead':>5} {'twice':>6}"
                f" {'lost':>5}"
            )
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(len(names), context) as processes:
                futures = [processes.submit(run_case, name, share, dsn) for name, dsn in of_case.items()]
                for future in as_completed(futures):
                    each = future.result()
                    results.append(each)
                    print(
                        f"{each.name:<21} {each.messages:>8,} {each.seconds:>8.1f} {each.limit_seconds:>8.1f} {each.ratio:>6.2f}"
                        f" {each.refused:>8,} {each.dead:>5} {each.twice:>6} {each.lost:>5}",
                        flush=True,
                    )
        finally:
            server.reset()
    worst = max(each.ratio for each in results)
    print(f"ratio {worst:.2f} (required {REQUIRED_RATIO}), nothing lost, dead or sent twice required")
    return int(not all(each.is_good for each in results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the delivery through services that throttle.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--share", type=float, default=1.0, help="the share of the messages to send")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(CASES):
        parser.error(f"unknown service {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    sys.exit(main(arguments.names or list(CASES), arguments.share))
