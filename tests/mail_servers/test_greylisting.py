"""A real postgrey: each new recipient waits alone, and the rate stays. ``make test-mail`` runs it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from local_stack.ports import free_port
from tests.conftest import Database
from tests.mail_servers.postfix import Postfix, postfix
from tests.mail_servers.programs import program, running
from tests.mail_servers.scene import OPEN, closings, installation, later, letters, made, run, states, statuses

pytestmark = pytest.mark.long

# Seconds; postgrey's default is five minutes.
DELAY = 2


@contextmanager
def greylisting(folder: Path) -> Iterator[Postfix]:
    of_postfix, of_postgrey = made(folder, "postfix", "postgrey")
    port = free_port()
    shutil.chown(of_postgrey, "postgrey")
    command = [program("postgrey"), f"--inet=127.0.0.1:{port}", f"--delay={DELAY}", f"--dbdir={of_postgrey}"]
    command += ["--user=postgrey", "--auto-whitelist-clients=0"]
    settings = OPEN | {"smtpd_recipient_restrictions": f"check_policy_service inet:127.0.0.1:{port}"}
    with running(command, port, folder / "postgrey.log"), postfix(of_postfix, **settings) as server:
        yield server


def test_new_recipients_wait_once_and_slow_nothing_down(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    addresses = {tenant: [f"{tenant}{number}@one.test" for number in range(10)] for tenant in "AB"}
    letters(host, addresses)
    with greylisting(folder) as server:
        through = installation(server, envelope_sender="bounce@example.test")
        run(database, through, SCHEDULED_NOTIFICATIONS)
        assert "Greylisted" in server.log
        assert states(host) == {each: ("pending", 0, "4.7") for some in addresses.values() for each in some}
        assert closings(host) == []
        assert host.execute("SELECT FROM batch.service_limit WHERE per_minute IS NOT null").fetchall() == []

        time.sleep(DELAY)
        later(host)
        run(database, through)
        assert statuses(host) == {"sent": 20}
