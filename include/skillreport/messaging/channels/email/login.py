"""The token with which a connection logs in to a mail server or a mailbox (OAuth 2 client credentials, SASL XOAUTH2)."""

from __future__ import annotations

from collections.abc import Collection

from typing_extensions import override

from include.skillreport.core.network import EmailConfig, OAuthConfig
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels.access_token import AccessToken, TokenFailedError, token_refused
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.exchange import UNANSWERED, Answer, request, unanswered
from include.skillreport.messaging.outcome import failed

# Exchange Online switches passwords off by default from the end of December 2026 on (Microsoft 365 message MC786329, January 2026), but not
# at its host for high volumes.
_EXCHANGE_ONLINE = ".office365.com"
_HIGH_VOLUME = "smtp-hve.office365.com"


def password_will_stop(config: EmailConfig) -> bool:
    """True if the server will refuse the password of this login."""
    host = config.host.lower()
    is_exchange = host.endswith(_EXCHANGE_ONLINE) and host != _HIGH_VOLUME
    return is_exchange and bool(config.login) and config.oauth is None


class TokenSource(AccessToken):
    """The token of client credentials.

    ``allowed_hosts`` (``host:port``) may be private and without TLS: local stand-ins.
    """

    def __init__(self, config: OAuthConfig, allowed_hosts: Collection[str] = ()) -> None:
        super().__init__()
        self._config = config
        self._allowed_hosts = allowed_hosts

    @override
    async def get(self, instead_of: str = "") -> str:
        """See ``AccessToken``. A fixed access token is always the same.

        :raises TokenFailedError: the service refuses a token, or does not answer.
        """
        return self._config.access_token or await super().get(instead_of)

    @override
    async def _fetch(self) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
            "scope": self._config.scope,
        }
        try:
            async with guarded_session(self._allowed_hosts) as session:
                answer = await request(session, "POST", self._config.token_url, data=form)
        except UNANSWERED as error:
            result = unanswered(EMAIL, error)
            if result.error and result.error.code == "refused_address":
                raise TokenFailedError(result) from None
            # Only the request for a token may have arrived. The e-mail has not been sent.
            raise _unreachable(type(error).__name__) from None
        token = answer.fields.get("access_token")
        if self._config.mask and isinstance(token, str):
            self._config.mask(token)
        return answer

    @override
    def _refusal(self, answer: Answer) -> TokenFailedError:
        if answer.status == 429 or answer.status >= 500:
            return _unreachable(f"HTTP {answer.status}")
        return token_refused(EMAIL, answer)


def _unreachable(reason: str) -> TokenFailedError:
    return TokenFailedError(failed(EMAIL, "connection_refused", f"token: {reason}"))
