"""The token with which a connection logs in to a mail server or a mailbox (OAuth 2 client credentials, SASL XOAUTH2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from include.skillreport.core.errors import BatchError
from include.skillreport.core.network import OAuthConfig
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.exchange import UNANSWERED, Answer, request, safe_code, unanswered
from include.skillreport.messaging.outcome import Outcome, SendResult, failed

_LONGEST_LIFETIME_SECONDS = 86_400
# A token is replaced before it expires, so that it does not expire during a login: this share of its lifetime, at most so many seconds.
_MARGIN_SHARE = 0.1
_LONGEST_MARGIN_SECONDS = 300


class TokenFailedError(BatchError):
    """There is no token to log in with. ``result`` says whether a retry may help."""

    def __init__(self, result: SendResult) -> None:
        assert result.error is not None
        super().__init__(f"{result.error.meaning}（{result.detail or result.error.code}）")
        self.result = result
        self.recoverable = result.outcome is Outcome.TRANSIENT


class TokenSource:
    """The token of client credentials, fetched on first use and again shortly before it expires. For one event loop at a time.

    ``allowed_hosts`` (``host:port``) may be private and without TLS: local stand-ins.
    """

    def __init__(self, config: OAuthConfig, allowed_hosts: Collection[str] = ()) -> None:
        self._config = config
        self._allowed_hosts = allowed_hosts
        self._fetching = asyncio.Lock()
        self._value = ""
        self._usable_until = 0.0
        self._failure: TokenFailedError | None = None
        self._failed_at = 0.0

    async def get(self, instead_of: str = "") -> str:
        """A token other than ``instead_of``, which the mail server has refused. A fixed access token is always the same.

        Concurrent callers wait for the same token or failure.
        :raises TokenFailedError: the service refuses a token, or does not answer.
        """
        if self._config.access_token:
            return self._config.access_token
        asked_at = time.monotonic()
        async with self._fetching:
            if self._failure is not None and self._failed_at >= asked_at:
                raise self._failure
            if self._value and self._value != instead_of and time.monotonic() < self._usable_until:
                return self._value
            self._value, self._failure = "", None
            try:
                self._keep(await self._fetch())
            except TokenFailedError as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise
            return self._value

    async def _fetch(self) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
            "scope": self._config.scope,
        }
        try:
            async with guarded_session(self._allowed_hosts) as session:
                return await request(session, "POST", self._config.token_url, data=form)
        except UNANSWERED as error:
            result = unanswered(EMAIL, error)
            if result.error and result.error.code == "refused_address":
                raise TokenFailedError(result) from None
            # Only the request for a token may have arrived. The letter has not been sent.
            raise _unreachable(type(error).__name__) from None

    def _keep(self, answer: Answer) -> None:
        if answer.status == 429 or answer.status >= 500:
            raise _unreachable(f"HTTP {answer.status}")
        token = answer.fields.get("access_token")
        if not answer.ok or not isinstance(token, str) or not token.isascii() or not token.isprintable():
            detail = f"HTTP {answer.status} {safe_code(answer.fields.get('error'))}".strip()
            raise TokenFailedError(failed(EMAIL, "token_refused", detail))
        if self._config.mask:
            self._config.mask(token)
        lifetime = _seconds(answer.fields.get("expires_in"))
        margin = min(_LONGEST_MARGIN_SECONDS, lifetime * _MARGIN_SHARE)
        self._value, self._usable_until = token, time.monotonic() + lifetime - margin


def _unreachable(reason: str) -> TokenFailedError:
    return TokenFailedError(failed(EMAIL, "connection_refused", f"token: {reason}"))


def _seconds(value: object) -> int:
    """The token's lifetime. Without a valid one, the token is used for the logins that wait for it now."""
    try:
        return max(0, min(int(str(value)), _LONGEST_LIFETIME_SECONDS))
    except ValueError:
        return 0
