"""An alert (a message to the operators) and its formats for Slack and e-mail."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from skill_batch.notifiers.mail_headers import MAIL_POLICY

JAPAN = ZoneInfo("Asia/Tokyo")

# An alert lists this many tenants.
LISTED_TENANTS = 10

# Slack rejects headers over 150 characters, sections over 3,000, more than 50 blocks, and about 13,200 characters in all.
_HEADER_LIMIT = 150
_SECTION_LIMIT = 2_900
_MOST_BLOCKS = 50
_BLOCKS_LIMIT = 12_000

SHORTENED = "（長いため省略しました。全文は実行のログにあります）"
_REASON_LIMIT = 200

# The label at the start of a line: 「エラー: 」, 「対処（意味）: 」, 「• T002 名前: 」.
_LABEL = re.compile(r"[^:\n]{1,80}: ")

_COLOURS = {"CRITICAL": "#b42318", "HIGH": "#b54708", "MEDIUM": "#175cd3"}


@dataclass(frozen=True)
class Alert:
    """A message to the operators: what happened (``title``, ``lines``, ``tenants``), what to do (``actions``), where to look (``links``).

    ``lines`` are in order of importance. ``ids`` come last; they are only for searches.

    ``arose_at`` is the time of the event, which a late message shows. ``severity`` is the name of a ``Severity`` of the registry.
    ``triggering_user`` is Airflow's name of the user who gets the alert instead of the operators (see ``triggering_user.py``).
    ``kinds`` are the names of the kinds of failure, for the board.
    """

    title: str
    lines: tuple[str, ...]
    tenants: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    severity: str = "MEDIUM"
    arose_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    triggering_user: str | None = None
    kinds: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def as_text(self) -> str:
        """Plain text, for the log, Slack's preview and the e-mail's text part."""
        links = tuple(f"{label}: {url}" for label, url in self.links)
        return "\n".join((self.title, *self._texts(), *self.ids, *links, self._moment()))

    def as_blocks(self) -> list[dict[str, Any]]:
        """The alert in Slack's Block Kit."""
        # Lines may quote tenants' texts, so only this project's links are clickable.
        links = [
            f"<{escape_slack(url).replace('|', '%7C')}|{escape_slack(label)}>" for label, url in self.links
        ]
        header = {"type": "header", "text": _plain_text(self.title[:_HEADER_LIMIT])}
        context = {"type": "mrkdwn", "verbatim": True, "text": "  ".join((*links, self._moment()))}
        ids = [_plain_text("  ".join(self.ids)[:_SECTION_LIMIT])] if self.ids else []
        ending = [*map(_rich_text, _sections(self.actions)), {"type": "context", "elements": [context, *ids]}]
        # The actions are always complete, so the lines and tenants are shortened.
        texts = [text for part in (self.lines, self.tenants) if part for text in _sections(part)]
        blocks = [header, *map(_rich_text, texts), *ending]
        while texts and not _fit(blocks):
            texts.pop()
            blocks = [header, *map(_rich_text, [*texts, SHORTENED]), *ending]
        return blocks

    def as_mail(self, sender: Address, recipients: list[Address], message_id: str) -> EmailMessage:
        """The e-mail as text and HTML. ``message_id`` is the same in each attempt, so that mail programs can detect a second copy."""
        mail = EmailMessage(MAIL_POLICY)
        mail["Subject"] = f"[{self.severity}] {' '.join(self.title.split())}"
        mail["From"], mail["To"] = [sender], recipients
        mail["Date"], mail["Message-ID"] = format_datetime(self.arose_at), message_id
        # No out-of-office reply (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(self.as_text())
        mail.add_alternative(self._html(), subtype="html")
        return mail

    def as_json(self) -> dict[str, Any]:
        """The alert as JSON for the table of alerts; ``from_json`` reads it."""
        values = {**asdict(self), "arose_at": self.arose_at.isoformat()}
        if self.triggering_user is None:
            del values["triggering_user"]
        return values

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Alert:
        """The alert from ``as_json``."""
        texts = {name: tuple(value.get(name, ())) for name in ("lines", "tenants", "actions", "kinds", "ids")}
        links = tuple((label, url) for label, url in value["links"])
        return cls(
            **{**value, **texts, "links": links, "arose_at": datetime.fromisoformat(value["arose_at"])}
        )

    def _parts(self) -> list[tuple[str, ...]]:
        return [part for part in (self.lines, self.tenants, self.actions) if part]

    def _texts(self) -> tuple[str, ...]:
        return tuple(line for part in self._parts() for line in part)

    def _moment(self) -> str:
        return f"発生: {self.arose_at.astimezone(JAPAN):%Y-%m-%d %H:%M:%S}（日本時間）"

    def _html(self) -> str:
        colour = _COLOURS.get(self.severity, _COLOURS["MEDIUM"])
        parts = "".join(
            f'<p style="margin:0 0 12px">{"<br>".join(map(_html_line, part))}</p>' for part in self._parts()
        )
        ids = "".join(f" ・ {escape(each)}" for each in self.ids)
        links = " ".join(f'<a href="{escape(url)}">{escape(label)}</a>' for label, url in self.links)
        return (
            '<div style="font-family:sans-serif;font-size:14px;line-height:1.6;color:#1d2939">'
            f'<h1 style="font-size:18px;margin:0 0 12px;padding-left:10px;border-left:4px solid {colour}">{escape(self.title)}</h1>'
            f"{parts}<p>{links}</p>"
            f'<p style="color:#667085;font-size:12px">{self._moment()} ・ 重要度 {escape(self.severity)}{ids}</p></div>'
        )


def _plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "emoji": False, "text": text}


def _labelled(line: str) -> tuple[str, str]:
    label = _LABEL.match(line)
    return (label[0], line[label.end() :]) if label else ("", line)


def _html_line(line: str) -> str:
    label, rest = _labelled(line)
    return f"<b>{escape(label)}</b>{escape(rest)}" if label else escape(rest)


def _rich_text(text: str) -> dict[str, Any]:
    """The lines with bold labels. Slack interprets no markup, links or mentions in such a block."""
    elements: list[dict[str, Any]] = []
    for line in text.splitlines(keepends=True):
        label, rest = _labelled(line)
        if label:
            elements.append({"type": "text", "text": label, "style": {"bold": True}})
        if elements and "style" not in elements[-1]:
            elements[-1]["text"] += rest
        elif rest:
            elements.append({"type": "text", "text": rest})
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


def _fit(blocks: list[dict[str, Any]]) -> bool:
    """True if Slack accepts these blocks. Tenants' Slack messages have the same rule (``channels/slack/blocks.py``)."""
    return len(blocks) <= _MOST_BLOCKS and len(json.dumps(blocks, ensure_ascii=False)) <= _BLOCKS_LIMIT


def _sections(lines: tuple[str, ...]) -> list[str]:
    """Join the lines into as few Slack sections as possible. Only a line longer than a section is cut."""
    sections = [""] if lines else []
    for line in lines:
        line = line[:_SECTION_LIMIT]
        if sections[-1] and len(sections[-1]) + 1 + len(line) > _SECTION_LIMIT:
            sections.append("")
        sections[-1] += f"\n{line}" if sections[-1] else line
    return sections


def escape_slack(text: str) -> str:
    """Escape Slack's three control characters, so that a tenant's name cannot become a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(reason: str, limit: int = _REASON_LIMIT) -> str:
    """The reason in one line of at most ``limit`` characters (200 by default)."""
    line = " ".join(reason.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
