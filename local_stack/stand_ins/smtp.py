"""A mail server that accepts letters for any recipient, or refuses them on request."""

from __future__ import annotations

import asyncio
import logging
import ssl
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from local_stack.stand_ins.faults import HANG_UP, Fault, Faults
from local_stack.stand_ins.recorder import Arrived, Recorder

# The reply for a code of the error table. Any other code is used as the reply.
_REPLIES = {
    "535": "535 5.7.8 Authentication credentials invalid",
    "throttled": "454 Throttling failure: Maximum sending rate exceeded.",
    "daily_limit": "454 Throttling failure: Daily message quota exceeded.",
    "421": "421 4.7.0 Try again later, closing connection",
    "4.3.2": "432 4.3.2 Concurrent connections limit exceeded",
    "4.5.3": "452 4.5.3 Your message has too many recipients",
    "5.4.5": "550 5.4.5 Sending rate exceeded",
    "5.7.233": "550 5.7.233 Your tenant exceeded its limit for external recipients",
    "4.2.1": "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
    "4.7": "450 4.7.1 Greylisted, please come back",
    "5.7": "550 5.7.1 Sender not authorized",
    "smtp_4": "451 Local error in processing",
    "smtp_5": "554 Transaction failed",
    "5.1.1": "550 5.1.1 No such user",
    "5.1.2": "550 5.1.2 No such domain",
    "5.1.3": "553 5.1.3 Bad address",
    "5.1.6": "551 5.1.6 User has moved",
    "5.2.2": "552 5.2.2 Mailbox full",
    "5.3.1": "552 5.3.1 System full",
}

# aiosmtpd logs every address and line.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class SmtpService:
    """The server. Use it in one event loop. ``tls`` is used from the first byte or after STARTTLS.

    ``connections`` counts all connections, ``open_connections`` the open ones. If more than ``connection_limit`` are open, the server
    refuses every letter, as Exchange Online does.
    """

    def __init__(
        self,
        recorder: Recorder,
        faults: Faults,
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.connections = 0
        self.open_connections = set[SMTP]()
        self.connection_limit: int | None = None
        self._recorder = recorder
        self._faults = faults
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
            ident="stand-in",
            auth_require_tls=False,
            authenticator=self._authenticate,
            tls_context=None if self._implicit_tls else self._tls,
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(self, *_: Any) -> AuthResult:
        if reply := _reply(self._faults.take("email", "AUTH")):
            return AuthResult(success=False, handled=False, message=reply)
        return AuthResult(success=True)

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.connection_limit is not None and len(self.open_connections) > self.connection_limit:
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
        content = envelope.original_content or b""
        for recipient in envelope.rcpt_tos:
            self._recorder.add(_arrived(recipient, content))
        await self._faults.answer_is_due("email")
        await self._fault(server, HANG_UP)
        return "250 2.0.0 OK: queued"

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.event_handler.open_connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.open_connections.discard(self)
        super().connection_lost(error)


def _reply(fault: Fault | None) -> str:
    return _REPLIES.get(str(fault.code), str(fault.code)) if fault else ""


def _arrived(recipient: str, content: bytes) -> Arrived:
    letter = message_from_bytes(content, policy=default_policy)
    assert isinstance(letter, EmailMessage)
    return Arrived(
        "email",
        recipient,
        _part(letter, "plain"),
        subject=str(letter["Subject"] or ""),
        rich=_part(letter, "html") or None,
        # The raw headers: unfolded, not decoded.
        headers={
            name: "".join(str(value).splitlines()) for name, value in message_from_bytes(content).items()
        },
    )


def _part(letter: EmailMessage, kind: str) -> str:
    part = letter.get_body(preferencelist=(kind,))
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n") if part else ""
