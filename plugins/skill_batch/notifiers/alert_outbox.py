"""Sends alerts to the operators once, by each channel of their severity. Retries later if a channel is down.

``send_alert`` writes an alert to ``batch.operator_alert`` before it sends it. The key names the event; an alert with an existing key
is not sent again. If a channel rejects an alert, the next run of any batch sends it. If the database is down, the alert is sent
without this protection. If that fails too, it is only in the log, at ERROR. If it may have arrived (no answer, a killed process), it
is sent once more, marked as a repeat. No function raises an error, so alerts do not affect a batch's outcome.

The triggerer imports this module, sometimes without ``include``. Callers pass the connections as ``Channels``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, LiteralString

from skill_batch.extras import ExtraError, extra_of
from skill_batch.notifiers.alert import Alert, shorten
from skill_batch.notifiers.channels import Channels, may_have_arrived, send_email, send_to_slack
from skill_batch.notifiers.http_channel import send_over_http, wants_alert, wants_results
from skill_batch.notifiers.run_report import RunReport
from skill_batch.notifiers.triggering_user import mail_address_of
from skill_batch.statements import SQL

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

Message = Alert | RunReport

_CONNECT_SECONDS = 10
# Longer than all timeouts of a channel. After the lease, the process that claimed the alert is dead.
_LEASE_SECONDS = 60
# A waiting alert is retried after 1, 2, 4 ... minutes, later every hour, for three days.
_KEPT_HOURS = 72
# include's set_up_session, which a notifier cannot import. The session is idle while a message is sent.
_SESSION: LiteralString = """
SELECT set_config(name, value, false)
FROM
    (VALUES
        ('datestyle', 'ISO'),
        ('statement_timeout', '15s'),
        ('lock_timeout', '0'),
        ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '0'),
        ('transaction_timeout', '0')
    ) AS setting (name, value)
WHERE current_setting(name, true) IS NOT NULL
"""
# One call sends at most this many waiting alerts, so that a backlog does not delay a batch.
_BACKLOG = 20


class _Outcome(Enum):
    """The outcome of a message: sent, KEPT for another attempt, or LOST except for the log."""

    SENT = auto()
    KEPT = auto()
    LOST = auto()


def send_alert(alert: Alert, key: str, channels: Channels) -> bool:
    """Send the alert, unless ``key`` was sent or waits. Returns False if it is lost."""
    outcomes = _store_and_send(alert, key, _names_of(alert, channels), channels)
    # The HTTP channel is optional: an alert that fails only there is not lost.
    return _Outcome.LOST not in [outcome for name, outcome in outcomes.items() if name != "http"]


def record_sent_alert(alert: Alert, key: str, channels: Channels) -> None:
    """Store an alert that was sent while the database was down, unless ``key`` is stored."""
    with open_database(channels.database) as database:
        if database is not None:
            for name in _store(database, alert, key, _names_of(alert, channels)) or ():
                _record(database, SQL["record_alert_sent"], key=key, channel=name)


def is_stored(database: psycopg.Connection, key: str) -> bool | None:
    """True if an alert with this key was sent or waits; None if the table cannot be read."""
    return _exists(database, SQL["find_alert"], key=key)


def is_attempt_reported(database: psycopg.Connection, dag_id: str, run_id: str, attempt: int) -> bool | None:
    """True if there is a failure alert about a batch of this run's attempt; None if the table cannot be read."""
    return _exists(
        database,
        SQL["find_failure_alert"],
        before_batch=f"failure:{dag_id}:{run_id}:",
        after_batch=f":{attempt}",
    )


def _exists(database: psycopg.Connection, statement: LiteralString, /, **parameters: object) -> bool | None:
    import psycopg

    try:
        return database.execute(statement, parameters).fetchone() == (True,)
    except psycopg.Error as error:
        log.error("The table of alerts cannot be read: %s", shorten(str(error)))
        return None


def _names_of(alert: Alert, channels: Channels) -> list[str]:
    """The alert's channels. An alert to a user goes by e-mail, or to Slack if the address is unknown, and never over HTTP."""
    if alert.triggering_user is not None:
        return ["email" if mail_address_of(alert.triggering_user, channels.email) else "slack"]
    names = ["slack", "email"] if alert.severity == "CRITICAL" else ["slack"]
    return [*names, "http"] if wants_alert(channels.http, alert.severity) else names


def send_result(report: RunReport, channels: Channels) -> None:
    """Send a run's result over HTTP, if the connection requests results. It is stored and retried like an alert."""
    if wants_results(channels.http):
        _store_and_send(report, report.key, ["http"], channels)


def send_waiting_alerts(channels: Channels) -> int:
    """Send the waiting alerts. Returns the number of attempts."""
    with open_database(channels.database) as database:
        if database is None:
            return 0
        attempts, excluded = 0, list[str]()
        # One alert at a time, because the lease is long enough for one only. A failed channel is not used again.
        while attempts < _BACKLOG and (row := _claim(database, excluded)):
            key, name, message, is_repeat = row
            stored = RunReport.from_json(message) if "result" in message else Alert.from_json(message)
            if _send(stored, key, name, channels, database, is_repeat=is_repeat) is not _Outcome.SENT:
                excluded.append(name)
            attempts += 1
        return attempts


def _store_and_send(message: Message, key: str, names: list[str], channels: Channels) -> dict[str, _Outcome]:
    """The outcomes by channel, except channels by which the message was already sent or waits."""
    with open_database(channels.database) as database:
        if database is not None:
            stored = _store(database, message, key, names)
            # Without its row, no later run sends the message.
            names, database = (names, None) if stored is None else (stored, database)
        return {name: _send(message, key, name, channels, database) for name in names}


def _claim(database: psycopg.Connection, excluded: list[str]) -> tuple[str, str, dict[str, Any], bool] | None:
    """Claim the oldest due alert of other channels. Returns key, channel, message, and True if it may have arrived before."""
    import psycopg

    try:
        return database.execute(
            SQL["claim_alert"], {"lease": _LEASE_SECONDS, "excluded": excluded}
        ).fetchone()
    except psycopg.Error as error:
        log.error("The waiting alerts could not be read: %s", shorten(str(error)))
        return None


def _store(database: psycopg.Connection, message: Message, key: str, names: list[str]) -> list[str] | None:
    """Write the alert to the table. Returns the channels that this process claimed; None if the table cannot be written."""
    import psycopg
    from psycopg.types.json import Jsonb

    try:
        about = {"key": key, "channels": names, "severity": message.severity}
        stored = {"message": Jsonb(message.as_json()), "lease": _LEASE_SECONDS}
        rows = database.execute(SQL["record_alert"], {**about, **stored})
        return [name for (name,) in rows]
    except psycopg.Error as error:
        log.error(
            "The alert could not be stored, and is sent without protection against repeats: %s",
            shorten(str(error)),
        )
        return None


def _send(
    message: Message,
    key: str,
    name: str,
    channels: Channels,
    database: psycopg.Connection | None,
    *,
    is_repeat: bool = False,
) -> _Outcome:
    """Send by one channel. ``is_repeat``: it may have arrived before. The title says so, and no further ambiguous attempt follows."""
    if is_repeat and isinstance(message, Alert):
        message = replace(message, title=f"（再送）{message.title}")
    _record(database, SQL["renew_lease"], key=key, channel=name, lease=_LEASE_SECONDS)
    try:
        _deliver(message, key, name, channels)
    except Exception as error:
        # No error (no connection, an outage, a revoked token) may change the batch's outcome.
        reason = shorten(str(error) or type(error).__name__)
        waits = _record(
            database,
            SQL["record_alert_failed"],
            key=key,
            channel=name,
            error=reason,
            kept=_KEPT_HOURS,
            in_doubt=may_have_arrived(error),
            is_repeat=is_repeat,
            wait=getattr(error, "wait", 0),
        )
        log.error(
            "The alert '%s' could not be delivered by %s and %s: %s",
            message.title,
            name,
            "is kept for another attempt" if waits else "will not be tried again",
            reason,
        )
        return _Outcome.KEPT if waits else _Outcome.LOST
    _record(database, SQL["record_alert_sent"], key=key, channel=name)
    return _Outcome.SENT


def _deliver(message: Message, key: str, name: str, channels: Channels) -> None:
    if name == "http":
        send_over_http(message, key, channels.http, datetime.now(UTC))
        return
    assert isinstance(message, Alert), "results go over HTTP only"
    if name == "slack":
        send_to_slack(message, channels.slack)
    else:
        send_email(message, key, channels.email)


def _record(database: psycopg.Connection | None, statement: LiteralString, /, **parameters: object) -> bool:
    import psycopg

    if database is None:
        return False
    try:
        cursor = database.execute(statement, parameters)
        row = cursor.fetchone() if cursor.description else None
    except psycopg.Error as error:
        # After the lease, the next run of a batch sends the alert again.
        log.error("The outcome of an alert could not be recorded: %s", shorten(str(error)))
        return True
    return row is not None and row[0] is not None


@contextmanager
def open_database(connection: Connection | None) -> Iterator[psycopg.Connection | None]:
    """A connection as ``batch_platform`` for the table of alerts; None if the database cannot be reached."""
    import psycopg

    database: psycopg.Connection | None = None
    if connection is not None:
        try:
            database = psycopg.connect(
                host=connection.host,
                dbname=connection.schema,
                user=connection.login,
                password=connection.password,
                client_encoding="UTF8",
                autocommit=True,
                **{
                    "port": connection.port or 5432,
                    "connect_timeout": _CONNECT_SECONDS,
                    **_extra_of(connection),
                },
            )
            database.execute("SET ROLE batch_platform")
            database.execute(_SESSION)
        except (psycopg.Error, ExtraError) as error:
            log.error("The table of alerts cannot be reached: %s", shorten(str(error)))
            if database is not None:
                database.close()
                database = None
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _extra_of(connection: Connection) -> dict[str, Any]:
    """The extra's values about TLS and the address. Of several hosts, only the primary can store an alert."""
    of_several = {"target_session_attrs": "primary"} if "," in (connection.host or "") else {}
    names = ("ssl", "hostaddr", "port", "target_session_attrs")
    return of_several | {
        name: value for name, value in extra_of(connection).items() if name.startswith(names)
    }
