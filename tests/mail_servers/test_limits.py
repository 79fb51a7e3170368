"""The limits of a real Postfix: our time against the limit's own, each letter once. ``make test-mail`` runs it.

Postfix counts in windows of ``anvil_rate_time_unit`` that begin with the first event. So the limit's own time is that of the full windows
before the last letter. The measured times are in ``.local/mail-servers/limits.md``.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stack import PROJECT
from tests.mail_servers.postfix import Postfix, postfix
from tests.mail_servers.scene import OPEN, delivered, installation, later, statuses, wait_for, with_logins
from tests.worlds import host_rows

pytestmark = pytest.mark.long

TENANTS = [f"T{number}" for number in range(4)]
MEASURED = PROJECT / ".local" / "mail-servers" / "limits.md"

# Every client is a stranger, also this machine. Postfix exempts its own networks.
STRANGERS = OPEN | {
    "smtpd_client_event_limit_exceptions": "",
    "smtpd_client_connection_limit_exceptions": "",
    # Postfix delays the answers to a client with errors. The limit is to be seen alone.
    "smtpd_soft_error_limit": "1000",
    "smtpd_hard_error_limit": "2000",
}


@dataclass(frozen=True)
class Case:
    """A limit of Postfix: so many a window of so many seconds. Without a window only the number counts that is open at once."""

    setting: str
    limit: int
    window: int
    letters: int

    @property
    def own_seconds(self) -> float:
        """The time of the limit itself."""
        return self.window * (math.ceil(self.letters / self.limit) - 1) if self.window else 0.0


CASES = [
    Case("smtpd_client_recipient_rate_limit", 100, 60, 300),
    Case("smtpd_client_message_rate_limit", 100, 60, 300),
    Case("smtpd_client_connection_count_limit", 3, 0, 300),
    Case("smtpd_client_connection_rate_limit", 10, 0, 300),
]


def enqueue(host: psycopg.Connection, connection: psycopg.Connection, letters: int) -> Counter[str]:
    """So many letters of four tenants; returns each recipient once."""
    due_at = datetime.now(UTC) - timedelta(minutes=5)
    for tenant_id in TENANTS:
        host_rows.tenant(host, tenant_id)
    addresses = [f"{number}@{TENANTS[number % 4].lower()}.test" for number in range(letters)]
    drafts = [
        MessageDraft(TENANTS[number % 4], address, EMAIL, address, "件名", "本文", due_at)
        for number, address in enumerate(addresses)
    ]
    with tenant_transaction(connection, TENANTS):
        outbox.enqueue(connection, drafts, created_by="test")
    return Counter(addresses)


def send(connection: psycopg.Connection, server: Postfix, seconds: float = 600, **changes: object) -> float:
    """One shard's dispatch of all that is due; returns its seconds."""
    started = time.monotonic()
    dispatch_due(
        connection,
        TENANTS,
        installation(server, **changes),  # type: ignore[arg-type]
        owner="run",
        clock=lambda: datetime.now(UTC),
        settings=NotificationSettings.load(),
        stop_at=datetime.now(UTC) + timedelta(seconds=seconds),
    )
    return time.monotonic() - started


def note(case: Case, seconds: float, refused: int) -> None:
    """A line of the table of measured limits."""
    MEASURED.parent.mkdir(parents=True, exist_ok=True)
    ratio = f"{seconds / case.own_seconds:.2f}" if case.own_seconds else "–"
    with MEASURED.open("a", encoding="utf-8") as file:
        file.write(
            f"| `{case.setting}` = {case.limit} | {case.letters} | {case.own_seconds:.0f} s | {seconds:.0f} s | {ratio} | {refused} |\n"
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.setting)
def test_one_run_passes_a_limit_in_little_more_than_its_own_time(
    host: psycopg.Connection, connection: psycopg.Connection, folder: Path, case: Case
) -> None:
    once = enqueue(host, connection, case.letters)
    with postfix(folder, **STRANGERS, **{case.setting: str(case.limit)}) as server:
        seconds = send(connection, server)
        refused = server.log.count("limit exceeded: ")
        note(case, seconds, refused)
        assert statuses(host) == {"sent": case.letters}
        assert {row[0] for row in host.execute("SELECT attempts FROM batch.outbox")} == {1}
        wait_for(server, case.letters)
        assert Counter(delivered(server)) == once

    assert refused > 0
    if case.setting.endswith(("recipient_rate_limit", "message_rate_limit")):
        assert seconds <= 1.3 * case.own_seconds
    else:
        # The letters go through the connections that are open.
        assert seconds <= 60


def test_a_limit_of_logins_costs_no_time(
    host: psycopg.Connection, connection: psycopg.Connection, folder: Path
) -> None:
    once = enqueue(host, connection, 300)
    case = Case("smtpd_client_auth_rate_limit", 5, 0, 300)
    changes = {name: value for name, value in STRANGERS.items() if name != "smtpd_relay_restrictions"}
    with with_logins(folder, **changes, **{case.setting: "5"}) as (server, _):
        seconds = send(connection, server, login="batch")
        note(case, seconds, server.log.count("limit exceeded: "))
        assert statuses(host) == {"sent": 300}
        wait_for(server, 300)
        assert Counter(delivered(server)) == once
    assert seconds <= 30


def test_three_thousand_letters_arrive_once_with_a_restart_between(
    host: psycopg.Connection, connection: psycopg.Connection, folder: Path
) -> None:
    once = enqueue(host, connection, 3_000)
    with postfix(folder, **STRANGERS) as server, ThreadPoolExecutor() as threads:
        sending = threads.submit(send, connection, server)
        wait_for(server, 500)
        server.stop()
        server.start()
        sending.result()
        while statuses(host) != {"sent": 3_000}:
            later(host)
            send(connection, server)
        wait_for(server, 3_000)
        arrived = Counter(delivered(server))
        assert arrived.keys() == once.keys()
        # Postfix may have taken a letter although its answer was lost, at most one per open connection. The Message-ID is the same.
        # Six measured restarts had none.
        assert sum(arrived.values()) <= 3_000 + EmailConfig("", 25, "").connections
