"""Hours without a real Postfix: no letter ends, and a certificate that expired is said at once. ``make test-mail`` runs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.business_date import JAPAN
from tests.conftest import Database
from tests.mail_servers.postfix import postfix
from tests.mail_servers.scene import OPEN, installation, later, letters, run, states, statuses
from tests.worlds.encrypted_servers import make_certificate

pytestmark = pytest.mark.long

HOURS = 6
ADDRESSES = {tenant: [f"{tenant}{number}@one.test" for number in range(10)] for tenant in "ABC"}
ALL = 30


def test_a_server_that_is_down_for_hours_loses_nothing(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    letters(host, ADDRESSES)
    with postfix(folder, **OPEN) as server:
        through = installation(server)
        server.stop()
        run(database, through, SCHEDULED_NOTIFICATIONS)
        for _ in range(HOURS):
            later(host)
            run(database, through)
        assert {each[:2] for each in states(host).values()} == {("pending", 0)}

        server.start()
        later(host)
        run(database, through)
        assert statuses(host) == {"sent": ALL}


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_expired_certificate_for_hours_loses_nothing_and_is_said_once(
    database: Database, host: psycopg.Connection, folder: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    letters(host, ADDRESSES)
    certificate = make_certificate(folder, ends_in=timedelta(days=-1))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    encrypted = {"smtpd_tls_chain_files": str(certificate), "smtpd_tls_security_level": "may"}
    of_postfix = folder / "postfix"
    of_postfix.mkdir()
    with postfix(of_postfix, **OPEN, **encrypted) as server:
        if security == "tls":
            server.set(smtpd_tls_wrappermode="yes")
        through = installation(server, security=security)
        told = run(database, through, SCHEDULED_NOTIFICATIONS)
        later_ones = []
        for _ in range(HOURS):
            later(host)
            later_ones.append(run(database, through).status)

        (problem,) = told.problems
        end = (datetime.now(UTC) - timedelta(days=1)).astimezone(JAPAN)
        assert (
            "メールサーバーの証明書を確認できません（certificate has expired、CN=stand-in、有効期限 "
            in problem.text
        )
        assert f"{end:%Y-%m-%d}" in problem.text
        assert (set(later_ones), {each[:2] for each in states(host).values()}) == (
            {"completed"},
            {("pending", 0)},
        )

        make_certificate(folder)
        server.set()
        later(host)
        run(database, through)
        assert statuses(host) == {"sent": ALL}
