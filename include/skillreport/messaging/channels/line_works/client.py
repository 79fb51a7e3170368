"""LINE WORKS: a bot with a service account sends to a user or a talk room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from typing_extensions import override
from yarl import URL

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging.channels.access_token import AccessToken, TokenFailedError, token_refused
from include.skillreport.messaging.channels.channel import ChannelClient, ChannelFinding, finding
from include.skillreport.messaging.channels.exchange import (
    LONGEST_WAIT,
    UNANSWERED,
    Answer,
    refused,
    refused_url,
    request,
    retry_after,
    unanswered,
)
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LONGEST_TEXT, LineWorksConfig
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import Outcome, SendResult, failed

_ASSERTION_LIFETIME = timedelta(hours=1)
# LINE WORKS makes keys of 2,048 bits. The time to check a key and to sign with it grows with the third power of its bits.
_MOST_KEY_BITS = 4_096
# Characters. Such a key in PEM is shorter.
_LONGEST_KEY = 4_000
# No plan allows so many messages per minute: such a header is wrong.
_HIGHEST_LIMIT = 100_000


class Client(ChannelClient):
    """Reuses its access token for the lifetime that LINE WORKS states."""

    def __init__(
        self, config: LineWorksConfig, session: aiohttp.ClientSession, allowed_hosts: Collection[str] = ()
    ) -> None:
        self._config = config
        self._session = session
        self._allowed_hosts = allowed_hosts
        self._token = ServiceAccountToken(config, session)

    @override
    def check(self, message: Message) -> SendResult | None:
        if refusal := self._check_settings():
            return refusal
        if not _is_destination(message.destination):
            return failed(LINE_WORKS, "NOT_FOUND", "the destination is neither users/ID nor channels/ID")
        if len(message.text) > LONGEST_TEXT:
            return failed(LINE_WORKS, "too_long", f"{len(message.text)} characters")
        return None

    @override
    async def send(self, message: Message) -> SendResult:
        """LINE WORKS returns no message id."""
        if (refusal := self.check(message)) is not None:
            return refusal
        kind, _, recipient = message.destination.partition("/")
        answer = await self._call(
            "POST", (kind, recipient, "messages"), json={"content": {"type": "text", "text": message.text}}
        )
        if isinstance(answer, SendResult):
            return answer
        return SendResult(Outcome.SENT, per_minute=stated_limit(answer))

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[ChannelFinding]:
        """Gets a token and reads the bot. Only the syntax of destinations is checked."""
        if refusal := self._check_settings():
            return finding(refusal)
        answer = await self._call("GET", ())
        code = answer.error.code if isinstance(answer, SendResult) and answer.error else ""
        if code in ("NOT_FOUND", "http_404", "http_410"):
            return finding(failed(LINE_WORKS, "not_configured", "there is no such bot"))
        # Reading the bot needs a scope that sending does not need.
        may_read = not {"bot", "bot.read"}.isdisjoint(self._config.scope.split())
        if code in ("FORBIDDEN", "http_403"):
            refusal = failed(LINE_WORKS, "no_bot_permission")
            return finding(refusal) if may_read else self._malformed(destinations)
        if isinstance(answer, SendResult):
            return finding(answer)
        return self._malformed(destinations)

    def _malformed(self, destinations: Collection[str]) -> list[ChannelFinding]:
        malformed = failed(LINE_WORKS, "NOT_FOUND", "neither users/ID nor channels/ID")
        return [
            problem
            for name in destinations
            if not _is_destination(name)
            for problem in finding(malformed, name)
        ]

    def _check_settings(self) -> SendResult | None:
        config = self._config
        if not all(value for name, value in vars(config).items() if name != "domain_id"):
            return failed(LINE_WORKS, "not_configured")
        return refused_url(
            LINE_WORKS, config.auth_url, self._allowed_hosts, ("worksmobile.com",)
        ) or refused_url(LINE_WORKS, config.base_url, self._allowed_hosts, ("worksapis.com",))

    async def _call(self, method: str, path: Sequence[str], **options: Any) -> Answer | SendResult:
        """Make one request for the bot; returns the answer of a success, otherwise the result. ``path`` has the URL's segments.

        A token that LINE WORKS refuses is replaced once.
        """
        segments = [quote(segment, safe="") for segment in ("bots", self._config.bot_id, *path)]
        url = URL(self._config.base_url).joinpath(*segments, encoded=True)
        try:
            answer = await self._token.request(self._session, method, url, **options)
        except TokenFailedError as error:
            # The token service is down: LINE WORKS has not seen the message.
            is_refused = error.result.outcome is Outcome.PERMANENT
            return replace(error.result, is_answer=is_refused)
        except UNANSWERED as error:
            return unanswered(LINE_WORKS, error)
        return answer if answer.ok else _meaning(answer, answer.fields.get("code"))


class ServiceAccountToken(AccessToken):
    """The token of the service account."""

    def __init__(self, config: LineWorksConfig, session: aiohttp.ClientSession) -> None:
        super().__init__()
        self._config = config
        self._session = session

    @override
    async def _fetch(self) -> Answer:
        form = {
            # In a thread, so that the other tenants' lanes continue.
            "assertion": await asyncio.to_thread(self._assertion),
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
            "scope": self._config.scope,
        }
        try:
            return await request(self._session, "POST", self._config.auth_url, data=form)
        except UNANSWERED as error:
            result = unanswered(LINE_WORKS, error)
            if result.outcome is Outcome.AMBIGUOUS:
                # Only the request for a token may have arrived. The message has not been sent.
                result = failed(LINE_WORKS, "connection_refused", f"token: {type(error).__name__}")
            raise TokenFailedError(result) from None

    @override
    def _is_rejected(self, answer: Answer) -> bool:
        # LINE WORKS' table of errors says 401, and its own samples expect 403 (lineworks/works-api-code-samples). Without this code, 403
        # means that the bot may not send to the recipient.
        return super()._is_rejected(answer) or (
            answer.status == 403 and answer.fields.get("code") == "UNAUTHORIZED"
        )

    @override
    def _refusal(self, answer: Answer) -> TokenFailedError:
        if answer.status >= 500:
            # Unlike such an answer to a message, this is not ambiguous.
            return TokenFailedError(failed(LINE_WORKS, "http_503", f"token: HTTP {answer.status}"))
        if answer.status == 429:
            return TokenFailedError(_meaning(answer))
        return token_refused(LINE_WORKS, answer)

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self._config.client_id,
            "sub": self._config.service_account,
            "iat": now,
            "exp": now + int(_ASSERTION_LIFETIME.total_seconds()),
        }
        try:
            return jwt.encode(claims, _signing_key(self._config.private_key), algorithm="RS256")
        except (ValueError, TypeError, UnsupportedAlgorithm, jwt.PyJWTError):
            reason = f"the private key cannot be read, or is not RSA of up to {_MOST_KEY_BITS:,} bits"
            raise TokenFailedError(failed(LINE_WORKS, "token_refused", reason)) from None


def _signing_key(pem: str) -> RSAPrivateKey:
    """The key in a PEM, which a tenant has entered. :raises ValueError: it is not valid, or would take long to use."""
    if len(pem) > _LONGEST_KEY:
        raise ValueError("too long")
    # The check of a key tests its primes, so their size is checked first.
    key = load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("another algorithm")
    numbers = key.private_numbers()
    if max(key.key_size, numbers.p.bit_length() + numbers.q.bit_length() - 1) > _MOST_KEY_BITS:
        raise ValueError("too many bits")
    return numbers.private_key()


def _meaning(answer: Answer, code: object = None) -> SendResult:
    wait = _wait(answer, datetime.now(JAPAN)) if answer.status == 429 else None
    return refused(LINE_WORKS, answer.status, code, retry_after=wait)


def _wait(answer: Answer, now: datetime) -> timedelta | None:
    """The wait that a refusal for a limit states.

    The limits are per minute, except for the daily quota, which resets at 0:00 in Japan. LINE WORKS publishes no code for the quota, so a
    wait of more than an hour counts as one.
    """
    stated = retry_after(answer.headers, "rateLimit-reset", longest=timedelta(days=1))
    if stated is None or stated <= LONGEST_WAIT:
        return stated
    return min(stated, datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), JAPAN) - now)


def stated_limit(answer: Answer) -> int | None:
    """The limit in requests per minute that an answer states; None without a valid header."""
    value = answer.headers.get("rateLimit-limit", "")
    return int(value) if value.isdecimal() and 0 < int(value) < _HIGHEST_LIMIT else None


def _is_destination(text: str) -> bool:
    kind, _, recipient = text.partition("/")
    # "." and ".." would change the path.
    return kind in ("users", "channels") and recipient.strip(".") != ""
