"""An access token of OAuth 2, kept until shortly before it expires."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Any

import aiohttp
from yarl import URL

from include.skillreport.core.errors import BatchError
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.exchange import Answer, request, safe_code
from include.skillreport.messaging.outcome import Outcome, SendResult, failed

_LONGEST_LIFETIME_SECONDS = 86_400
# A token is replaced this share of its lifetime, at most this many seconds, before it expires, so that it is valid during a request.
_MARGIN_SHARE = 0.1
_LONGEST_MARGIN_SECONDS = 300


class TokenFailedError(BatchError):
    """There is no token to log in with. ``result`` says whether a retry may help."""

    def __init__(self, result: SendResult) -> None:
        assert result.error is not None
        super().__init__(f"{result.error.meaning}（{result.detail or result.error.code}）")
        self.result = result
        self.recoverable = result.outcome is Outcome.TRANSIENT


class AccessToken(ABC):
    """A token, fetched on first use and again shortly before it expires. For one event loop at a time."""

    def __init__(self) -> None:
        self._fetching = asyncio.Lock()
        self._value = ""
        self._usable_until = 0.0
        self._failure: Exception | None = None
        self._failed_at = 0.0

    async def get(self, instead_of: str = "") -> str:
        """A token other than ``instead_of``, which the service has refused. Concurrent callers wait for the same token or failure.

        A refusal that a retry does not change is raised again without another request.

        :raises Exception: that of ``_fetch``, or ``_refusal``.
        """
        asked_at = time.monotonic()
        async with self._fetching:
            if self._failure is not None and (self._failed_at >= asked_at or _is_lasting(self._failure)):
                raise self._failure
            if self._value and self._value != instead_of and time.monotonic() < self._usable_until:
                return self._value
            self._value, self._failure = "", None
            try:
                self._keep(await self._fetch())
            except Exception as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise
            return self._value

    async def request(self, session: aiohttp.ClientSession, method: str, url: URL, **options: Any) -> Answer:
        """Make a request with the token; if the service rejects the token, once more with a new one. :raises: as ``get``."""
        token = await self.get()
        answer = await request(session, method, url, headers=_bearer(token), **options)
        if self._is_rejected(answer):
            token = await self.get(instead_of=token)
            answer = await request(session, method, url, headers=_bearer(token), **options)
        return answer

    def _keep(self, answer: Answer) -> None:
        token = answer.fields.get("access_token")
        if not answer.ok or not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._refusal(answer)
        lifetime = _seconds(answer.fields.get("expires_in"))
        margin = min(_LONGEST_MARGIN_SECONDS, lifetime * _MARGIN_SHARE)
        self._value, self._usable_until = token, time.monotonic() + lifetime - margin

    def _is_rejected(self, answer: Answer) -> bool:
        """True if the service rejects the token and not the request."""
        return answer.status == 401

    @abstractmethod
    async def _fetch(self) -> Answer:
        """The answer of the token server."""

    @abstractmethod
    def _refusal(self, answer: Answer) -> Exception:
        """The error for an answer without a token."""


def token_refused(channel: Channel, answer: Answer) -> TokenFailedError:
    """The error for a refusal that a retry does not change."""
    detail = f"HTTP {answer.status} {safe_code(answer.fields.get('error'))}".strip()
    return TokenFailedError(failed(channel, "token_refused", detail))


def _is_lasting(failure: Exception) -> bool:
    return isinstance(failure, TokenFailedError) and not failure.recoverable


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def _seconds(value: object) -> int:
    """The token's lifetime. Without a valid one, the token is used for the requests that wait for it now."""
    try:
        return max(0, min(int(str(value)), _LONGEST_LIFETIME_SECONDS))
    except ValueError:
        return 0
