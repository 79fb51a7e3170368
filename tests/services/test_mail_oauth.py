"""Logins by token (SASL XOAUTH2): letters and alerts to aiosmtpd, the mailbox of bounces at Dovecot. ``make test-services`` runs it."""

from __future__ import annotations

import asyncio
import imaplib
import json
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Connection

from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.channels import NotSentError, send_email
from include.skillreport.core.network import EmailConfig, MailboxConfig, OAuthConfig
from include.skillreport.messaging.channels.access_token import TokenFailedError
from include.skillreport.messaging.channels.channel import ChannelClient
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.client import Client
from include.skillreport.messaging.feedback.mailbox import MailboxError, open_mailbox
from include.skillreport.messaging.outcome import ErrorClass, Outcome, SendResult
from tests.mail_servers.dovecot import PASSWORD, Dovecot, dovecot
from tests.mail_servers.programs import missing
from tests.messaging.sending import code_of, message
from tests.needs import need
from tests.services.mail_tokens import (
    CLIENT_ID,
    CLIENT_SECRET,
    SCOPE,
    USER,
    MailServer,
    TokenServer,
    smtp_server,
    token_server,
)
from tests.worlds.encrypted_servers import make_certificate

pytestmark = pytest.mark.long

SENDER = "batch@example.test"

WRONG = ["not a token", "expired", "another user's", "another issuer's"]


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as server:
        yield server


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The servers' certificate, which the clients trust."""
    path = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def wrong_token(tokens: TokenServer, how: str) -> str:
    match how:
        case "expired":
            return tokens.token(-600)
        case "another user's":
            return tokens.token(user="somebody.else")
        case "another issuer's":
            return tokens.token()[:-8] + "AAAAAAAA"
    return "fixed-very-secret"


def oauth(tokens: TokenServer, **changes: Any) -> OAuthConfig:
    return replace(OAuthConfig(CLIENT_ID, CLIENT_SECRET, tokens.url, SCOPE), **changes)


class Smtp(NamedTuple):
    """aiosmtpd, and how to send to it."""

    port: int
    server: MailServer
    tokens: TokenServer

    def letters(self, number: int = 1, **changes: Any) -> list[SendResult]:
        """The results of letters to a tenant's users, each on a connection of its own."""
        usual = EmailConfig("127.0.0.1", self.port, SENDER, USER, oauth=oauth(self.tokens))

        async def send() -> list[SendResult]:
            client: ChannelClient = Client(
                replace(usual, **changes), None, {urlsplit(self.tokens.url).netloc}
            )
            results = []
            for _ in range(number):
                results.append(await client.send(message(EMAIL)))
                await client.aclose()
            return results

        return asyncio.run(send())

    def alert(self, **extra: str) -> None:
        """Send an alert to the operators."""
        usual = {"from_email": SENDER, "to_email": "night@example.test", "disable_ssl": True, "scope": SCOPE}
        usual |= {"auth_type": "oauth2", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        usual["token_url"] = self.tokens.url
        fields = {"login": USER, "password": extra.pop("password", "")}
        connection = Connection(
            conn_id="skill_batch_alert_email",
            conn_type="smtp",
            host="127.0.0.1",
            port=self.port,
            extra=json.dumps(usual | extra),
            **fields,
        )
        send_email(Alert("題名", ("本文",)), "key", connection)


@pytest.fixture
def smtp(tokens: TokenServer, certificate: Path) -> Iterator[Smtp]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with smtp_server(tokens.public_key, tls) as (port, server):
        yield Smtp(port, server, tokens)


class TestLetters:
    def test_are_sent_with_one_token(self, smtp: Smtp) -> None:
        assert [result.outcome for result in smtp.letters(2)] == [Outcome.SENT] * 2
        assert (smtp.tokens.issued, smtp.server.logins) == (1, [USER] * 2)
        assert len(smtp.server.letters) == 2

    def test_are_sent_with_a_new_token_after_the_first_has_expired(self, smtp: Smtp) -> None:
        """Before the hour that the token server promised."""
        smtp.tokens.lifetimes = [-600]
        assert [result.outcome for result in smtp.letters()] == [Outcome.SENT]
        assert (smtp.tokens.issued, smtp.server.answers) == (2, [b""])

    @pytest.mark.parametrize("how", WRONG)
    def test_are_not_sent_with_a_wrong_token(self, smtp: Smtp, how: str) -> None:
        [result] = smtp.letters(oauth=OAuthConfig(access_token=wrong_token(smtp.tokens, how)))
        assert result.error is not None
        assert (result.error.code, result.error.error_class) == ("535", ErrorClass.CREDENTIAL)
        assert smtp.server.letters == []
        assert set(smtp.server.answers) == {b""}

    def test_are_not_sent_with_a_refused_secret(self, smtp: Smtp) -> None:
        [result] = smtp.letters(oauth=oauth(smtp.tokens, client_secret="old"))
        assert (code_of(result), result.detail) == ("token_refused", "HTTP 401 invalid_client")

    def test_are_not_sent_with_a_password_where_passwords_are_off(self, smtp: Smtp) -> None:
        [result] = smtp.letters(oauth=None, password="very-secret")
        assert result.error is not None
        assert (result.error.code, result.error.error_class) == ("5.7", ErrorClass.CONFIGURATION)
        assert "AUTH" in result.detail


class TestAlerts:
    def test_are_sent_with_a_token_each(self, smtp: Smtp) -> None:
        smtp.alert()
        smtp.alert()
        assert (smtp.tokens.issued, smtp.server.logins) == (2, [USER] * 2)
        assert len(smtp.server.letters) == 2

    @pytest.mark.parametrize("how", WRONG)
    def test_are_not_sent_with_a_wrong_token(self, smtp: Smtp, how: str) -> None:
        with pytest.raises(NotSentError, match="535"):
            smtp.alert(access_token=wrong_token(smtp.tokens, how))
        assert (smtp.server.letters, smtp.server.answers) == ([], [b""])

    def test_are_not_sent_with_a_refused_secret(self, smtp: Smtp) -> None:
        with pytest.raises(NotSentError, match="401"):
            smtp.alert(client_secret="old")

    def test_are_not_sent_with_a_password_where_passwords_are_off(self, smtp: Smtp) -> None:
        with pytest.raises(NotSentError, match="No suitable authentication"):
            smtp.alert(auth_type="basic", password="very-secret")
        assert smtp.server.letters == []


class TestTheMailbox:
    """Dovecot's own XOAUTH2, which checks the tokens by the issuer's key."""

    @pytest.fixture(params=["plain xoauth2", "xoauth2"], ids=["passwords too", "passwords are off"])
    def server(
        self, request: pytest.FixtureRequest, certificate: Path, tokens: TokenServer
    ) -> Iterator[Dovecot]:
        reason = missing("dovecot")
        need(not reason, f"make test-services: {reason}")
        folder = Path(tempfile.mkdtemp(prefix="mail-servers-"))
        folder.chmod(0o755)
        users = {USER: ""}
        mechanisms, key = request.param, tokens.public_key
        with dovecot(folder, certificate, users, mechanisms=mechanisms, issuer_key=key) as server:
            yield server
        shutil.rmtree(folder, ignore_errors=True)

    def visit(self, server: Dovecot, tokens: TokenServer, **changes: Any) -> list[str]:
        """The unread mails that our reader finds."""
        usual = MailboxConfig("127.0.0.1", server.imaps, USER, oauth=oauth(tokens))
        with open_mailbox(replace(usual, **changes), {urlsplit(tokens.url).netloc}, timeout=10) as mailbox:
            return mailbox.unread(10)

    def test_is_read_with_a_new_token_each_time(self, server: Dovecot, tokens: TokenServer) -> None:
        with imaplib.IMAP4("127.0.0.1", server.imap, timeout=30) as connection:
            response = f"user={USER}\x01auth=Bearer {tokens.token()}\x01\x01".encode()
            connection.authenticate("XOAUTH2", lambda _: response)
            connection.append("INBOX", "", "", b"Subject: a mail\r\n\r\nIts text.\r\n")
        assert [self.visit(server, tokens) for _ in range(2)] == [["1"], ["1"]]
        assert tokens.issued == 2

    @pytest.mark.parametrize("how", WRONG)
    def test_is_not_read_with_a_wrong_token(self, server: Dovecot, tokens: TokenServer, how: str) -> None:
        """Dovecot refuses only after the empty answer to its challenge."""
        fixed = OAuthConfig(access_token=wrong_token(tokens, how))
        with pytest.raises(MailboxError, match="ログインが拒否されました") as caught:
            self.visit(server, tokens, oauth=fixed)
        assert not caught.value.recoverable

    def test_is_not_read_with_a_refused_secret(self, server: Dovecot, tokens: TokenServer) -> None:
        with pytest.raises(MailboxError, match="invalid_client") as caught:
            self.visit(server, tokens, oauth=oauth(tokens, client_secret="old"))
        assert isinstance(caught.value.__context__, TokenFailedError)
        assert not caught.value.recoverable

    def test_is_read_with_a_password_only_where_passwords_are_on(
        self, server: Dovecot, tokens: TokenServer, request: pytest.FixtureRequest
    ) -> None:
        if "passwords are off" not in request.node.name:
            assert self.visit(server, tokens, oauth=None, password=PASSWORD) == []
            return
        with pytest.raises(MailboxError, match="ログインが拒否されました"):
            self.visit(server, tokens, oauth=None, password=PASSWORD)
