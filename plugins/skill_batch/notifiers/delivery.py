"""How alerts reach the operators: once, by every channel of their severity, and later if a channel is down.

An alert is written to ``batch.operator_alert`` before the network is touched, under a key that stands for the one thing that happened;
whoever finds the key taken stays silent. What a channel does not take waits there and is sent with the next run of any batch. Where the
database cannot be reached either, the alert goes out all the same, unguarded, and what is then undeliverable is in the log at ERROR.
Where nobody knows whether it arrived (no answer, a killed process), it is sent once more and says so: an alert twice is better than none.
Nothing here raises: a batch's outcome never depends on whether somebody could be told.

The triggerer loads this, on some platforms without ``include``: connections come in as ``Channels``.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from skill_batch.lookup import find_connection
from skill_batch.notifiers.alert import Alert, escape_slack, shorten

if TYPE_CHECKING:
    import http.client
    import smtplib

    import psycopg
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

# Operators' Slack: a Slack API connection with the bot token as password, and in its extra the `channel`.
OPS_SLACK_CONN_ID = "ops_slack"
# Operators' mail: an SMTP connection whose extra holds the sender as `from_email` and the recipients, joined by commas, as `to_email`.
OPS_EMAIL_CONN_ID = "ops_email"
PLATFORM_DB_CONN_ID = "batch_platform_db"

DEFAULT_CHANNEL = "#batch-alerts"

# For each answer of a channel, and for the connection to the database.
_TIMEOUT_SECONDS = 10
_CONNECT_SECONDS = 10
# Longer than a channel's timeouts together: after it, who was sending is dead.
_LEASE_SECONDS = 60
# What waits is tried again after 1, 2, 4 ... minutes, at most hourly, for three days: the story is told by then.
_KEPT_HOURS = 72
# Slack cuts a longer text; the blocks carry the rest.
_SLACK_TEXT_LIMIT = 2_900
# Bytes of Slack's answer, which repeats the alert.
_LONGEST_ANSWER = 1024 * 1024
# One call sends at most so many that waited, so that a morning's backlog does not hold up a batch.
_BACKLOG = 20

_RECORD = """
INSERT INTO batch.operator_alert (alert_key, channel, severity, message, due_at)
SELECT %(key)s, channel, %(severity)s, %(message)s, clock_timestamp() + make_interval(secs => %(lease)s)
FROM unnest(%(channels)s::text[]) AS channel
ON CONFLICT (alert_key, channel) DO NOTHING
RETURNING channel
"""
_CLAIM = """
UPDATE batch.operator_alert AS alert
SET due_at = clock_timestamp() + make_interval(secs => %(lease)s), in_doubt = true
FROM (
    SELECT alert_key, channel, in_doubt FROM batch.operator_alert
    WHERE due_at <= clock_timestamp() AND channel <> ALL (%(down)s)
    ORDER BY created_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
) AS due
WHERE alert.alert_key = due.alert_key AND alert.channel = due.channel
RETURNING alert.alert_key, alert.channel, alert.message, due.in_doubt
"""
# Those before it in the same alert have used up some of the lease.
_RENEW = """
UPDATE batch.operator_alert SET due_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE alert_key = %(key)s AND channel = %(channel)s AND due_at IS NOT NULL
"""
_DELIVERED = """
UPDATE batch.operator_alert
SET due_at = null, attempts = attempts + 1, in_doubt = false, delivered_at = clock_timestamp(), last_error = null
WHERE alert_key = %(key)s AND channel = %(channel)s
"""
_UNDELIVERED = """
UPDATE batch.operator_alert
SET
    attempts = attempts + 1,
    in_doubt = %(in_doubt)s OR %(is_repeat)s,
    last_error = %(error)s,
    due_at = CASE
        WHEN %(in_doubt)s AND %(is_repeat)s THEN null
        WHEN created_at > clock_timestamp() - make_interval(hours => %(kept)s)
            THEN clock_timestamp() + least(interval '1 minute' * 2 ^ attempts, interval '1 hour')
    END
WHERE alert_key = %(key)s AND channel = %(channel)s
RETURNING due_at
"""


class _NotSentError(Exception):
    """It went wrong before the message was handed over."""


class _Outcome(Enum):
    """What became of a message: KEPT for another attempt, or LOST but for the log."""

    DELIVERED = auto()
    KEPT = auto()
    LOST = auto()


@dataclass(frozen=True)
class Channels:
    """The connections that an alert needs; one that Airflow does not define is None. Their passwords stay out of the repr."""

    slack: Connection | None = field(repr=False)
    email: Connection | None = field(repr=False)
    database: Connection | None = field(repr=False)


def load_channels() -> Channels:
    """The connections, as Airflow has them now."""
    return Channels(*map(_connection, (OPS_SLACK_CONN_ID, OPS_EMAIL_CONN_ID, PLATFORM_DB_CONN_ID)))


def deliver(alert: Alert, key: str, channels: Channels) -> bool:
    """Tell the operators, unless ``key`` has been told (or is waiting to be); returns whether they are, or will be by a later run."""
    names = ["slack", "email"] if alert.severity == "CRITICAL" else ["slack"]
    with open_database(channels.database) as database:
        if database is not None:
            names = _record(database, alert, key, names)
        outcomes = [_send(alert, key, name, channels, database) for name in names]
    return _Outcome.LOST not in outcomes


def deliver_waiting(channels: Channels) -> int:
    """Send what waits for another attempt; returns how many were tried."""
    with open_database(channels.database) as database:
        if database is None:
            return 0
        tried, down = 0, list[str]()
        # One claim at a time: a lease covers one message, not a backlog of them. A channel that refuses one would refuse the next.
        while tried < _BACKLOG and (row := _claim(database, down)):
            key, name, message, is_repeat = row
            alert = Alert.from_json(message)
            if _send(alert, key, name, channels, database, is_repeat=is_repeat) is not _Outcome.DELIVERED:
                down.append(name)
            tried += 1
        return tried


def _claim(database: psycopg.Connection, down: list[str]) -> tuple[str, str, dict[str, Any], bool] | None:
    """The oldest alert that is due, for this process alone to send; key, channel, message, whether it may have arrived before."""
    import psycopg

    try:
        return database.execute(_CLAIM, {"lease": _LEASE_SECONDS, "down": down}).fetchone()
    except psycopg.Error as error:
        log.error("The alerts that wait could not be read: %s", shorten(str(error)))
        return None


def _record(database: psycopg.Connection, alert: Alert, key: str, names: list[str]) -> list[str]:
    """Write the alert down; returns the channels by which this process, and no other, is to send it."""
    import psycopg
    from psycopg.types.json import Jsonb

    try:
        rows = database.execute(
            _RECORD,
            {
                "key": key,
                "severity": alert.severity,
                "message": Jsonb(alert.as_json()),
                "channels": names,
                "lease": _LEASE_SECONDS,
            },
        )
        return [name for (name,) in rows]
    except psycopg.Error as error:
        log.error("The alert could not be written down, and goes out unguarded: %s", shorten(str(error)))
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
    """Send by one channel. ``is_repeat``: it may have arrived before, which it says; a second time in doubt is the last."""
    if is_repeat:
        alert = replace(alert, title=f"（再送）{alert.title}")
    _note(database, _RENEW, {"key": key, "channel": name, "lease": _LEASE_SECONDS})
    try:
        if name == "slack":
            _post(alert, channels.slack)
        else:
            _mail(alert, key, channels.email)
    except Exception as error:
        # Whatever hinders it (no connection, a service that is down, a revoked token), the batch's own outcome stands.
        reason = shorten(str(error) or type(error).__name__)
        waits = _note(
            database,
            _UNDELIVERED,
            {
                "key": key,
                "channel": name,
                "error": reason,
                "kept": _KEPT_HOURS,
                "in_doubt": _may_have_arrived(error),
                "is_repeat": is_repeat,
            },
        )
        log.error(
            "The alert '%s' could not be delivered by %s and %s: %s",
            alert.title,
            name,
            "is kept for another attempt" if waits else "will not be tried again",
            reason,
        )
        return _Outcome.KEPT if waits else _Outcome.LOST
    _note(database, _DELIVERED, {"key": key, "channel": name})
    return _Outcome.DELIVERED


def _may_have_arrived(error: Exception) -> bool:
    """Whether the message was on its way when the answer failed to come."""
    import http.client
    import smtplib
    from urllib.error import URLError

    if isinstance(error, (_NotSentError, URLError)):
        return False
    lost = (TimeoutError, ConnectionError, http.client.HTTPException, smtplib.SMTPServerDisconnected)
    return isinstance(error, lost)


def _note(database: psycopg.Connection | None, statement: Any, parameters: dict[str, Any]) -> bool:
    """Write down what became of it; returns whether it waits for another attempt."""
    import psycopg

    if database is None:
        return False
    try:
        cursor = database.execute(statement, parameters)
        row = cursor.fetchone() if cursor.description else None
    except psycopg.Error as error:
        # The lease runs out, and the next run of a batch sends it: twice is better than never.
        log.error("What became of an alert could not be written down: %s", shorten(str(error)))
        return True
    return row is not None and row[0] is not None


def _post(alert: Alert, connection: Connection | None) -> None:
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
    # Without a proxy of its own, the environment's.
    handler = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
    try:
        with urllib.request.build_opener(handler).open(request, timeout=_TIMEOUT_SECONDS) as response:
            answer = _bounded(response)
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


def _bounded(response: http.client.HTTPResponse) -> bytes:
    """An answer's first bytes, as they come: nothing is decompressed. :raises TimeoutError: it takes too long as a whole."""
    import http.client

    answer, ends_at = b"", time.monotonic() + _TIMEOUT_SECONDS
    while len(answer) < _LONGEST_ANSWER and (part := response.read1(_LONGEST_ANSWER - len(answer))):
        answer += part
        if time.monotonic() > ends_at:
            raise TimeoutError("the answer takes too long")
    if len(answer) < _LONGEST_ANSWER and response.length:
        raise http.client.IncompleteRead(answer, response.length)
    return answer


def _mail(alert: Alert, key: str, connection: Connection | None) -> None:
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
        server = _mail_server(connection)
    except (OSError, smtplib.SMTPException) as error:
        raise _NotSentError(str(error)) from error
    with server:
        server.send_message(mail)


def _mail_server(connection: Connection) -> smtplib.SMTP:
    """A session that takes letters."""
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
    """The table of alerts, as ``batch_platform``; None where it cannot be reached."""
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
        # The API server is away, or refuses: the other channels go on.
        log.error("The connection '%s' could not be looked up: %s", conn_id, shorten(str(error)))
        return None
