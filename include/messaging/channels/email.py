"""E-mail over SMTP. Absolute imports find the standard library's ``email`` in spite of this module's name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.headerregistry import BaseHeader, HeaderRegistry, UniqueUnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import Policy
from email.utils import formataddr, parseaddr
from typing import Any

import aiosmtplib
from typing_extensions import override

from include.messaging.address_guard import RefusedAddressError, guarded_socket
from include.messaging.channels.base import ChannelClient, Finding, finding
from include.messaging.message import Message
from include.messaging.outcome import Channel, ErrorClass, Outcome, SendResult, error_table, failed
from include.network import EmailConfig

# Parallel connections to the mail server. Most servers accept several dozens from one client; a server that accepts fewer refuses.
CONNECTIONS = 20

# How often a letter is offered to a server that refuses it by its rate limit, before it waits for the next run.
_OFFERS = 3

# Seconds that a letter waits for its turn. It must be well below the limit of one send (``sender.SEND_LIMIT``).
_TURN_SECONDS = 60

_SECURITIES = ("tls", "starttls", "none")

# RFC 5322 without quotes and comments, but with any dots: Japanese carriers have issued addresses such as "a..b.@docomo.ne.jp".
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?=.{1,253}\Z)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}"
)
_LONGEST_ADDRESS = 254
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}")
# A reply may quote addresses. Their words must not match a pattern.
_QUOTED_ADDRESS = re.compile(r"\S*@\S*")

_CLOSING = 421

# UnicodeError: the host name cannot be encoded for a resolver.
_FAILURES = (aiosmtplib.SMTPException, OSError, UnicodeError, RefusedAddressError)


class EmailClient(ChannelClient):
    """A letter is the e-mail made from a message. Connections are reused until ``aclose``.

    If the server refuses a letter by its rate limit, fewer letters are sent in parallel from then on. If it has refused letters of two
    tenants in a row, no more letters are offered: they get the last refusal as their result.
    """

    def __init__(
        self,
        config: EmailConfig,
        *,
        timeout: float = 30,
        pause: float = 1,
        allowed_hosts: Collection[str] = (),
    ) -> None:
        """``timeout``: seconds for each answer of the server. ``pause``: seconds before a letter that was refused alone is repeated.

        ``allowed_hosts`` are the private hosts that may be a tenant's own server.
        """
        self._config = config
        self._allowed_hosts = allowed_hosts
        self._timeout = timeout
        self._pause = pause
        self._display_name, self._sender = parseaddr(_one_line(config.sender))
        self._idle: list[aiosmtplib.SMTP] = []
        self._turn = asyncio.Condition()
        self._under_way = 0
        self._most_at_once = CONNECTIONS
        self._refusal: SendResult | None = None
        self._refused_tenants: set[str] = set()

    @override
    def check(self, message: Message) -> SendResult | None:
        if refusal := self._check_settings():
            return refusal
        return None if is_address(message.destination) else failed(Channel.EMAIL, "invalid_address")

    @override
    async def send(self, message: Message) -> SendResult:
        """The provider's message id is the Message-ID, which is the same for every attempt."""
        if (refusal := self.check(message)) is not None:
            return refusal
        letter = self._letter(message)
        for _ in range(_OFFERS):
            try:
                async with self._slot():
                    if self._refuses_everybody:
                        break
                    result = await self._offer(message.destination, letter)
                    if not result.is_refused_for_rate:
                        self._refused_tenants.clear()
                        return result
                    self._refusal = result
                    if not _may_pass_soon(result) or not await self._reduce_parallel_letters():
                        break
            except TimeoutError:
                # The letter was not offered, so this is not an attempt.
                return self._refusal or failed(Channel.EMAIL, "throttled", "no connection became free")
        self._refused_tenants.add(message.tenant_id)
        assert self._refusal is not None
        return self._refusal

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        """Logs in and names the sender. Only the syntax of destinations is checked."""
        if refusal := self._check_settings():
            return finding(refusal)
        try:
            server = await self._connected()
            async with self._step(server):
                await server.mail(self._sender)
                await server.rset()
            self._idle.append(server)
        except _FAILURES as error:
            return finding(_not_sent(error))
        malformed = failed(Channel.EMAIL, "invalid_address")
        return [
            problem for name in destinations if not is_address(name) for problem in finding(malformed, name)
        ]

    @override
    async def aclose(self) -> None:
        """Close the idle connections."""
        while self._idle:
            server = self._idle.pop()
            with suppress(*_FAILURES):
                await server.quit()
            server.close()

    @property
    def _refuses_everybody(self) -> bool:
        # A refusal caused by one tenant's recipients must not stop the e-mail of other tenants.
        return len(self._refused_tenants) > 1

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Wait until the letter may be sent. :raises TimeoutError: the wait was too long."""
        async with asyncio.timeout(_TURN_SECONDS), self._turn:
            await self._turn.wait_for(lambda: self._under_way < self._most_at_once)
            self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            async with self._turn:
                self._turn.notify()

    async def _reduce_parallel_letters(self) -> bool:
        """After a refusal, allow fewer letters in parallel than now; returns whether there were others."""
        if self._under_way == 1:
            return False
        self._most_at_once = self._under_way - 1
        # The server counts idle connections too.
        await self.aclose()
        return True

    async def _offer(self, recipient: str, letter: EmailMessage) -> SendResult:
        """Transmit the letter. If the server refuses it although it is the only one in flight, transmit it again after a pause."""
        result = await self._transmit(recipient, letter)
        if _may_pass_soon(result) and self._under_way == 1 and not self._refused_tenants:
            await asyncio.sleep(self._pause)
            result = await self._transmit(recipient, letter)
        return result

    async def _transmit(self, recipient: str, letter: EmailMessage) -> SendResult:
        try:
            server = await self._addressed(recipient)
        except _FAILURES as error:
            return _not_sent(error)
        try:
            async with self._step(server):
                await server.data(letter.as_bytes())
        except _FAILURES as error:
            return _perhaps_sent(error)
        self._idle.append(server)
        return SendResult(Outcome.SENT, provider_message_id=str(letter["Message-ID"]))

    def _check_settings(self) -> SendResult | None:
        host = self._config.host
        if not host or host != _one_line(host) or not is_address(self._sender):
            return failed(Channel.EMAIL, "not_configured")
        if self._config.security not in _SECURITIES:
            return failed(Channel.EMAIL, "not_configured", "security is none of tls, starttls, none")
        is_allowed = f"{host}:{self._config.port}" in self._allowed_hosts
        if self._config.is_tenants and self._config.security == "none" and not is_allowed:
            return failed(Channel.EMAIL, "refused_address", "TLS か STARTTLS が必要です")
        return None

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage(_LETTER_POLICY)
        letter["Message-ID"] = f"<{_one_line(message.message_id)}@{self._sender.rpartition('@')[2]}>"
        letter["Date"] = datetime.now(UTC)
        letter["From"] = formataddr((self._display_name, self._sender))
        letter["To"] = message.destination
        letter["Subject"] = _one_line(message.subject)
        if url := _one_line(self._config.unsubscribe_url):
            letter["List-Unsubscribe"] = f"<{url}>"
            if url.startswith("https:"):
                letter["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        # Base64 passes every server, even one that refuses 8-bit text or long lines.
        letter.set_content(message.text, cte="base64")
        if message.rich:
            letter.add_alternative(message.rich, subtype="html", cte="base64")
        return letter

    async def _addressed(self, recipient: str) -> aiosmtplib.SMTP:
        """A connection on which the server has accepted sender and recipient. The letter is not sent yet."""
        while self._idle:
            # The server may have closed an idle connection, with or without a 421.
            try:
                return await self._address(self._idle.pop(), recipient)
            except aiosmtplib.SMTPServerDisconnected:
                continue
            except aiosmtplib.SMTPResponseException as error:
                if error.code != _CLOSING:
                    raise
        return await self._address(await self._connected(), recipient)

    async def _address(self, server: aiosmtplib.SMTP, recipient: str) -> aiosmtplib.SMTP:
        async with self._step(server):
            await server.mail(self._sender)
            await server.rcpt(recipient)
        return server

    @asynccontextmanager
    async def _step(self, server: aiosmtplib.SMTP) -> AsyncIterator[None]:
        """A step of the SMTP dialogue. If it fails, the connection is reset and reused if possible, and closed otherwise.

        It is also closed after a refusal by the rate limit, because the server may have too many connections.
        """
        try:
            yield
        except BaseException as error:
            if (
                isinstance(error, aiosmtplib.SMTPResponseException)
                and error.code > 0
                and not failed(Channel.EMAIL, _code(error)).is_refused_for_rate
            ):
                with suppress(*_FAILURES):
                    await server.rset()
                    self._idle.append(server)
            else:
                server.close()
            raise

    async def _connected(self) -> aiosmtplib.SMTP:
        config = self._config
        connection = None
        if config.is_tenants:
            async with asyncio.timeout(self._timeout):
                connection = await guarded_socket(config.host, config.port, self._allowed_hosts)
        server = _Server(
            # With a connection, the host's name is used only to check the certificate.
            hostname=config.host,
            port=None if connection else config.port,
            sock=connection,
            username=config.login or None,
            password=config.password or None,
            timeout=self._timeout,
            use_tls=config.security == "tls",
            # Not by the server's offer: an attacker between client and server could remove STARTTLS from it.
            start_tls=config.security == "starttls",
        )
        try:
            await server.connect()
        except BaseException:
            if connection:
                connection.close()
            raise
        return server


class _Server(aiosmtplib.SMTP):
    """A connection on which a 421 fails every command. aiosmtplib would drop the 421 and try the next login method."""

    async def execute_command(self, *args: bytes, **options: Any) -> aiosmtplib.SMTPResponse:
        response = await super().execute_command(*args, **options)
        if response.code == _CLOSING:
            raise aiosmtplib.SMTPResponseException(response.code, response.message)
        return response


def is_address(text: str) -> bool:
    """Whether the text has the syntax of an e-mail address without display name."""
    return len(text) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def _may_pass_soon(result: SendResult) -> bool:
    """Whether the server refused the letter by a rate limit, other than a limit of hours or days."""
    return result.is_refused_for_rate and result.error is not None and result.error.wait is None


def _not_sent(error: Exception) -> SendResult:
    """The result of a failure before the letter was sent."""
    if isinstance(error, RefusedAddressError):
        return failed(Channel.EMAIL, "refused_address", str(error))
    if isinstance(error, aiosmtplib.SMTPResponseException):
        code = _code(error)
        if (
            isinstance(error, aiosmtplib.SMTPAuthenticationError)
            and error.code >= 500
            and not failed(Channel.EMAIL, code).is_refused_for_rate
        ):
            # "535 5.7.8" refuses the login. Without this, 5.7 would count as a refusal of the sender.
            code = "535"
        if isinstance(error, aiosmtplib.SMTPRecipientRefused):
            return _refused_letter(error)
        if _blames_message(code):
            # The server knows neither recipient nor letter yet, so it refuses the installation.
            code = "5.7"
        return failed(Channel.EMAIL, code, _shown(error))
    if isinstance(error, ConnectionError | TimeoutError) or not isinstance(error, aiosmtplib.SMTPException):
        return failed(Channel.EMAIL, "connection_refused", type(error).__name__)
    return failed(
        Channel.EMAIL, "5.7", "the server does not offer what the settings ask for (STARTTLS, AUTH)"
    )


def _perhaps_sent(error: Exception) -> SendResult:
    """The result of a failure while the letter was sent. After a refusal it has not arrived; without an answer it may have arrived."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        return _refused_letter(error)
    code = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
    return failed(Channel.EMAIL, code, type(error).__name__)


def _refused_letter(error: aiosmtplib.SMTPResponseException) -> SendResult:
    """The refusal of one recipient or letter. A refusal by policy (5.7) concerns only this letter: the channel stays open."""
    code = _code(error)
    return failed(Channel.EMAIL, "policy" if code == "5.7" else code, _shown(error))


def _code(error: aiosmtplib.SMTPResponseException) -> str:
    """The table's code for a refusal: by its text, or else by its most specific code.

    A recipient's limit counts as the server's limit if no recipient was named yet.
    """
    table = error_table(Channel.EMAIL)
    text = _QUOTED_ADDRESS.sub("", error.message)
    reply, enhanced = str(error.code), _enhanced(error)
    by_text = (row.code for row in table.values() if row.text and row.text.search(text))
    by_code = (
        reply if error.code == _CLOSING else "",
        f"{reply} {enhanced}",
        enhanced,
        enhanced.rpartition(".")[0],
        reply,
        f"smtp_{(enhanced or reply)[0]}",
    )
    code = next((code for code in (*by_text, *by_code) if code in table), "unknown")
    names_recipient = isinstance(error, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError)
    if table[code].error_class is ErrorClass.RECIPIENT_LIMIT and not names_recipient:
        return "throttled"
    return code


def _enhanced(error: aiosmtplib.SMTPResponseException) -> str:
    match = _ENHANCED.match(error.message)
    return match.group() if match else ""


def _shown(error: aiosmtplib.SMTPResponseException) -> str:
    # Without the reply's text, which usually quotes the recipient.
    return f"SMTP {error.code} {_enhanced(error)}".strip()


def _blames_message(code: str) -> bool:
    return error_table(Channel.EMAIL)[code].error_class in (ErrorClass.ADDRESS, ErrorClass.PAYLOAD)


def _one_line(text: str) -> str:
    """The text without line breaks and other control characters, so that it cannot begin another header."""
    return _CONTROLS.sub(" ", text).strip()


class _UnfoldedHeader(UniqueUnstructuredHeader, BaseHeader):  # type: ignore[misc]  # max_count, in typeshed
    """A header whose value is not folded. Python would encode a URL that is longer than a line."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("List-Unsubscribe", _UnfoldedHeader)
_LETTER_POLICY = SMTP_POLICY.clone(header_factory=_HEADERS)
