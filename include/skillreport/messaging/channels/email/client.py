"""E-mail over SMTP."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiosmtplib
from aiosmtplib.auth import auth_xoauth2_encode
from typing_extensions import override

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.address_guard import guarded_socket
from include.skillreport.messaging.channels.channel import ChannelClient, ChannelFinding, finding
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.answers import (
    CLOSING,
    FAILURES,
    is_for_rate,
    is_refused_login,
    is_too_large,
    not_sent,
    perhaps_sent,
)
from include.skillreport.messaging.channels.email.certificate import (
    CertificateRefusedError,
    described,
    verification_error,
)
from include.skillreport.messaging.channels.email.headers import UnsafeHeaderError
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
from include.skillreport.messaging.channels.email.login import TokenSource, password_will_stop
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import ErrorClass, Outcome, SendResult, failed

_SECURITIES = ("tls", "starttls", "none")

_LOGIN_REFUSED = 535

# The answers to the installation's own address that are about the installation. Its mailbox need not exist.
_ABOUT_SENDER = frozenset({ErrorClass.ACCESS, ErrorClass.CREDENTIAL, ErrorClass.CONFIGURATION})

# The timeout for the answer to an e-mail is this many times longer than for other answers. With the timeouts (30 seconds) of earlier
# commands it is below ``sender.SEND_LIMIT``, unless each command is slow.
_DATA_PATIENCE = 2


class Client(ChannelClient):
    """Sends a message as an e-mail (``Letter``). Connections are reused until ``aclose``; the caller limits their number.

    Until the first connection has logged in, all e-mails wait for it and share its failure, so a wrong password is tried once.
    """

    # Seconds for each answer of the server.
    timeout = 30.0

    def __init__(self, config: EmailConfig, _: object = None, allowed_hosts: Collection[str] = ()) -> None:
        """``allowed_hosts``: the private hosts that may be a tenant's own server."""
        self._config = config
        self._allowed_hosts = allowed_hosts
        self._tokens = TokenSource(config.oauth, allowed_hosts) if config.oauth else None
        self._idle: list[aiosmtplib.SMTP] = []
        self._first_login = asyncio.Lock()
        self._has_logged_in = False
        self._failure: Exception | None = None
        self._failed_at = 0.0

    @override
    def check(self, message: Message) -> SendResult | None:
        if refusal := self._check_settings():
            return refusal
        return None if is_address(message.destination) else failed(EMAIL, "invalid_address")

    @override
    async def send(self, message: Message) -> SendResult:
        """The provider's message id is the Message-ID, which is the same for every attempt.

        An e-mail that is too large is sent without its file.
        """
        if (refusal := self.check(message)) is not None:
            return refusal
        try:
            letter = letter_of(message, self._config)
        except UnsafeHeaderError as error:
            return failed(EMAIL, "unsafe_header", str(error))
        result = await self._transmit(letter)
        if letter.has_file and message.file and is_too_large(result):
            letter = letter_of(replace(message, file=replace(message.file, content=None)), self._config)
            result = await self._transmit(letter)
        return result

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[ChannelFinding]:
        """Logs in, and asks the server to accept an e-mail from the sender to the sender. Only the syntax of destinations is checked."""
        if refusal := self._check_settings():
            return finding(refusal)
        try:
            refusal = await self._sender_refusal(await self._connected())
        except FAILURES as error:
            refusal = not_sent(error)
        if refusal:
            return finding(refusal)
        malformed = failed(EMAIL, "invalid_address")
        warning = finding(failed(EMAIL, "password_login")) if password_will_stop(self._config) else []
        return warning + [
            problem for name in destinations if not is_address(name) for problem in finding(malformed, name)
        ]

    async def _sender_refusal(self, server: aiosmtplib.SMTP) -> SendResult | None:
        """The refusal to relay for the sender; None: there is none. The sender's mailbox need not exist.

        :raises aiosmtplib.SMTPException: the server refuses the sender.
        """
        config, address = self._config, sender_of(self._config)[1]
        async with self._step(server):
            await server.mail(with_token(config.envelope_sender, SAMPLE_TOKEN) or address)
        try:
            async with self._step(server):
                await server.rcpt(address)
                await server.rset()
        except aiosmtplib.SMTPRecipientRefused as error:
            result = not_sent(error)
            if result.error is not None and result.error.code == "policy":
                # For its own sender the server has no other reason.
                result = failed(EMAIL, "5.7", result.detail)
            return result if result.error and result.error.error_class in _ABOUT_SENDER else None
        self._idle.append(server)
        return None

    @override
    async def aclose(self) -> None:
        """Close the idle connections."""
        while self._idle:
            server = self._idle.pop()
            with suppress(*FAILURES):
                await server.quit()
            server.close()

    async def _transmit(self, letter: Letter) -> SendResult:
        try:
            server = await self._addressed(letter)
        except FAILURES as error:
            result = not_sent(error)
            # A server that refuses a new connection or its login leaves other connections open.
            is_new = isinstance(error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPAuthenticationError)
            if result.is_refused_for_rate and not is_new:
                self._close_idle()
            return result
        try:
            async with self._step(server):
                # A server may delay its answer instead of refusing an e-mail. After a timeout it would be unknown whether it arrived.
                await server.data(letter.content, timeout=_DATA_PATIENCE * self.timeout)
        except FAILURES as error:
            result = perhaps_sent(error)
            if result.is_refused_for_rate:
                self._close_idle()
            return result
        self._idle.append(server)
        return SendResult(Outcome.SENT, provider_message_id=letter.message_id)

    def _close_idle(self) -> None:
        """Close the idle connections, which count for the server's limit, too. Sends no QUIT, because its answer could take long."""
        while self._idle:
            self._idle.pop().close()

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
        """A connection on which the server has accepted sender and recipient. The e-mail is not sent yet."""
        while self._idle:
            # The server may have closed an idle connection, with or without a 421.
            try:
                return await self._address(self._idle.pop(), letter)
            except aiosmtplib.SMTPServerDisconnected:
                continue
            except aiosmtplib.SMTPResponseException as error:
                if error.code != CLOSING:
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
        """The option with the e-mail's size, so that the server refuses a large e-mail before it is transmitted (RFC 1870).

        :raises LetterTooLargeError: the e-mail is larger than the limit that the server states. The connection stays open.
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
                and not is_for_rate(error)
            ):
                with suppress(*FAILURES):
                    await server.rset()
                    self._idle.append(server)
            else:
                server.close()
            raise

    async def _connected(self) -> aiosmtplib.SMTP:
        """A new connection, logged in."""
        asked_at = time.monotonic()
        async with self._first_login:
            if self._failure is not None and (self._failed_at >= asked_at or _is_lasting(self._failure)):
                raise self._failure
            if not self._has_logged_in:
                server = await self._logged_in()
                self._has_logged_in = True
                return server
        return await self._logged_in()

    async def _logged_in(self) -> aiosmtplib.SMTP:
        try:
            return await self._connect_with_token() if self._tokens else await self._connect()
        except FAILURES as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise

    async def _connect_with_token(self) -> aiosmtplib.SMTP:
        """A token that the server refuses is replaced once."""
        assert self._tokens is not None
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
        try:
            return await self._opened(
                username=config.login or (sender_of(config)[1] if token else None),
                password=None if token else config.password or None,
                oauth_token_generator=access_token if token else None,
            )
        except (OSError, aiosmtplib.SMTPConnectError) as error:
            if (problem := verification_error(error)) is None:
                raise
            raise CertificateRefusedError(await self._certificate_problem(problem)) from None

    async def _certificate_problem(self, problem: ssl.SSLCertVerificationError) -> str:
        """Why the certificate was refused, with its subject and end, from another connection that sends nothing secret."""
        # The text and the subject may name a host. Operators of all tenants see the reason for which a server is closed.
        is_shared = not self._config.is_tenants
        reason = problem.verify_message if is_shared else f"OpenSSL {problem.verify_code}"
        try:
            server = await self._opened(validate_certs=False)
        except FAILURES:
            return reason
        certificate = server.get_transport_info("ssl_object").getpeercert(True)
        server.close()
        return f"{reason}、{described(certificate, with_subject=is_shared)}"

    async def _opened(self, **options: Any) -> aiosmtplib.SMTP:
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
            timeout=self.timeout,
            use_tls=config.security == "tls",
            # The setting decides, not the server's offer: an attacker in between could remove STARTTLS from the offer.
            start_tls=config.security == "starttls",
            **options,
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

    @property
    def supported_auth_methods(self) -> list[str]:
        """One way to log in. aiosmtplib would try a wrong password in each way, and servers count these attempts."""
        ways = super().supported_auth_methods
        if self.get_transport_info("sslcontext") is not None:
            # Servers that store only hashes of the passwords offer CRAM-MD5 in vain.
            ways = sorted(ways, key="cram-md5".__eq__)
        return ways[:1]

    @override
    async def auth_xoauth2(
        self, username: str | bytes, access_token: str | bytes, /, **_: Any
    ) -> aiosmtplib.SMTPResponse:
        """Send the token on a line of its own. In the command it is longer than many servers read (RFC 4954, section 4: 512 octets)."""
        await self._ehlo_or_helo_if_needed()
        response = await self.execute_command(b"AUTH", b"XOAUTH2")
        # The server asks for the token, and explains a refusal in a second challenge, which gets an empty answer.
        for answer in (auth_xoauth2_encode(username, access_token), b""):
            if response.code == aiosmtplib.SMTPStatus.auth_continue:
                response = await self.execute_command(answer)
        if response.code != aiosmtplib.SMTPStatus.auth_successful:
            raise aiosmtplib.SMTPAuthenticationError(response.code, response.message)
        return response

    async def execute_command(self, *args: bytes, **options: Any) -> aiosmtplib.SMTPResponse:
        response = await super().execute_command(*args, **options)
        if response.code == CLOSING:
            raise aiosmtplib.SMTPResponseException(response.code, response.message)
        return response


def _is_lasting(failure: Exception) -> bool:
    """True if the same login would fail again in this run."""
    return is_refused_login(failure) or isinstance(failure, CertificateRefusedError)
