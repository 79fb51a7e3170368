"""Send alerts to the operators once, by each channel of their severity. If a channel is down, send them later.

``send_alert`` writes an alert to ``batch.operator_alert`` before it sends it. The key names the event; an alert with an existing key is
not sent again. If a channel refuses an alert, the alert waits in the table, and the next run of any batch sends it. If the database is
down, the alert is sent without this protection; if that fails too, it is only in the log, at ERROR. If nobody knows whether an alert
arrived (no answer, a killed process), it is sent once more and marked as a repeat, because two alerts are better than none. No function
raises, so that the outcome of a batch does not depend on its alerts.

The triggerer imports this module, on some platforms without ``include``. Callers pass the connections as ``Channels``.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, LiteralString

from skill_batch.lookup import find_connection
from skill_batch.notifiers.alert import Alert, escape_slack, shorten
from skill_batch.statements import SQL

if TYPE_CHECKING:
    import http.client
    import smtplib

    import psycopg
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

# The operators' Slack: a Slack API connection. Its password is the bot token, and its extra has the `channel`.
OPS_SLACK_CONN_ID = "ops_slack"
# The operators' email: an SMTP connection. Its extra has the sender as `from_email` and the recipients, joined by commas, as `to_email`.
OPS_EMAIL_CONN_ID = "ops_email"
PLATFORM_DB_CONN_ID = "batch_platform_db"

DEFAULT_CHANNEL = "#batch-alerts"

# For each request to a channel, and for the connection to the database.
_TIMEOUT_SECONDS = 10
_CONNECT_SECONDS = 10
# Longer than all timeouts of a channel. When the lease ends, the process that claimed the alert has died.
_LEASE_SECONDS = 60
# A waiting alert is sent again after 1, 2, 4 ... minutes, later every hour, for three days.
_KEPT_HOURS = 72
# Slack cuts a longer text; the blocks contain the whole alert.
_SLACK_TEXT_LIMIT = 2_900
# The maximum size of Slack's answer in bytes. It repeats the alert.
_LONGEST_ANSWER = 1024 * 1024
# One call sends at most this many waiting alerts, so that a long backlog does not delay a batch.
_BACKLOG = 20


class _NotSentError(Exception):
    """The error occurred before the message was sent."""


class _Outcome(Enum):
    """The outcome of a message: sent, KEPT for another attempt, or LOST except for the log."""

    SENT = auto()
    KEPT = auto()
    LOST = auto()


@dataclass(frozen=True)
class Channels:
    """The connections for alerts; None if Airflow does not define one. The repr does not show them, because they have passwords."""

    slack: Connection | None = field(repr=False)
    email: Connection | None = field(repr=False)
    database: Connection | None = field(repr=False)


def load_channels() -> Channels:
    """Look up the connections in Airflow."""
    return Channels(*map(_connection, (OPS_SLACK_CONN_ID, OPS_EMAIL_CONN_ID, PLATFORM_DB_CONN_ID)))


def send_alert(alert: Alert, key: str, channels: Channels) -> bool:
    """Send the alert, unless ``key`` was sent or waits; returns whether it was sent, or will be sent by a later run."""
    names = ["slack", "email"] if alert.severity == "CRITICAL" else ["slack"]
    with open_database(channels.database) as database:
        if database is not None:
            names = _store(database, alert, key, names)
        outcomes = [_send(alert, key, name, channels, database) for name in names]
    return _Outcome.LOST not in outcomes


def send_waiting_alerts(channels: Channels) -> int:
    """Send the waiting alerts; returns the number of attempts."""
    with open_database(channels.database) as database:
        if database is None:
            return 0
        attempts, excluded = 0, list[str]()
        # Claims one alert at a time, because the lease is long enough for one only. A channel that failed is not used again.
        while attempts < _BACKLOG and (row := _claim(database, excluded)):
            key, name, message, is_repeat = row
            alert = Alert.from_json(message)
            if _send(alert, key, name, channels, database, is_repeat=is_repeat) is not _Outcome.SENT:
                excluded.append(name)
            attempts += 1
        return attempts


def _claim(database: psycopg.Connection, excluded: list[str]) -> tuple[str, str, dict[str, Any], bool] | None:
    """Claim the oldest due alert of other channels; returns key, channel, message, and whether it may have arrived before."""
    import psycopg

    try:
        return database.execute(
            SQL["claim_alert"], {"lease": _LEASE_SECONDS, "excluded": excluded}
        ).fetchone()
    except psycopg.Error as error:
        log.error("The waiting alerts could not be read: %s", shorten(str(error)))
        return None


def _store(database: psycopg.Connection, alert: Alert, key: str, names: list[str]) -> list[str]:
    """Write the alert to the table; returns the channels that this process has claimed."""
    import psycopg
    from psycopg.types.json import Jsonb

    try:
        about = {"key": key, "channels": names, "severity": alert.severity, "message": Jsonb(alert.as_json())}
        rows = database.execute(SQL["record_alert"], {**about, "lease": _LEASE_SECONDS})
        return [name for (name,) in rows]
    except psycopg.Error as error:
        log.error(
            "The alert could not be stored, and is sent without protection against repeats: %s",
            shorten(str(error)),
        )
        return names


def _send(
    alert: Alert,
    key: str,
    name: str,
    channels: Channels,
    database: psycopg.Connection | None,
    *,
    is_repeat: bool = False,
) -> _Outcome:
    """Send by one channel. ``is_repeat``: it may have arrived before, so the title says so; this attempt is the last in doubt."""
    if is_repeat:
        alert = replace(alert, title=f"（再送）{alert.title}")
    _record(database, SQL["renew_lease"], key=key, channel=name, lease=_LEASE_SECONDS)
    try:
        if name == "slack":
            _send_to_slack(alert, channels.slack)
        else:
            _send_email(alert, key, channels.email)
    except Exception as error:
        # No error (no connection, a service that is down, a revoked token) may change the outcome of the batch.
        reason = shorten(str(error) or type(error).__name__)
        waits = _record(
            database,
            SQL["record_alert_failed"],
            key=key,
            channel=name,
            error=reason,
            kept=_KEPT_HOURS,
            in_doubt=_may_have_arrived(error),
            is_repeat=is_repeat,
        )
        log.error(
            "The alert '%s' could not be delivered by %s and %s: %s",
            alert.title,
            name,
            "is kept for another attempt" if waits else "will not be tried again",
            reason,
        )
        return _Outcome.KEPT if waits else _Outcome.LOST
    _record(database, SQL["record_alert_sent"], key=key, channel=name)
    return _Outcome.SENT


def _may_have_arrived(error: Exception) -> bool:
    """Whether the service may have received the message, although its answer did not arrive."""
    import http.client
    import smtplib
    from urllib.error import URLError

    if isinstance(error, (_NotSentError, URLError)):
        return False
    lost = (TimeoutError, ConnectionError, http.client.HTTPException, smtplib.SMTPServerDisconnected)
    return isinstance(error, lost)


def _record(database: psycopg.Connection | None, statement: LiteralString, /, **parameters: object) -> bool:
    """Record the outcome of an attempt; returns whether the alert waits for another attempt."""
    import psycopg

    if database is None:
        return False
    try:
        cursor = database.execute(statement, parameters)
        row = cursor.fetchone() if cursor.description else None
    except psycopg.Error as error:
        # The lease ends, and the next run of a batch sends the alert again.
        log.error("The outcome of an alert could not be recorded: %s", shorten(str(error)))
        return True
    return row is not None and row[0] is not None


def _send_to_slack(alert: Alert, connection: Connection | None) -> None:
    import json
    import urllib.request
    from urllib.error import HTTPError
    from urllib.parse import urljoin

    if connection is None:
        raise LookupError(f"Airflow の接続 '{OPS_SLACK_CONN_ID}' が定義されていません")
    extra = connection.extra_dejson
    message = {
        "channel": extra.get("channel") or DEFAULT_CHANNEL,
        "text": escape_slack(alert.as_text())[:_SLACK_TEXT_LIMIT],
        "blocks": alert.as_blocks(),
    }
    url = urljoin(f"{extra.get('base_url') or 'https://slack.com/api'}".rstrip("/") + "/", "chat.postMessage")
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"Airflow の接続 '{OPS_SLACK_CONN_ID}' の base_url が正しくありません")
    request = urllib.request.Request(  # noqa: S310 - the scheme is one of HTTP
        url,
        json.dumps(message).encode(),
        {
            "Content-Type": "application/json; charset=utf-8",
            "Authorization": f"Bearer {(connection.password or '').strip()}",
        },
    )
    proxy = extra.get("proxy")
    # Without this setting, the proxy of the environment.
    handler = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
    try:
        with urllib.request.build_opener(handler).open(request, timeout=_TIMEOUT_SECONDS) as response:
            answer = _read_bounded(response)
    except HTTPError as error:
        error.close()
        raise
    try:
        fields = json.loads(answer)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise LookupError("応答が Slack のものではありません")
    if fields.get("ok") is not True:
        raise LookupError(f"Slack が受け付けません（{fields.get('error')}）")


def _read_bounded(response: http.client.HTTPResponse) -> bytes:
    """The answer, up to a maximum size and without decompression. :raises TimeoutError: reading takes too long in total."""
    import http.client

    answer, ends_at = b"", time.monotonic() + _TIMEOUT_SECONDS
    while len(answer) < _LONGEST_ANSWER and (part := response.read1(_LONGEST_ANSWER - len(answer))):
        answer += part
        if time.monotonic() > ends_at:
            raise TimeoutError("the answer takes too long")
    if len(answer) < _LONGEST_ANSWER and response.length:
        raise http.client.IncompleteRead(answer, response.length)
    return answer


def _send_email(alert: Alert, key: str, connection: Connection | None) -> None:
    if connection is None:
        raise LookupError(f"Airflow の接続 '{OPS_EMAIL_CONN_ID}' が定義されていません")
    extra = connection.extra_dejson
    sender, recipients = extra.get("from_email") or connection.login, extra.get("to_email")
    if not connection.host or not sender or not recipients:
        raise LookupError(
            f"Airflow の接続 '{OPS_EMAIL_CONN_ID}' にホスト、送信元（from_email）、宛先（to_email）のどれかがありません"
        )
    import smtplib

    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    mail = alert.as_mail(sender, recipients, f"<{digest}@{sender.rpartition('@')[2].strip('>')}>")
    try:
        server = _smtp_session(connection)
    except (OSError, smtplib.SMTPException) as error:
        raise _NotSentError(str(error)) from error
    with server:
        server.send_message(mail)


def _smtp_session(connection: Connection) -> smtplib.SMTP:
    """A session with the mail server, after STARTTLS and login."""
    import smtplib
    import ssl

    extra = connection.extra_dejson
    implicit_tls = not extra.get("disable_ssl", False)
    client: Callable[..., smtplib.SMTP] = smtplib.SMTP_SSL if implicit_tls else smtplib.SMTP
    server = client(
        connection.host, connection.port or (465 if implicit_tls else 25), timeout=_TIMEOUT_SECONDS
    )
    try:
        if not implicit_tls and not extra.get("disable_tls", False):
            server.starttls(context=ssl.create_default_context())
        if connection.login and connection.password:
            server.login(connection.login, connection.password)
    except BaseException:
        server.close()
        raise
    return server


@contextmanager
def open_database(connection: Connection | None) -> Iterator[psycopg.Connection | None]:
    """A connection as ``batch_platform`` for the table of alerts; None if the database cannot be reached."""
    import psycopg

    database: psycopg.Connection | None = None
    if connection is not None:
        try:
            database = psycopg.connect(
                host=connection.host,
                port=connection.port or 5432,
                dbname=connection.schema,
                user=connection.login,
                password=connection.password,
                autocommit=True,
                **{"connect_timeout": _CONNECT_SECONDS, **_tls_of(connection)},
            )
            database.execute("SET ROLE batch_platform")
            database.execute("SET statement_timeout = '15s'")
        except psycopg.Error as error:
            log.error("The table of alerts cannot be reached: %s", shorten(str(error)))
            if database is not None:
                database.close()
                database = None
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _tls_of(connection: Connection) -> dict[str, Any]:
    return {name: value for name, value in connection.extra_dejson.items() if name.startswith("ssl")}


def _connection(conn_id: str) -> Connection | None:
    try:
        return find_connection(conn_id)
    except Exception as error:
        # The API server does not answer, or refuses. The other channels may work.
        log.error("The connection '%s' could not be looked up: %s", conn_id, shorten(str(error)))
        return None
