"""A token server of OAuth 2 (RFC 6749, section 4.4), whose tokens (JWT with RS256) a mail server checks by itself, and an SMTP server."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from typing_extensions import override

from local_stack.ports import free_port
from tests.messaging.sending import key_pair
from tests.serving import serving

CLIENT_ID, CLIENT_SECRET, SCOPE = "client-1", "client-very-secret", "https://mail.example.jp/.default"
USER = "batch"


@dataclass
class TokenServer:
    """Issues tokens for ``USER``. ``lifetimes`` (seconds) are those of the next tokens; the answer promises an hour for each."""

    url: str = ""
    lifetimes: list[int] = field(default_factory=list)
    issued: int = 0

    @property
    def public_key(self) -> str:
        return key_pair("the issuer of mail tokens", 2_048)[1]

    def token(self, lifetime: int = 3_600, user: str = USER) -> str:
        """A token that ends after so many seconds; negative: it has ended."""
        now = int(time.time())
        claims = {"sub": user, "iat": now - 7_200, "nbf": now - 7_200, "exp": now + lifetime}
        return jwt.encode(claims, key_pair("the issuer of mail tokens", 2_048)[0], algorithm="RS256")

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object of an answer."""
        wanted = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scope": SCOPE}
        if form != wanted | {"grant_type": "client_credentials"}:
            return 401, {"error": "invalid_client"}
        self.issued += 1
        lifetime = self.lifetimes.pop(0) if self.lifetimes else 3_600
        return 200, {"access_token": self.token(lifetime), "token_type": "Bearer", "expires_in": 3_600}


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """The server until the block ends."""
    tokens = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, answer = tokens.answer({name: values[0] for name, values in form.items()})
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tokens.url = f"http://127.0.0.1:{server.server_port}/token"
    with serving(server):
        yield tokens


class MailServer:
    """What aiosmtpd asks (its "handler"): logins by token, and the letters.

    ``answers`` are the clients' answers to the challenge with the error. Google's page "OAuth 2.0 Mechanism" (XOAUTH2) describes it: the
    client sends an empty response, and only then the server refuses.
    """

    def __init__(self, public_key: str) -> None:
        self.answers: list[object] = []
        self.logins: list[str] = []
        self.letters: list[bytes] = []
        self._public_key = public_key

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:  # noqa: N802
        """``user=someone^Aauth=Bearer token^A^A`` in Base64, in the command or on a line of its own."""
        response = await server.challenge_auth("") if len(arguments) == 1 else base64.b64decode(arguments[1])
        assert isinstance(response, bytes)
        user, bearer, *end = response.decode().split("\x01")
        if user.startswith("user=") and bearer.startswith("auth=Bearer ") and end == ["", ""]:
            try:
                claims = jwt.decode(bearer.removeprefix("auth=Bearer "), self._public_key, ["RS256"])
            except jwt.InvalidTokenError:
                claims = {}
            if claims.get("sub") == user.removeprefix("user="):
                self.logins.append(claims["sub"])
                return AuthResult(success=True)
        self.answers.append(await server.challenge_auth('{"status":"400","schemes":"Bearer","scope":"mail"}'))
        return AuthResult(success=False, handled=False)

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the letter."""
        assert isinstance(envelope.content, bytes)
        self.letters.append(envelope.content)
        return "250 2.0.0 OK"


@contextmanager
def smtp_server(public_key: str, tls: ssl.SSLContext) -> Iterator[tuple[int, MailServer]]:
    """aiosmtpd until the block ends: STARTTLS first, and no logins by password, as Exchange Online will have it."""
    handler = MailServer(public_key)
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=tls,
        require_starttls=True,
        auth_required=True,
        auth_exclude_mechanism=["LOGIN", "PLAIN"],
    )
    controller.start()
    try:
        yield controller.port, handler
    finally:
        controller.stop()
