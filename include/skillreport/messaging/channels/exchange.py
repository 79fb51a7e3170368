"""HTTP requests of the channels, and the results of their answers and failures."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from yarl import URL

from include.skillreport.messaging.address_guard import RefusedAddressError, check_url, is_allowed
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.outcome import SendResult, failed

LONGEST_WAIT = timedelta(hours=1)

# The errors of a request without an answer.
UNANSWERED = (aiohttp.ClientError, TimeoutError, RefusedAddressError)

_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,  # refused, unreachable, no such name, certificate
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
)

# Bytes after decompression. Real answers are shorter; a malicious server could send more than memory holds.
LONGEST_ANSWER = 64 * 1024

_SECONDS = re.compile(r"\d+(\.\d+)?(\s*,\s*\d+(\.\d+)?)*", re.ASCII)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Answer:
    """A service's answer. The body may quote the request, so only an error code from it is logged."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """True if the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body's JSON object; empty if the body is not a JSON object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


async def request(
    session: aiohttp.ClientSession,
    method: str,
    url: str | URL,
    *,
    longest: int = LONGEST_ANSWER,
    **options: Any,
) -> Answer:
    """Make one request and read up to ``longest`` decompressed bytes of its answer. :raises: one of ``UNANSWERED``."""
    async with session.request(method, url, **options) as response:
        body = bytearray()
        async for chunk in response.content.iter_chunked(4096):
            body += chunk
            if len(body) > longest:
                break
        return Answer(response.status, response.headers, bytes(body[:longest]))


def unanswered(channel: Channel, error: BaseException) -> SendResult:
    """The result of a request without an answer. Without a connection nothing was sent; otherwise the message may have arrived."""
    if isinstance(error, RefusedAddressError):
        return failed(channel, "refused_address", str(error))
    if isinstance(error, aiohttp.InvalidURL):
        return failed(channel, "refused_address", "URL の形式が正しくありません")
    is_unanswered = isinstance(error, TimeoutError)
    if isinstance(error, _NEVER_CONNECTED):
        # Without the error's text, which may contain the whole URL.
        result = replace(failed(channel, "connection_refused", type(error).__name__), is_answer=False)
    else:
        result = failed(channel, "timeout" if is_unanswered else "connection_lost", type(error).__name__)
    return replace(result, is_unanswered=is_unanswered)


def refused(
    channel: Channel, status: int, code: object = None, *, retry_after: timedelta | None = None
) -> SendResult:
    """The result of an answer that is not a success, by the service's code, otherwise by its HTTP status.

    A 5xx that the table does not list counts as 500.
    """
    table = channel.errors
    service_code = safe_code(code)
    detail = f"HTTP {status}"
    by_status = f"http_{status}" if f"http_{status}" in table or status < 500 else "http_500"
    if service_code in table or (service_code and by_status not in table):
        return failed(channel, service_code, detail, retry_after=retry_after)
    return failed(channel, by_status, f"{detail} {service_code}".strip(), retry_after=retry_after)


def refused_url(
    channel: Channel, url: str, allowed_hosts: Collection[str], domains: Collection[str] = ()
) -> SendResult | None:
    """The result of ``require_url``; None: the URL may be called."""
    try:
        require_url(url, allowed_hosts, domains)
    except RefusedAddressError as error:
        return unanswered(channel, error)
    return None


def require_url(url: str, allowed_hosts: Collection[str], domains: Collection[str] = ()) -> None:
    """:raises RefusedAddressError: the URL must not be called. ``domains`` are the service's domains."""
    check_url(url, allowed_hosts)
    host = URL(url).host or ""
    is_of_service = any(host == domain or host.endswith(f".{domain}") for domain in domains)
    if domains and not is_of_service and not is_allowed(url, allowed_hosts):
        raise RefusedAddressError(f"{host} はこのサービスの URL ではありません")


def safe_code(code: object) -> str:
    """A service's error code if it has the form of a code, otherwise empty: other text may quote the request."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def retry_after(
    headers: Mapping[str, str], name: str = "Retry-After", longest: timedelta = LONGEST_WAIT
) -> timedelta | None:
    """The wait in a header, at most ``longest``; None if the header is missing or invalid.

    Seconds or a date (RFC 9110, section 10.2.3). Microsoft Graph has also sent fractions (``2.128``) and two values (``30,120``): the
    longest wait counts.
    """
    value = headers.get(name, "").strip()
    try:
        if _SECONDS.fullmatch(value):
            wait = timedelta(seconds=max(map(float, value.split(","))))
        else:
            until = parsedate_to_datetime(value)
            wait = until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)
    except OverflowError:
        return longest
    except (ValueError, TypeError, IndexError):
        return None
    return min(max(wait, timedelta()), longest)
