"""The operators' channels: connections, and sending by Slack and e-mail.

The triggerer imports this module, sometimes without ``include``.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from skill_batch.extras import extra_of
from skill_batch.lookup import find_connection
from skill_batch.masking import mask_all
from skill_batch.notifiers.alert import Alert, escape_slack, shorten
from skill_batch.notifiers.mail_addresses import recipients_of, sender_of
from skill_batch.notifiers.mail_session import TIMEOUT_SECONDS, open_session
from skill_batch.notifiers.triggering_user import mail_address_of

if TYPE_CHECKING:
    import http.client

    from airflow.sdk import Connection

log = logging.getLogger(__name__)

# The operators' Slack (a Slack API connection). Its password is the bot token; its extra has the `channel`.
OPS_SLACK_CONN_ID = "skill_batch_alert_slack"
# The operators' e-mail (an SMTP connection). Its extra has the sender (`from_email`) and the recipients, separated by commas
# (`to_email`). docs/admin/alerts.md describes `people` and `people_domains`.
OPS_EMAIL_CONN_ID = "skill_batch_alert_email"
# An optional HTTP connection. docs/admin/alerts.md describes its fields.
OPS_HTTP_CONN_ID = "skill_batch_alert_http"
PLATFORM_DB_CONN_ID = "skill_batch_platform_db"

DEFAULT_CHANNEL = "#batch-alerts"

# Slack cuts longer texts; the blocks contain the complete alert.
_SLACK_TEXT_LIMIT = 2_900
# The maximum size of Slack's answer in bytes. It repeats the alert.
_LONGEST_ANSWER = 1024 * 1024


class NotSentError(Exception):
    """The error occurred before the message was sent."""


@dataclass(frozen=True)
class Channels:
    """The connections for alerts; None if Airflow has none. The repr omits them, because they have passwords."""

    slack: Connection | None = field(repr=False)
    email: Connection | None = field(repr=False)
    database: Connection | None = field(repr=False)
    http: Connection | None = field(default=None, repr=False)


def load_channels() -> Channels:
    """Look up the connections in Airflow."""
    names = (OPS_SLACK_CONN_ID, OPS_EMAIL_CONN_ID, PLATFORM_DB_CONN_ID, OPS_HTTP_CONN_ID)
    channels = Channels(*map(_connection, names))
    if channels.http is not None:
        _mask_parts(channels.http.password or "")
    return channels


def _mask_parts(url: str) -> None:
    """Mask the parts of a workflow's URL that an HTTP library logs without the host. Airflow masks only the complete password."""
    split = urlsplit(url)
    if split.scheme in ("https", "http"):
        whole = split._replace(scheme="", netloc="").geturl()
        values = dict(parse_qsl(split.query))
        mask_all([text for text in (whole, split.query, values.get("sig", "")) if text])


def may_have_arrived(error: Exception) -> bool:
    """True if the service may have received the message, although its answer did not arrive."""
    import http.client
    import smtplib
    from urllib.error import URLError

    if isinstance(error, (NotSentError, URLError)):
        return False
    lost = (TimeoutError, ConnectionError, http.client.HTTPException, smtplib.SMTPServerDisconnected)
    return isinstance(error, lost)


def send_to_slack(alert: Alert, connection: Connection | None) -> None:
    """Send the alert to Slack. :raises LookupError: a setting is missing, or Slack rejects it."""
    if connection is None:
        raise LookupError(f"Airflow の接続 '{OPS_SLACK_CONN_ID}' が定義されていません")
    message = {
        "channel": extra_of(connection).get("channel") or DEFAULT_CHANNEL,
        "text": escape_slack(alert.as_text())[:_SLACK_TEXT_LIMIT],
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": alert.as_blocks(),
    }
    _call_slack(connection, "chat.postMessage", message)


def identify_slack(connection: Connection) -> str:
    """The token's workspace and bot. :raises LookupError: a setting is missing, or Slack rejects the token."""
    answer = _call_slack(connection, "auth.test", {})
    return f"{answer.get('team')} / {answer.get('user')}"


def _call_slack(connection: Connection, method: str, body: dict[str, Any]) -> dict[str, Any]:
    import json
    import urllib.request
    from urllib.error import HTTPError
    from urllib.parse import urljoin

    extra = extra_of(connection)
    url = urljoin(f"{extra.get('base_url') or 'https://slack.com/api'}".rstrip("/") + "/", method)
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"Airflow の接続 '{connection.conn_id}' の base_url が正しくありません")
    request = urllib.request.Request(  # noqa: S310 - the scheme is one of HTTP
        url,
        json.dumps(body).encode(),
        {
            "Content-Type": "application/json; charset=utf-8",
            "Authorization": f"Bearer {(connection.password or '').strip()}",
        },
    )
    proxy = extra.get("proxy")
    # Otherwise the proxy of the environment is used.
    handler = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
    try:
        with urllib.request.build_opener(handler).open(request, timeout=TIMEOUT_SECONDS) as response:
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
    return fields


def _read_bounded(response: http.client.HTTPResponse) -> bytes:
    """The answer, up to a maximum size, without decompression. :raises TimeoutError: reading takes too long in total."""
    import http.client

    answer, ends_at = b"", time.monotonic() + TIMEOUT_SECONDS
    while len(answer) < _LONGEST_ANSWER and (part := response.read1(_LONGEST_ANSWER - len(answer))):
        answer += part
        if time.monotonic() > ends_at:
            raise TimeoutError("the answer takes too long")
    if len(answer) < _LONGEST_ANSWER and response.length:
        raise http.client.IncompleteRead(answer, response.length)
    return answer


def send_email(alert: Alert, key: str, connection: Connection | None) -> None:
    """Send the alert to the operators, or to the user to whom it is addressed.

    :raises LookupError: a setting, or the user's address, is missing. :raises NotSentError: there is no connection.
    """
    if connection is None:
        raise LookupError(f"Airflow の接続 '{OPS_EMAIL_CONN_ID}' が定義されていません")
    extra = extra_of(connection)
    sender, recipients = extra.get("from_email") or connection.login, extra.get("to_email")
    if alert.triggering_user is not None:
        recipients = mail_address_of(alert.triggering_user, connection)
        if not recipients:
            # The connection was changed while the alert waited.
            raise LookupError(
                f"Airflow の接続 '{OPS_EMAIL_CONN_ID}' に、実行した人のメールアドレスがありません"
            )
    if not connection.host or not sender or not recipients:
        raise LookupError(
            f"Airflow の接続 '{OPS_EMAIL_CONN_ID}' にホスト、送信元（from_email）、宛先（to_email）のどれかがありません"
        )
    import smtplib

    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    from_address, to_addresses = sender_of(sender), recipients_of(recipients)
    mail = alert.as_mail(from_address, to_addresses, f"<{digest}@{from_address.domain}>")
    try:
        server = open_session(connection, from_address.addr_spec)
    except (OSError, smtplib.SMTPException) as error:
        raise NotSentError(str(error)) from error
    with server:
        # Passes the addresses, because the standard library parses the headers by other rules.
        server.send_message(mail, from_address.addr_spec, [each.addr_spec for each in to_addresses])


def _connection(conn_id: str) -> Connection | None:
    try:
        return find_connection(conn_id)
    except Exception as error:
        # The API server does not answer, or rejects the request. The other channels may work.
        log.error("The connection '%s' could not be looked up: %s", conn_id, shorten(str(error)))
        return None
