"""The operators' HTTP channel: the optional connection ``skill_batch_alert_http``, used with the HTTP provider's hook.

The triggerer imports this module, sometimes without ``include``.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skill_batch.extras import ExtraError, extra_of
from skill_batch.http_presets import PRESETS, Preset
from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.channels import OPS_HTTP_CONN_ID, NotSentError
from skill_batch.notifiers.http_bodies import json_body, pagerduty_body, signature_headers, teams_body
from skill_batch.notifiers.run_report import RunReport

if TYPE_CHECKING:
    import requests
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

# The timeout for connecting, and for each read.
HTTP_TIMEOUT_SECONDS = 10

_PAGERDUTY_HOST, _PAGERDUTY_PATH = "https://events.pagerduty.com", "/v2/enqueue"
_SOURCE = "skill-report-batches"

# The hook sends all other fields of the extra as headers, or uses them for the session.
OUR_EXTRAS = frozenset({"preset", "min_severity", "results", "endpoint", "source"})
_SEVERITIES = ("MEDIUM", "HIGH", "CRITICAL")

_LONGEST_WAIT_SECONDS = 3_600
_TOO_MANY_REQUESTS = 429


class RefusedError(LookupError):
    """The receiver rejected the message. ``wait``: the seconds until it accepts a retry."""

    def __init__(self, message: str, wait: float = 0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class _Request:
    """A request. ``base`` is the connection's scheme and host. The repr omits values that contain secrets."""

    base: str
    path: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)


def wants_alert(connection: Connection | None, severity: str) -> bool:
    """True if the channel gets alerts of this severity. With invalid settings it gets all, and sending reports the error."""
    if connection is None:
        return False
    try:
        least = extra_of(connection).get("min_severity") or _SEVERITIES[0]
    except ExtraError:
        return True
    return least not in _SEVERITIES or severity in _SEVERITIES[_SEVERITIES.index(least) :]


def wants_results(connection: Connection | None) -> bool:
    """True if the channel gets the results of runs."""
    if connection is None:
        return False
    try:
        extra = extra_of(connection)
    except ExtraError as error:
        log.error("The results of runs are not sent: %s", error)
        return False
    preset = PRESETS.get(extra.get("preset") or "", Preset.JSON)
    return preset.takes_results and str(extra.get("results", "")).lower() == "true"


def send_over_http(
    message: Alert | RunReport, key: str, connection: Connection | None, now: datetime
) -> None:
    """Post the message, with a signature for this attempt at ``now``.

    :raises LookupError: a setting is invalid or missing. :raises RefusedError: the receiver rejects the message.
    :raises NotSentError: there is no connection. :raises ConnectionError, TimeoutError: there is no answer; the message may have
        arrived.
    """
    if connection is None:
        raise LookupError(f"Airflow の接続 '{OPS_HTTP_CONN_ID}' が定義されていません")
    least = extra_of(connection).get("min_severity")
    if least and least not in _SEVERITIES:
        raise LookupError(_wrong("min_severity", least, _SEVERITIES))
    request = _request(message, key, connection, now)
    status, headers = _post(request, _session(connection, request.base))
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise RefusedError(f"受信側がリダイレクトを返しました（HTTP {status}）。署名は転送先に送りません")
    wait = _seconds(headers.get("Retry-After", ""), now) if status == _TOO_MANY_REQUESTS else 0
    raise RefusedError(f"受信側が受け付けません（HTTP {status}）", wait)


def _request(message: Alert | RunReport, key: str, connection: Connection, now: datetime) -> _Request:
    extra, secret = extra_of(connection), (connection.password or "").strip()
    chosen = extra.get("preset") or Preset.JSON
    if chosen not in PRESETS:
        raise LookupError(_wrong("preset", chosen, PRESETS))
    preset = PRESETS[chosen]
    if not secret:
        raise LookupError(
            f"Airflow の接続 '{OPS_HTTP_CONN_ID}' に Password がありません（{preset.password}）"
        )
    headers = {"Content-Type": "application/json; charset=utf-8"}
    match preset:
        case Preset.TEAMS_WORKFLOW:
            # The signature in the URL is a secret, so the complete URL is stored as the password.
            url = urlsplit(secret)
            path = url._replace(scheme="", netloc="").geturl()
            return _Request(_checked(f"{url.scheme}://{url.netloc}"), path, teams_body(message), headers)
        case Preset.PAGERDUTY:
            assert isinstance(message, Alert), "results do not go to PagerDuty"
            source = str(extra.get("source") or _SOURCE)
            base = _base(connection) if connection.host else _PAGERDUTY_HOST
            path = extra.get("endpoint") or _PAGERDUTY_PATH
            return _Request(base, path, pagerduty_body(message, key, secret, source), headers)
        case Preset.JSON:
            body = json_body(message, key)
            try:
                signed = headers | signature_headers(body, secret, key, now)
            except ValueError:
                raise LookupError(
                    f"Airflow の接続 '{OPS_HTTP_CONN_ID}' の Password を、whsec_ と 24〜64 バイトの Base64 にしてください"
                ) from None
            return _Request(_base(connection), extra.get("endpoint") or "/", body, signed)


def _base(connection: Connection) -> str:
    host = connection.host or ""
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    return _checked(f"{base}:{connection.port}" if connection.port else base)


def _checked(base: str) -> str:
    url = urlsplit(base)
    if url.scheme not in ("https", "http") or not url.hostname or url.username:
        raise LookupError(f"Airflow の接続 '{OPS_HTTP_CONN_ID}' のアドレスが正しくありません")
    return base


def _wrong(name: str, value: object, allowed: object) -> str:
    choices = "、".join(map(str, allowed))  # type: ignore[call-overload]
    return (
        f"Airflow の接続 '{OPS_HTTP_CONN_ID}' の {name} が正しくありません: {value!r}（{choices} のどれか）"
    )


def _session(connection: Connection, base: str) -> requests.Session:
    """The session of the HTTP provider's hook, with the proxies, certificates and headers of the connection's extra.

    The hook gets no login and password, because it would send the signature's key in HTTP Basic.
    """
    from airflow.providers.http.hooks.http import HttpHook
    from airflow.sdk import Connection as NewConnection

    rest: dict[str, Any] = {
        name: value for name, value in extra_of(connection).items() if name not in OUR_EXTRAS
    }
    plain = NewConnection(
        conn_id=OPS_HTTP_CONN_ID, conn_type="http", host=base, extra=json.dumps(rest) if rest else None
    )

    class OpsHttpHook(HttpHook):
        """Uses the connection that the caller looked up, because the triggerer cannot look it up in a thread."""

        @classmethod
        def get_connection(cls, _conn_id: str) -> Any:
            return plain

    session: requests.Session = OpsHttpHook("POST", OPS_HTTP_CONN_ID).get_conn()
    return session


def _post(request: _Request, session: requests.Session) -> tuple[int, Any]:
    import requests

    url = f"{request.base.rstrip('/')}/{request.path.lstrip('/')}"
    try:
        with (
            session,
            session.post(
                url,
                data=request.body,
                headers=request.headers,
                timeout=HTTP_TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
                **_own_settings(session),
            ) as answer,
        ):
            return answer.status_code, answer.headers
    except requests.RequestException as error:
        # The text of these errors contains the URL, which may be a secret.
        raise _without_url(error) from None


def _own_settings(session: requests.Session) -> dict[str, Any]:
    """The connection's proxies and certificates as request arguments. The environment (``HTTPS_PROXY``, ``REQUESTS_CA_BUNDLE``) overrides
    a session's.
    """
    proxies = dict(session.proxies or {})
    if "all" in proxies:
        proxies = {"http": proxies["all"], "https": proxies["all"], **proxies}
    # True also stands for a connection without this setting.
    return {"proxies": proxies, "verify": None if session.verify is True else session.verify}


def _without_url(error: requests.RequestException) -> Exception:
    import requests
    from urllib3.exceptions import NewConnectionError

    name = type(error).__name__
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.ReadTimeout):
        return TimeoutError(f"応答がありません（{name}）")
    never_connected = (requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError)
    if not isinstance(error, requests.ConnectionError) or isinstance(error, never_connected):
        return NotSentError(f"接続できません（{name}）")
    if isinstance(cause, NewConnectionError):
        return NotSentError(f"接続できません（{type(cause).__name__}）")
    return ConnectionError(f"応答がありません（{name}）")


def _seconds(retry_after: str, now: datetime) -> float:
    """The value of Retry-After in seconds, at most an hour; 0 if it is missing or unreadable."""
    try:
        if retry_after.strip().isdigit():
            seconds = float(retry_after)
        else:
            seconds = (parsedate_to_datetime(retry_after).astimezone(UTC) - now).total_seconds()
    except (ValueError, TypeError):
        return 0
    return min(max(seconds, 0), _LONGEST_WAIT_SECONDS)
