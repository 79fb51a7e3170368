"""The network settings of this installation, from Airflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow.sdk.log import mask_secret

from skill_batch.connections import required_connection, valid_extra
from skill_batch.lookup import find_connection, find_variable
from skill_batch.masking import mask_all
from include.skillreport.core.errors import ConnectionInvalidError, ConnectionMissingError
from include.skillreport.core.network import EmailConfig, MailboxConfig, Network, OAuthConfig
from include.skillreport.messaging.channels.email.letter import settings_problem

SMTP_CONN_ID = "skill_batch_smtp"
MAILBOX_CONN_ID = "skill_batch_mailbox"
ALLOWED_HOSTS_VARIABLE = "skill_batch_allowed_hosts"

_AUTH_TYPES = ("basic", "oauth2")
_MICROSOFT_TOKEN_URL = "https://login.microsoftonline.com/{}/oauth2/v2.0/token"  # noqa: S105 - no secret
_MICROSOFT_SCOPE = "https://outlook.office365.com/.default"

# No mail server accepts so many connections or messages, so a higher limit is a typing error.
_MOST_CONNECTIONS, _MOST_PER_MINUTE = 1_000, 1_000_000

_NUMBER = re.compile("[0-9]{1,10}")

_DEFAULT_IMAP_PORTS = {"tls": 993, "starttls": 143, "none": 143}
_DEFAULT_PORTS = {"tls": 465, "starttls": 587, "none": 25}


def network(*, with_mail: bool = True) -> Network:
    """The mail server of ``skill_batch_smtp`` (an SMTP connection), and hosts that may have private addresses.

    The Variable ``skill_batch_allowed_hosts`` (``host:port``, separated by commas) is empty in production. Batches that only call
    services need no mail server.
    :raises ConnectionMissingError: ``with_mail``, and no mail server is defined.
    """
    hosts = find_variable(ALLOWED_HOSTS_VARIABLE) or ""
    return Network(
        email=mail_server() if with_mail else None,
        allowed_hosts=frozenset(host.strip() for host in hosts.split(",") if host.strip()),
        mask=mask_all,
    )


def mail_server(conn_id: str = SMTP_CONN_ID) -> EmailConfig:
    """The mail server of ``skill_batch_smtp``, or of another SMTP connection.

    Its extra may have the server's limits: ``connections`` at once and ``messages_per_minute``.
    :raises ConnectionMissingError: it is not defined, or has no host or no sender.
    :raises ConnectionInvalidError: a value of its extra is invalid; the message names it.
    """
    connection = required_connection(conn_id, "SMTP")
    extra = valid_extra(connection)
    sender = _text(conn_id, extra, "from_email") or connection.login
    if not connection.host or not sender:
        raise ConnectionMissingError(
            f"Airflow の接続 '{conn_id}' にホストか送信元（From email）がありません。"
        )
    security = "none" if extra.get("disable_tls") else "starttls"
    if not extra.get("disable_ssl", False):
        security = "tls"
    oauth = oauth_of(conn_id, extra)
    config = EmailConfig(
        connections=_number(conn_id, extra, "connections", _MOST_CONNECTIONS) or EmailConfig.connections,
        messages_per_minute=_number(conn_id, extra, "messages_per_minute", _MOST_PER_MINUTE),
        host=connection.host,
        port=connection.port or _DEFAULT_PORTS[security],
        sender=sender,
        login=connection.login or "",
        password=connection.password or "",
        security=security,
        reply_to=_text(conn_id, extra, "reply_to"),
        envelope_sender=_text(conn_id, extra, "envelope_sender"),
        unsubscribe_address=_text(conn_id, extra, "unsubscribe_address"),
        unsubscribe_url=_text(conn_id, extra, "unsubscribe_url"),
        oauth=oauth,
    )
    if problem := settings_problem(config):
        raise ConnectionInvalidError(f"Airflow の接続 '{conn_id}' の{problem}。")
    return config


def mailbox(conn_id: str = MAILBOX_CONN_ID) -> MailboxConfig | None:
    """The mailbox of ``skill_batch_mailbox`` (an optional IMAP connection).

    :raises ConnectionInvalidError: it has no host or login, or a value of its extra is invalid; the message names it.
    """
    connection = find_connection(conn_id)
    if connection is None:
        return None
    extra = valid_extra(connection)
    oauth = oauth_of(conn_id, extra)
    security = _text(conn_id, extra, "security") or "tls"
    folders = {name: _text(conn_id, extra, name) for name in ("folder", "move_to")}
    if security not in _DEFAULT_IMAP_PORTS:
        raise ConnectionInvalidError(
            f"Airflow の接続 '{conn_id}' の extra 'security' は tls、starttls、none のどれかにしてください。"
        )
    for name, folder in folders.items():
        if not folder.isprintable():
            raise ConnectionInvalidError(
                f"Airflow の接続 '{conn_id}' の extra '{name}' に、改行などの制御文字があります。フォルダー名にしてください。"
            )
    missing = [] if connection.host else ["ホスト"]
    missing += [] if connection.login else ["ログイン"]
    missing += [] if connection.password or oauth else ["パスワード（または auth_type oauth2）"]
    if missing:
        raise ConnectionInvalidError(f"Airflow の接続 '{conn_id}' に {'、'.join(missing)} がありません。")
    return MailboxConfig(
        host=connection.host or "",
        port=connection.port or _DEFAULT_IMAP_PORTS[security],
        login=connection.login or "",
        password=connection.password or "",
        security=security,
        oauth=oauth,
        folder=folders["folder"] or "INBOX",
        move_to=folders["move_to"],
    )


def oauth_of(conn_id: str, extra: Mapping[str, object]) -> OAuthConfig | None:
    """The settings of a login by token, named as in Airflow's SMTP provider, with ``token_url``; None: login by password.

    :raises ConnectionInvalidError: a value is missing or invalid.
    """
    auth_type = _text(conn_id, extra, "auth_type") or "basic"
    if auth_type not in _AUTH_TYPES:
        raise ConnectionInvalidError(
            f"Airflow の接続 '{conn_id}' の extra 'auth_type' は {'、'.join(_AUTH_TYPES)} のどちらかにしてください。"
        )
    if auth_type == "basic":
        return None
    values = {
        name: _text(conn_id, extra, name)
        for name in ("client_id", "client_secret", "token_url", "scope", "tenant_id", "access_token")
    }
    tenant_id = values.pop("tenant_id")
    needed = [] if values["access_token"] else ["client_id", "client_secret"]
    if not values["access_token"] and not values["token_url"] and not tenant_id:
        needed.append("tenant_id")
    if missing := [name for name in needed if not values.get(name)]:
        raise ConnectionInvalidError(
            f"Airflow の接続 '{conn_id}' の extra に {'、'.join(missing)} が必要です（auth_type が oauth2 のため）。"
        )
    for name in ("client_secret", "access_token"):
        if values[name]:
            mask_secret(values[name])
    values["token_url"] = values["token_url"] or _MICROSOFT_TOKEN_URL.format(quote(tenant_id, safe=""))
    values["scope"] = values["scope"] or _MICROSOFT_SCOPE
    return OAuthConfig(**values, mask=mask_secret)


def _text(conn_id: str, extra: Mapping[str, object], name: str) -> str:
    """A stripped text of a connection's extra; empty if it is missing. :raises ConnectionInvalidError: it is no text."""
    value = extra.get(name) or ""
    if not isinstance(value, str):
        raise ConnectionInvalidError(f"Airflow の接続 '{conn_id}' の extra '{name}' は文字列にしてください。")
    return value.strip()


def _number(conn_id: str, extra: Mapping[str, Any], name: str, most: int) -> int | None:
    """A limit in the extra; None: not set. :raises ConnectionInvalidError: it is no number from 1 to ``most``."""
    value = extra.get(name)
    if value in (None, ""):
        return None
    text = str(value)
    if not (_NUMBER.fullmatch(text) and 1 <= int(text) <= most):
        raise ConnectionInvalidError(
            f"Airflow の接続 '{conn_id}' の {name}（Extra）は 1 以上 {most} 以下の整数にしてください。"
        )
    return int(text)
