"""The network settings of this installation, from Airflow."""

from __future__ import annotations

from airflow.sdk.log import mask_secret

from include.errors import ConnectionMissingError
from include.network import EmailConfig, Network
from skill_batch.connections import required_connection
from skill_batch.lookup import find_variable

SMTP_CONN_ID = "batch_smtp"
ALLOWED_HOSTS_VARIABLE = "batch_allowed_hosts"

_DEFAULT_PORTS = {"tls": 465, "starttls": 587, "none": 25}


def network(*, with_mail: bool = True) -> Network:
    """The mail server of the connection ``batch_smtp`` (an SMTP connection), and hosts whose address may be private.

    The Variable ``batch_allowed_hosts`` (``host:port``, joined by commas) is empty in production. A batch that only asks services needs
    no mail server.
    :raises ConnectionMissingError: ``with_mail``, and no mail server is defined.
    """
    hosts = find_variable(ALLOWED_HOSTS_VARIABLE) or ""
    return Network(
        email=mail_server() if with_mail else None,
        allowed_hosts=frozenset(host.strip() for host in hosts.split(",") if host.strip()),
        mask=mask_secret,
    )


def mail_server() -> EmailConfig:
    """The mail server of ``batch_smtp``. :raises ConnectionMissingError: it is not defined, or has no host or no sender."""
    connection = required_connection(SMTP_CONN_ID, "SMTP")
    extra = connection.extra_dejson
    sender = extra.get("from_email") or connection.login
    if not connection.host or not sender:
        raise ConnectionMissingError(
            f"Airflow の接続 '{SMTP_CONN_ID}' にホストか送信元（From email）がありません。"
        )
    security = "none" if extra.get("disable_tls") else "starttls"
    if not extra.get("disable_ssl", False):
        security = "tls"
    return EmailConfig(
        host=connection.host,
        port=connection.port or _DEFAULT_PORTS[security],
        sender=sender,
        login=connection.login or "",
        password=connection.password or "",
        security=security,
        unsubscribe_url=extra.get("unsubscribe_url", ""),
    )
