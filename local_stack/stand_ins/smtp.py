"""A mail server that accepts letters for any recipient, or refuses them on request."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import time
from base64 import b64encode
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.parser import HeaderParser
from email.policy import default as default_policy
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from local_stack.stand_ins.bounces import bounce_of
from local_stack.stand_ins.faults import HANG_UP, Fault, Faults, RateLimit
from local_stack.stand_ins.imap import ImapService
from local_stack.stand_ins.mail_tokens import MailTokens
from local_stack.stand_ins.recorder import Arrived, MessageLog

# The reply for a code of the error table. Any other code is used as the reply.
_REPLIES = {
    "535": "535 5.7.8 Authentication credentials invalid",
    "basic_auth_off": "550 5.7.30 Basic authentication is not supported for Client Submission",
    "throttled": "454 Throttling failure: Maximum sending rate exceeded.",
    "daily_limit": "454 Throttling failure: Daily message quota exceeded.",
    "relay_denied": "554 5.7.1 <recipient@example.jp>: Relay access denied",
    "sender_rejected": "553 5.7.1 <sender@example.jp>: Sender address rejected: not owned by user",
    "sender_unverified": "554 Message rejected: Email address is not verified. The following identities failed the check in region "
    "AP-NORTHEAST-1: no-reply@example.jp",
    "login_required": "530 5.7.0 Authentication required",
    "client_rejected": "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
    "auth_limit": "450 4.7.1 Error: too many AUTH commands from 192.0.2.1",
    "auth_unavailable": "454 4.7.0 Temporary authentication failure: Connection lost to authentication server",
    "421": "421 4.7.0 Try again later, closing connection",
    "4.3.2": "432 4.3.2 Concurrent connections limit exceeded",
    "4.5.3": "452 4.5.3 Your message has too many recipients",
    "5.4.5": "550 5.4.5 Sending rate exceeded",
    "5.7.233": "550 5.7.233 Your tenant exceeded its limit for external recipients",
    "4.2.1": "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
    "4.7": "450 4.7.1 Greylisted, please come back",
    "5.7": "550 5.7.1 Sender not authorized",
    "smtp_4": "450 Mailbox unavailable",
    "4.3": "451 4.3.0 Local error in processing",
    "smtp_5": "554 Transaction failed",
    "5.1.0": "550 5.1.0 Address rejected",
    "5.1.1": "550 5.1.1 No such user",
    "5.1.2": "550 5.1.2 No such domain",
    "5.1.3": "553 5.1.3 Bad address",
    "5.1.6": "551 5.1.6 User has moved",
    "5.2.1": "550 5.2.1 The account that you tried to reach is disabled",
    "5.4.1": "550 5.4.1 Recipient address rejected: Access denied",
    "5.1.7": "501 5.1.7 Bad sender address",
    "5.1.8": "550 5.1.8 Sender domain does not exist",
    "5.4.4": "550 5.4.4 Host not found",
    "5.1.10": "556 5.1.10 Null MX",
    "5.2.2": "552 5.2.2 Mailbox full",
    "5.3.4": "552 5.3.4 Message too big for system",
    "5.2.3": "552 5.2.3 Message length exceeds administrative limit",
    "552": "552 Message size exceeds fixed maximum message size",
    "5.3.1": "552 5.3.1 System full",
}

# Bytes. As aiosmtpd's.
_LARGEST_LETTER = 32 * 1024**2

# aiosmtpd logs every address and line.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class SmtpService:
    """The server. Use it in one event loop. ``tls`` is used from the first byte or after STARTTLS.

    ``connections`` counts all connections, ``open_connections`` the open ones. ``logins`` counts the attempts to log in. If more than
    ``connection_limit`` are open, the server refuses every letter, as Exchange Online does; with ``refuses_connections`` it refuses the
    connections above the limit instead. ``rate_limit`` refuses letters as Amazon SES does. ``delay_seconds`` is the time from one
    accepted letter to the next: the answers of letters that come sooner are delayed, as Exchange Online does. ``refused_for_rate`` counts
    the refusals by these limits.
    ``offers_smtputf8``: whether it takes internationalised addresses. ``largest_letter`` is the limit in bytes that it states. Letters to
    the addresses in ``bouncing`` are accepted, and bounce with this status code into the mailbox.
    """

    def __init__(
        self,
        recorder: MessageLog,
        faults: Faults,
        tokens: MailTokens,
        mailbox: ImapService,
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.connections = 0
        self.logins = 0
        self.open_connections = set[SMTP]()
        self.connection_limit: int | None = None
        self.refuses_connections = False
        self.rate_limit: RateLimit | None = None
        self.delay_seconds = 0.0
        self.refused_for_rate = 0
        self._next_letter = 0.0
        self.offers_smtputf8 = False
        self.largest_letter = _LARGEST_LETTER
        self.bouncing: dict[str, str] = {}
        self._recorder = recorder
        self._faults = faults
        self._tokens = tokens
        self._mailbox = mailbox
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; 0 selects a free port. Returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection, "127.0.0.1", port, ssl=self._tls if self._implicit_tls else None
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Accept no more connections."""
        if self._server:
            self._server.close()

    def _connection(self) -> SMTP:
        self.connections += 1
        return _Connection(
            self,
            hostname="localhost",
            enable_SMTPUTF8=self.offers_smtputf8,
            data_size_limit=self.largest_letter,
            ident="stand-in",
            auth_require_tls=False,
            authenticator=self._authenticate,
            tls_context=None if self._implicit_tls else self._tls,
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(self, *_: Any) -> AuthResult:
        self.logins += 1
        if reply := _reply(self._faults.take("email", "AUTH")):
            return AuthResult(success=False, handled=False, message=reply)
        return AuthResult(success=True)

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:  # noqa: N802
        """The login by token. Like real servers, it explains a refusal before it refuses."""
        result = self._authenticate()
        if result.success and len(arguments) == 1:
            response = await server.challenge_auth("")
            arguments = [b64encode(response).decode()] if isinstance(response, bytes) else [""]
        if result.success and not self._tokens.accepts(arguments[-1]):
            await server.challenge_auth('{"status":"401","schemes":"bearer"}')
            return AuthResult(success=False, handled=False)
        return result

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.has_too_many_connections:
            self.refused_for_rate += 1
            return _REPLIES["4.3.2"]
        if reply := await self._fault(server, "MAIL"):
            return reply
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = self._faults.refusal_of(address)
        if reply := _REPLIES.get(refusal, refusal) if refusal else await self._fault(server, "RCPT"):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if reply := await self._fault(server, "DATA"):
            return reply
        if self.rate_limit is not None and self.rate_limit.wait(""):
            self.refused_for_rate += 1
            return _REPLIES["throttled"]
        content = envelope.original_content or b""
        for recipient in envelope.rcpt_tos:
            sender = envelope.mail_from or ""
            self._recorder.add(_arrived(sender, recipient, content))
            if status := self.bouncing.get(recipient):
                self._mailbox.deliver(bounce_of(content, sender, recipient, status))
        await self._delay()
        await self._faults.answer_is_due("email")
        await self._fault(server, HANG_UP)
        return "250 2.0.0 OK: queued"

    @property
    def has_too_many_connections(self) -> bool:
        """Whether more connections are open than the limit allows."""
        return self.connection_limit is not None and len(self.open_connections) > self.connection_limit

    async def _delay(self) -> None:
        now = time.monotonic()
        turn = max(now, self._next_letter)
        self._next_letter = turn + self.delay_seconds
        await asyncio.sleep(turn - now)

    async def _fault(self, server: SMTP, command: str) -> str:
        """The error reply for a command, or empty. A failure without a reply closes the connection."""
        fault = self._faults.take("email", command)
        if fault and not fault.code:
            assert server.transport is not None
            server.transport.close()
            # aiosmtpd cancels this handler when the connection closes.
            await asyncio.Event().wait()
        return _reply(fault)


class _Connection(SMTP):
    """A connection that its ``SmtpService`` counts."""

    _is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        service: SmtpService = self.event_handler
        service.open_connections.add(self)
        if service.refuses_connections and service.has_too_many_connections:
            service.open_connections.discard(self)
            service.refused_for_rate += 1
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"421 4.3.2 Too many connections\r\n")
            transport.close()
            self._is_refused = True
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.open_connections.discard(self)
        if not self._is_refused:
            super().connection_lost(error)


def _reply(fault: Fault | None) -> str:
    return _REPLIES.get(str(fault.code), str(fault.code)) if fault else ""


def _arrived(sender: str, recipient: str, content: bytes) -> Arrived:
    letter = message_from_bytes(content, policy=default_policy)
    assert isinstance(letter, EmailMessage)
    return Arrived(
        "email",
        recipient,
        _part(letter, "plain"),
        subject=str(letter["Subject"] or ""),
        rich=_part(letter, "html") or None,
        files=[_file(part) for part in letter.iter_attachments()] if letter.is_multipart() else (),
        # The envelope's sender as the last server adds it, and the raw headers: unfolded, not decoded.
        headers={
            "Return-Path": f"<{sender}>",
            **{
                name: "".join(value.splitlines())
                for name, value in HeaderParser().parsestr(content.decode("utf-8", "replace")).items()
            },
        },
    )


def _file(part: Message) -> dict[str, Any]:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return {
        "name": part.get_filename(),
        "content_type": part.get_content_type(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _part(letter: EmailMessage, kind: str) -> str:
    part = letter.get_body(preferencelist=(kind,))
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n") if part else ""
