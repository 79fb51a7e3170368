"""The body of an HTTP message, by the connection's preset: signed JSON, PagerDuty, or a Teams workflow. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, TypeVar

from skill_batch.notifiers.alert import SHORTENED, Alert, shorten
from skill_batch.notifiers.run_links import Links
from skill_batch.notifiers.run_report import RunReport

T = TypeVar("T")

# A secret of Standard Webhooks is this prefix and the Base64 text of 24 to 64 bytes.
_SCHEME = "whsec_"
_SECRET_BYTES = range(24, 65)

# PagerDuty's limits in characters and bytes, and its severities. It says 512 KB, which may be 512,000 or 524,288 bytes.
_LONGEST_SUMMARY = 1_024
_LONGEST_DEDUP_KEY = 255
_PAGERDUTY_LIMIT = 512_000
_PAGERDUTY_SEVERITIES = {"CRITICAL": "critical", "HIGH": "error", "MEDIUM": "warning"}

# The size limit of a message's properties in Teams, as in the tenants' channel. The card is JSON text in them.
_TEAMS_LIMIT = 28_672 - 1_024
_LONGEST_LINE = 1_000
_MOST_LINES = 256
_MARKDOWN = frozenset("\\`*_[]()#+-!|~<>")


def json_body(message: Alert | RunReport, key: str) -> bytes:
    """The body of the preset ``json``: all fields of the message, its key and its type (``alert`` or ``result``)."""
    head = {"version": 1, "type": "result" if isinstance(message, RunReport) else "alert", "key": key}
    if isinstance(message, RunReport):
        return _encoded({**head, **asdict(message), "title": message.title})
    links = [{"label": label, "url": url} for label, url in message.links]
    return _encoded({**head, **message.as_json(), "links": links})


def signature_headers(body: bytes, secret: str, key: str, now: datetime) -> dict[str, str]:
    """The headers of a signed request (Standard Webhooks 1.0, standardwebhooks.com). The id is the same in each attempt.

    :raises ValueError: the secret is malformed.
    """
    # A run's id may contain any characters. A dot would end the id in the signed text.
    message_id = hashlib.sha256(key.encode()).hexdigest()
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(_secret_bytes(secret), signed, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def _secret_bytes(secret: str) -> bytes:
    encoded = secret.removeprefix(_SCHEME)
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except ValueError:
        decoded = b""
    if encoded == secret or len(decoded) not in _SECRET_BYTES:
        raise ValueError("the secret of a signature is whsec_ and the Base64 text of 24 to 64 bytes")
    return decoded


def pagerduty_body(alert: Alert, key: str, routing_key: str, source: str) -> bytes:
    """A trigger event of PagerDuty's Events API v2. Events with the same ``dedup_key`` are one incident."""
    if len(key) > _LONGEST_DEDUP_KEY:
        key = hashlib.sha256(key.encode()).hexdigest()
    links = [{"href": url, "text": label} for label, url in _web_links(alert.links)]

    def event(most: int) -> bytes:
        parts = {"lines": alert.lines, "tenants": alert.tenants, "actions": alert.actions, "ids": alert.ids}
        payload = {
            "summary": shorten(alert.title, _LONGEST_SUMMARY),
            "source": source,
            "severity": _PAGERDUTY_SEVERITIES.get(alert.severity, "warning"),
            "timestamp": alert.arose_at.isoformat(),
            "custom_details": {name: _first(part, most) for name, part in parts.items()},
        }
        head = {"routing_key": routing_key, "event_action": "trigger", "dedup_key": key}
        return _encoded({**head, "payload": payload, "links": links})

    return _largest(event, lambda body: len(body) <= _PAGERDUTY_LIMIT)


def teams_body(message: Alert | RunReport) -> bytes:
    """An Adaptive Card for a Teams workflow. It has only text blocks, without Markdown: webhooks have rejected text runs
    (microsoft/AdaptiveCards, issue 8804).
    """
    links = _web_links(_report_links(message) if isinstance(message, RunReport) else message.links)
    title = _text_block(shorten(message.title, _LONGEST_LINE)) | {"weight": "Bolder", "size": "Medium"}

    def attachment(most: int) -> dict[str, Any]:
        content: dict[str, Any] = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": [title, *map(_text_block, _first(_lines(message), most))],
            "actions": [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in links],
        }
        card_type = "application/vnd.microsoft.card.adaptive"
        return {"contentType": card_type, "contentUrl": None, "content": content}

    def is_small_enough(card: dict[str, Any]) -> bool:
        return len(_encoded({"cards": _encoded([card]).decode()})) <= _TEAMS_LIMIT

    largest: dict[str, Any] = _largest(attachment, is_small_enough)
    return _encoded({"type": "message", "attachments": [largest]})


def _largest(body_of: Callable[[int], T], is_small_enough: Callable[[T], bool]) -> T:
    """The body with as many lines of each part as the limit allows, up to a factor of two."""
    most = _MOST_LINES
    while not is_small_enough(body := body_of(most)) and most:
        most //= 2
    return body


def _first(lines: Sequence[str], most: int) -> list[str]:
    shown = [shorten(line, _LONGEST_LINE) for line in lines[:most]]
    return shown if len(lines) <= most else [*shown, SHORTENED]


def _text_block(text: str) -> dict[str, Any]:
    """The text, escaped so that Teams does not interpret Markdown in it."""
    escaped = "".join(f"\\{character}" if character in _MARKDOWN else character for character in text)
    return {"type": "TextBlock", "text": escaped, "wrap": True}


def _lines(message: Alert | RunReport) -> list[str]:
    if isinstance(message, RunReport):
        return [
            f"{message.batch_name}（{message.batch_id}）",
            f"実行ID: {message.execution_id}",
            f"業務日: {message.business_date}",
            f"結果: {message.status} — {message.total_tenants} 件中 {message.success_count} 件成功、{message.error_count} 件失敗",
            f"件数: {message.records}、実行時間: {message.seconds:.1f}秒",
        ]
    # The first line is the title, and links are buttons.
    return replace(message, title="", links=()).as_text().splitlines()[1:]


def _report_links(report: RunReport) -> Links:
    return (("ボードで見る", report.board_link), ("実行を開く", report.link))


def _web_links(links: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(label, url) for label, url in links if url.startswith(("https://", "http://"))]


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
