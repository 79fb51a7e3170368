"""Refusals of a real Postfix: the right one is blamed at once, and no letter is lost or sent twice. ``make test-mail`` runs it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.network import Network
from include.skillreport.messaging.channels.email.client import Client
from tests.conftest import Database
from tests.mail_servers.postfix import postfix, table
from tests.mail_servers.scene import (
    OPEN,
    closings,
    delivered,
    installation,
    later,
    letters,
    run,
    states,
    statuses,
    wait_for,
    with_logins,
)
from tests.worlds.encrypted_servers import make_certificate

pytestmark = pytest.mark.long

# Three domains in two tenants.
ADDRESSES = {"A": ["1@one.test", "2@two.test"], "B": ["3@three.test", "4@one.test"]}
ALL = sorted(address for each in ADDRESSES.values() for address in each)


def findings(through: Network) -> list[str]:
    """The codes that the check of the settings finds."""

    async def check() -> list[str]:
        assert through.email is not None
        async with aclosing(Client(through.email)) as client:
            return [each.error.code for each in await client.validate()]

    return asyncio.run(check())


@pytest.mark.parametrize(
    ("restriction", "code"),
    [
        ("check_recipient_access static:REJECT", "sender_refused"),
        ("defer_unauth_destination", "relay_denied"),
        ("reject_unauth_destination", "relay_denied"),
        ("check_client_access static:REJECT", "client_rejected"),
        ("check_sender_access static:REJECT", "sender_rejected"),
    ],
)
def test_a_server_that_takes_no_letter_is_closed_until_it_does(
    database: Database, host: psycopg.Connection, folder: Path, restriction: str, code: str
) -> None:
    letters(host, ADDRESSES)
    with postfix(folder, **OPEN, smtpd_recipient_restrictions=restriction) as server:
        through = installation(server)
        told = run(database, through, SCHEDULED_NOTIFICATIONS)
        assert (told.status, [each.code for each in told.problems]) == ("partial", ["MAIL_SERVER_CLOSED"])
        later(host)
        assert run(database, through).status == "completed"
        assert statuses(host) == {"pending": len(ALL)}
        assert {attempts for _, attempts, _ in states(host).values()} == {0}
        assert code in {error for _, _, error in states(host).values()}
        assert host.execute("TABLE batch.suppressed_address").fetchall() == []

        server.set(smtpd_recipient_restrictions="permit")
        later(host)
        assert run(database, through).status == "completed"
        assert (statuses(host), closings(host)) == ({"sent": len(ALL)}, [])
        wait_for(server, len(ALL))
        assert delivered(server) == ALL


def test_bogus_addresses_of_one_tenant_stop_nobody_else(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    bogus = [f"x@bogus{number}.test" for number in range(9)]
    others = [f"{number}@good.test" for number in range(9)]
    letters(host, {"A": bogus, "B": others})
    refusals = table(dict.fromkeys([address.rpartition("@")[2] for address in bogus], "REJECT"))
    with postfix(
        folder,
        **OPEN,
        smtpd_recipient_restrictions=f"check_recipient_access {refusals}",
    ) as server:
        run(database, installation(server), SCHEDULED_NOTIFICATIONS)

    assert closings(host) == []
    assert states(host) == dict.fromkeys(bogus, ("dead", 1, "policy")) | dict.fromkeys(
        others, ("sent", 1, None)
    )


def test_a_login_without_the_right_to_relay_is_found_by_the_check(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    letters(host, {"A": []})
    with with_logins(folder) as (server, _):
        through = installation(server, login="batch")
        assert findings(through) == []

        server.set(smtpd_relay_restrictions="defer_unauth_destination")
        assert findings(through) == ["relay_denied"]
        result = run(database, through, NOTIFICATION_SETTINGS_CHECK)
        assert "メールサーバーが中継を許可していません" in result.failed_tenants[0].reason


def test_a_sender_that_the_login_does_not_own_is_found(folder: Path) -> None:
    with with_logins(
        folder,
        smtpd_sender_login_maps="static:somebody.else",
        smtpd_sender_restrictions="reject_authenticated_sender_login_mismatch",
    ) as (server, _):
        assert findings(installation(server, login="batch")) == ["sender_rejected"]


def test_a_wrong_password_is_tried_once_for_all_tenants(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    letters(host, {tenant: [f"{tenant}{number}@one.test" for number in range(10)] for tenant in "ABCD"})
    with with_logins(folder) as (server, _):
        through = installation(server, login="batch", password="wrong")
        told = run(database, through, SCHEDULED_NOTIFICATIONS)
        tried = Counter("authentication failed" in line for line in server.log.splitlines())[True]
        assert (tried, statuses(host)) == (1, {"pending": 40})
        assert "メールサーバーの認証に失敗しました" in told.problems[0].text

        later(host)
        run(database, installation(server, login="batch"))
        assert statuses(host) == {"sent": 40}


def test_every_kind_of_login_and_encryption_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with with_logins(folder, smtpd_tls_chain_files=str(certificate), smtpd_tls_security_level="may") as (
        server,
        _,
    ):
        for security in ("none", "starttls"):
            assert findings(installation(server, login="batch", security=security)) == []
        server.set(smtpd_tls_wrappermode="yes")
        assert findings(installation(server, login="batch", security="tls")) == []
