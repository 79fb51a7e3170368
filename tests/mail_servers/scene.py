"""An installation whose mail goes through the real servers: its tenants, its letters and its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.execution.batch import create_batch
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import EmailConfig, MailboxConfig, Network
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.mail_servers.dovecot import PASSWORD, Dovecot, dovecot
from tests.mail_servers.postfix import Postfix, postfix
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.encrypted_servers import make_certificate
from tests.worlds.outbox_rows import TODAY, make_due, waiting

DOMAIN = "example.test"
# Addresses at it are the batches' own: bounces come back to them.
BOUNCES = f"bounce+{{token}}@{DOMAIN}"

# Settings with which Postfix relays for this machine, as by default.
RELAYS = {
    "mynetworks": "127.0.0.0/8",
    "smtpd_relay_restrictions": "permit_mynetworks,defer_unauth_destination",
}
# As Debian's, but for clients that have logged in.
LOGINS_RELAY = "permit_sasl_authenticated,defer_unauth_destination"
# It takes everything, and throws it away.
OPEN = RELAYS | {"transport_maps": "static:discard:"}


def installation(
    server: Postfix, mailbox: Dovecot | None = None, *, login: str = "", **changes: object
) -> Network:
    """The installation's mail server is Postfix, and its mailbox is Dovecot's, over TLS. ``changes`` are those of ``EmailConfig``."""
    email = EmailConfig(
        "127.0.0.1",
        server.port,
        f"スキル報告 <no-reply@{DOMAIN}>",
        login,
        PASSWORD if login else "",
        security="none",
        envelope_sender=BOUNCES,
    )
    box = MailboxConfig("127.0.0.1", mailbox.imaps, "bounce", PASSWORD) if mailbox else None
    return Network(replace(email, **changes), mailbox=box)  # type: ignore[arg-type]


def letters(host: psycopg.Connection, addresses: dict[str, list[str]]) -> None:
    """New tenants, each with letters to these addresses that wait."""
    for tenant_id, recipients in addresses.items():
        host_rows.tenant(host, tenant_id)
        for recipient in recipients:
            waiting(host, tenant_id, recipient_address=recipient)


def run(database: Database, through: Network, spec: BatchSpec = NOTIFICATION_RETRY) -> RunResult:
    """One whole run of a batch that sends or asks."""
    batch = create_batch(spec, LOCAL)
    with database.working() as (platform, connection):
        return run_batch(platform, connection, spec, batch, TODAY, codes=(), parameters={}, network=through)


def later(host: psycopg.Connection) -> None:
    """An hour later: whatever waits is due, and a closed server may be probed."""
    host.execute("UPDATE batch.service_limit SET blocked_until = now()")
    make_due(host)


def states(host: psycopg.Connection) -> dict[str, tuple[str, int, str | None]]:
    """Status, attempts and error of each letter, by its recipient."""
    rows = host.execute("SELECT destination, status, attempts, error_code FROM batch.outbox").fetchall()
    return {destination: (status, attempts, code) for destination, status, attempts, code in rows}


def statuses(host: psycopg.Connection) -> Counter[str]:
    """How many letters are in which status."""
    return Counter(status for (status,) in host.execute("SELECT status FROM batch.outbox"))


def closings(host: psycopg.Connection) -> list[str]:
    """Why the mail server is closed; empty: it is open."""
    rows = host.execute("SELECT closed_reason FROM batch.service_limit WHERE closed_at IS NOT null")
    return [reason for (reason,) in rows]


def made(folder: Path, *names: str) -> list[Path]:
    """New folders of servers."""
    paths = [folder / name for name in names]
    for path in paths:
        path.mkdir()
    return paths


@contextmanager
def with_logins(folder: Path, **settings: str) -> Iterator[tuple[Postfix, Dovecot]]:
    """A Postfix that takes letters after a login, with the logins of a Dovecot."""
    of_postfix, of_dovecot = made(folder, "postfix", "dovecot")
    logins = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "transport_maps": "static:discard:",
    }
    with dovecot(of_dovecot, make_certificate(folder), {"batch": "", "bounce": ""}) as mailboxes:
        usual = logins | {"smtpd_sasl_path": mailboxes.auth, "smtpd_relay_restrictions": LOGINS_RELAY}
        with postfix(of_postfix, **(usual | settings)) as server:
            yield server, mailboxes


def delivered(server: Postfix) -> list[str]:
    """The recipients of the letters that Postfix has passed on, each as often as it got one."""
    return sorted(
        line.split("to=<")[1].split(">")[0] for line in server.log.splitlines() if "status=sent" in line
    )


def wait_for(server: Postfix, letters: int) -> None:
    wait_until(lambda: len(delivered(server)) >= letters, f"{letters} letters are passed on")
