"""E-mail over SMTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiosmtplib
from typing_extensions import override

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.address_guard import RefusedAddressError, guarded_socket
from include.skillreport.messaging.channels.access_token import TokenFailedError
from include.skillreport.messaging.channels.channel import ChannelClient, Finding, finding
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.letter import (
    SAMPLE_TOKEN,
    Letter,
    LetterTooLargeError,
    Smtputf8MissingError,
    is_address,
    letter_of,
    one_line,
    sender_of,
    settings_problem,
    with_token,
)
from include.skillreport.messaging.channels.email.login import TokenSource
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import (
    ErrorClass,
    Outcome,
    SendResult,
    failed,
)

_SECURITIES = ("tls", "starttls", "none")

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}")
# The recipient's address or mailbox, not the sender's (1.7 and 1.8). The reply's text may mention the recipient's own quotas.
_ABOUT_RECIPIENT = re.compile(r"[45]\.1\.([1-6]|10)|4\.2\.2")
# A reply may quote addresses. Their text must not match a pattern.
_QUOTED_ADDRESS = re.compile(r"\S*@\S*")

# The letter is larger than the server's or the recipient's limit. 552 is RFC 1870's code, without an enhanced code.
_TOO_LARGE = frozenset({"5.3.4", "5.2.3", "552"})

_CLOSING = 421
_LOGIN_REFUSED = 535

# The timeout for the answer to a letter is this many times longer than for other answers. Together with the timeouts (30 seconds) of the
# commands before, it is below the limit of one send (``sender.SEND_LIMIT``), unless each command is slow.
_DATA_PATIENCE = 2

# UnicodeError: the host name cannot be encoded for a resolver.
_FAILURES = (
    aiosmtplib.SMTPException,
    OSError,
    UnicodeError,
    RefusedAddressError,
    LetterTooLargeError,
    Smtputf8MissingError,
    TokenFailedError,
)


class Client(ChannelClient):
    """A letter is the e-mail of a message. Connections are reused until ``aclose``; the caller limits their number."""

    # Seconds for each answer of the server.
    timeout = 30.0

    def __init__(self, config: EmailConfig, _: object = None, allowed_hosts: Collection[str] = ()) -> None:
        """``allowed_hosts``: the private hosts that may be a tenant's own server."""
        self._config = config
        self._allowed_hosts = allowed_hosts
        self._tokens = TokenSource(config.oauth, allowed_hosts) if config.oauth else None
        self._idle: list[aiosmtplib.SMTP] = []

    @override
    def check(self, message: Message) -> SendResult | None:
        if refusal := self._check_settings():
            return refusal
        return None if is_address(message.destination) else failed(EMAIL, "invalid_address")

    @override
    async def send(self, message: Message) -> SendResult:
        """The provider's message id is the Message-ID, which is the same for every attempt.

        A letter that is too large is sent without its file.
        """
        if (refusal := self.check(message)) is not None:
            return refusal
        letter = letter_of(message, self._config)
        result = await self._transmit(letter)
        if letter.has_file and message.file and _is_too_large(result):
            letter = letter_of(replace(message, file=replace(message.file, content=None)), self._config)
            result = await self._transmit(letter)
        if result.is_refused_for_rate:
            # The server counts idle connections too. Closes without QUIT, whose answer could take long.
            while self._idle:
                self._idle.pop().close()
        return result

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        """Logs in and checks the sender with the server. Only the syntax of destinations is checked."""
        if refusal := self._check_settings():
            return finding(refusal)
        try:
            server = await self._connected()
            async with self._step(server):
                config = self._config
                await server.mail(with_token(config.envelope_sender, SAMPLE_TOKEN) or sender_of(config)[1])
                await server.rset()
            self._idle.append(server)
        except _FAILURES as error:
            return finding(_not_sent(error))
        malformed = failed(EMAIL, "invalid_address")
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

    async def _transmit(self, letter: Letter) -> SendResult:
        try:
            server = await self._addressed(letter)
        except _FAILURES as error:
            return _not_sent(error)
        try:
            async with self._step(server):
                # A server may delay its answer instead of refusing a letter. After a timeout it would be unknown whether the letter
                # arrived.
                await server.data(letter.content, timeout=_DATA_PATIENCE * self.timeout)
        except _FAILURES as error:
            return _perhaps_sent(error)
        self._idle.append(server)
        return SendResult(Outcome.SENT, provider_message_id=letter.message_id)

    def _check_settings(self) -> SendResult | None:
        host = self._config.host
        if not host or host != one_line(host):
            return failed(EMAIL, "not_configured")
        if problem := settings_problem(self._config):
            return failed(EMAIL, "not_configured", problem)
        if self._config.security not in _SECURITIES:
            return failed(EMAIL, "not_configured", "security is none of tls, starttls, none")
        is_allowed = f"{host}:{self._config.port}" in self._allowed_hosts
        if self._config.is_tenants and self._config.security == "none" and not is_allowed:
            return failed(EMAIL, "refused_address", "TLS か STARTTLS が必要です")
        return None

    async def _addressed(self, letter: Letter) -> aiosmtplib.SMTP:
        """A connection on which the server has accepted sender and recipient. The letter is not sent yet."""
        while self._idle:
            # The server may have closed an idle connection, with or without a 421.
            try:
                return await self._address(self._idle.pop(), letter)
            except aiosmtplib.SMTPServerDisconnected:
                continue
            except aiosmtplib.SMTPResponseException as error:
                if error.code != _CLOSING:
                    raise
        return await self._address(await self._connected(), letter)

    async def _address(self, server: aiosmtplib.SMTP, letter: Letter) -> aiosmtplib.SMTP:
        is_international = letter.recipient.needs_smtputf8
        if is_international:
            async with self._step(server):
                if server.is_ehlo_or_helo_needed:
                    await server.ehlo()
            if not server.supports_extension("smtputf8"):
                self._idle.append(server)
                raise Smtputf8MissingError
        options, encoding = (["SMTPUTF8", "BODY=8BITMIME"], "utf-8") if is_international else ([], "ascii")
        if letter.has_file:
            options = [*options, *await self._declared_size(server, letter)]
        async with self._step(server):
            await server.mail(letter.envelope_sender, options=options, encoding=encoding)
            await server.rcpt(letter.recipient.text, encoding=encoding)
        return server

    async def _declared_size(self, server: aiosmtplib.SMTP, letter: Letter) -> list[str]:
        """The option that tells the server the letter's size, so that it refuses the letter before it is transmitted (RFC 1870).

        :raises LetterTooLargeError: the letter is larger than the limit that the server states. The connection stays open.
        """
        async with self._step(server):
            if server.is_ehlo_or_helo_needed:
                with suppress(aiosmtplib.SMTPHeloError):
                    await server.ehlo()
        if not server.supports_extension("size"):
            return []
        limit = server.esmtp_extensions.get("size", "").strip()
        # 0, or no number: the server states no limit.
        if limit.isdecimal() and 0 < int(limit) < len(letter.content):
            self._idle.append(server)
            raise LetterTooLargeError
        return [f"SIZE={len(letter.content)}"]

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
                and not failed(EMAIL, _code(error)).is_refused_for_rate
            ):
                with suppress(*_FAILURES):
                    await server.rset()
                    self._idle.append(server)
            else:
                server.close()
            raise

    async def _connected(self) -> aiosmtplib.SMTP:
        """A new connection, logged in. A token that the server refuses is replaced once."""
        if self._tokens is None:
            return await self._connect()
        token = await self._tokens.get()
        try:
            return await self._connect(token)
        except aiosmtplib.SMTPAuthenticationError as error:
            if error.code != _LOGIN_REFUSED:
                raise
            another = await self._tokens.get(instead_of=token)
            if another == token:
                raise
        return await self._connect(another)

    async def _connect(self, token: str = "") -> aiosmtplib.SMTP:
        async def access_token() -> str:
            return token

        config = self._config
        connection = None
        if config.is_tenants:
            async with asyncio.timeout(self.timeout):
                connection = await guarded_socket(config.host, config.port, self._allowed_hosts)
        server = _Server(
            # With an existing socket, the host's name is used only to check the certificate.
            hostname=config.host,
            port=None if connection else config.port,
            sock=connection,
            username=config.login or (sender_of(config)[1] if token else None),
            password=None if token else config.password or None,
            oauth_token_generator=access_token if token else None,
            timeout=self.timeout,
            use_tls=config.security == "tls",
            # Decide by the setting, not by the server's offer: an attacker between client and server could remove STARTTLS from the offer.
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


def _not_sent(error: Exception) -> SendResult:
    """The result of a failure before the letter was sent."""
    if isinstance(error, RefusedAddressError):
        return failed(EMAIL, "refused_address", str(error))
    if isinstance(error, TokenFailedError):
        return error.result
    if isinstance(error, Smtputf8MissingError):
        return failed(EMAIL, "smtputf8_missing")
    if isinstance(error, LetterTooLargeError):
        return failed(EMAIL, "5.3.4")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        code = _code(error)
        if isinstance(error, aiosmtplib.SMTPSenderRefused) and code in _TOO_LARGE:
            # The server knows the letter's size.
            return failed(EMAIL, code, _shown(error))
        if (
            isinstance(error, aiosmtplib.SMTPAuthenticationError)
            and error.code >= 500
            and not failed(EMAIL, code).is_refused_for_rate
        ):
            # "535 5.7.8" refuses the login. Without this, 5.7 would count as a refusal of the sender.
            code = "535"
        if isinstance(error, aiosmtplib.SMTPRecipientRefused):
            return _refused_letter(error)
        if _blames_message(code):
            # The server knows neither recipient nor letter yet, so it refuses the installation.
            code = "5.7"
        return failed(EMAIL, code, _shown(error))
    if isinstance(error, ConnectionError | TimeoutError) or not isinstance(error, aiosmtplib.SMTPException):
        return failed(EMAIL, "connection_refused", type(error).__name__)
    return failed(EMAIL, "5.7", "the server does not offer what the settings ask for (STARTTLS, AUTH)")


def _perhaps_sent(error: Exception) -> SendResult:
    """The result of a failure while the letter was sent. After a refusal it has not arrived; without an answer it may have arrived."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        return _refused_letter(error)
    code = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
    return failed(EMAIL, code, type(error).__name__)


def _refused_letter(error: aiosmtplib.SMTPResponseException) -> SendResult:
    """The refusal of one recipient or letter. A refusal by policy (5.7) concerns only this letter: the channel stays open."""
    code = _code(error)
    return failed(EMAIL, "policy" if code == "5.7" else code, _shown(error))


def _is_too_large(result: SendResult) -> bool:
    return result.error is not None and result.error.code in _TOO_LARGE


def _code(error: aiosmtplib.SMTPResponseException) -> str:
    """The table's code for a refusal: by its text, otherwise by its most specific code.

    A recipient's limit counts as the server's limit if the command named no recipient yet.
    """
    table = EMAIL.errors
    text = _QUOTED_ADDRESS.sub("", error.message)
    reply, enhanced = str(error.code), _enhanced(error)
    is_about_recipient = _ABOUT_RECIPIENT.fullmatch(enhanced) is not None
    # Other servers behind this one answer to the letter. The login has codes of its own.
    is_ours = not isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPAuthenticationError)
    by_text = (
        row.code
        for row in table.values()
        if row.text and not is_about_recipient and row.text.search(text)
        if is_ours or row.error_class is not ErrorClass.ACCESS
    )
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
    return EMAIL.errors[code].error_class in (ErrorClass.ADDRESS, ErrorClass.PAYLOAD)
