"""A session with the operators' mail server: TLS, and the login by password or OAuth 2 token (SASL XOAUTH2).

The triggerer imports this module, sometimes without ``include``. So it parses the extra itself, as ``skill_batch.network`` does; a
test compares the two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from skill_batch.extras import extra_of
from skill_batch.masking import mask_all

if TYPE_CHECKING:
    import smtplib

    from airflow.sdk import Connection

# The timeout in seconds for connecting, and for each answer.
TIMEOUT_SECONDS = 10

_MICROSOFT_TOKEN_URL = "https://login.microsoftonline.com/{}/oauth2/v2.0/token"  # noqa: S105 - no secret
_MICROSOFT_SCOPE = "https://outlook.office365.com/.default"
_LONGEST_ANSWER = 64 * 1024
_ENCRYPTED_OR_LOCAL = re.compile(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]")


def open_session(connection: Connection, user: str) -> smtplib.SMTP:
    """Connect and log in. The server's certificate must be valid for its name. ``user`` is the sender, for a token without a login.

    :raises OSError, smtplib.SMTPException: the server or the token server does not answer, or rejects the login.
    :raises LookupError: a value of the extra is missing.
    """
    import smtplib
    import ssl

    extra = extra_of(connection)
    token = _access_token(connection.conn_id, extra)
    if token and not (connection.login or user).isascii():
        raise LookupError(f"Airflow の接続 '{connection.conn_id}' のログインに、ASCII でない文字があります")
    implicit_tls = not extra.get("disable_ssl", False)
    # By default smtplib accepts any certificate.
    tls = ssl.create_default_context()
    client: Callable[..., smtplib.SMTP] = (
        partial(smtplib.SMTP_SSL, context=tls) if implicit_tls else smtplib.SMTP
    )
    server = client(
        connection.host, connection.port or (465 if implicit_tls else 25), timeout=TIMEOUT_SECONDS
    )
    try:
        if not implicit_tls and not extra.get("disable_tls", False):
            server.starttls(context=tls)
        if token:
            response = f"user={connection.login or user}\x01auth=Bearer {token}\x01\x01"
            server.ehlo_or_helo_if_needed()
            # The token has its own line, because many servers read shorter commands only (RFC 4954, section 4: 512 octets). After a
            # rejection, the server explains it in a second challenge, which is answered empty.
            server.auth(
                "XOAUTH2", lambda challenge=None: "" if challenge else response, initial_response_ok=False
            )
        elif connection.login and connection.password:
            server.login(connection.login, connection.password)
    except BaseException:
        server.close()
        raise
    return server


def token_request(conn_id: str, extra: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
    """The URL and the form that request a token of client credentials; None: the login is by password, or the token is fixed.

    :raises LookupError: a value of the extra is missing.
    """
    if extra.get("auth_type") != "oauth2" or extra.get("access_token"):
        return None
    url, tenant_id = extra.get("token_url"), extra.get("tenant_id")
    missing = [name for name in ("client_id", "client_secret") if not extra.get(name)]
    missing += [] if url or tenant_id else ["tenant_id"]
    if missing:
        raise LookupError(
            f"Airflow の接続 '{conn_id}' の extra に {'、'.join(missing)} が必要です（auth_type が oauth2 のため）"
        )
    form = {
        "grant_type": "client_credentials",
        "client_id": str(extra["client_id"]).strip(),
        "client_secret": str(extra["client_secret"]).strip(),
        "scope": str(extra.get("scope") or _MICROSOFT_SCOPE).strip(),
    }
    return str(url or _MICROSOFT_TOKEN_URL.format(quote(str(tenant_id), safe=""))).strip(), form


def _access_token(conn_id: str, extra: Mapping[str, Any]) -> str:
    import urllib.request

    request = token_request(conn_id, extra)
    if request is None:
        return str(extra.get("access_token") or "").strip() if extra.get("auth_type") == "oauth2" else ""
    url, form = request
    if not _ENCRYPTED_OR_LOCAL.match(url):
        # The request contains the application's secret.
        raise LookupError(f"Airflow の接続 '{conn_id}' の token_url は https:// で始まる URL にしてください")
    post = urllib.request.Request(url, urlencode(form).encode())  # noqa: S310 - the scheme is one of HTTP
    with urllib.request.urlopen(post, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        try:
            token = json.loads(answer.read(_LONGEST_ANSWER)).get("access_token")
        except (ValueError, RecursionError, AttributeError):
            token = None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise OSError("the token server returned no token")
    mask_all([token])
    return token
