"""Slack's format of a text: blocks, and the escapes of its markup (mrkdwn). Characters are counted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

LONGEST_TEXT = 40_000
MOST_BLOCKS = 50
LONGEST_SECTION = 3_000
# Slack refuses blocks of about 13,200 characters in all, including the JSON around the texts. It documents no number; this one was measured
# (slackapi/bolt-js, issues 2509 and 2867).
LONGEST_BLOCKS = 12_000
_LONGEST_HEADER = 150

# Slack cannot escape these characters. It interprets those at the edge of a word, each "`", and ">" at the start of a line.
_FORMATTING = re.compile(r"(?<!\w)[*_~]|[*_~](?!\w)|`|^>", re.MULTILINE)
_LOOKALIKES = {"*": "\u2217", "_": "\uff3f", "~": "\u223c", "`": "\u02cb", ">": "\u203a"}


def fit(blocks: Sequence[Any]) -> bool:
    """True if Slack accepts these blocks in one message."""
    return len(blocks) <= MOST_BLOCKS and len(json.dumps(blocks, ensure_ascii=False)) <= LONGEST_BLOCKS


def control_escaped(value: str) -> str:
    """Escape Slack's three control characters, so that a value contains no link or mention."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn(value: str) -> str:
    """The value without control characters, and with lookalikes instead of characters that Slack takes as formatting."""
    return control_escaped(_FORMATTING.sub(lambda match: _LOOKALIKES[match[0]], value))


def blocks_of(subject: str, body: str, *, is_mrkdwn: bool) -> list[dict[str, Any]]:
    """A header and sections. ``is_mrkdwn``: Slack interprets the markup of the body."""
    # Slack creates no links from URLs and names in verbatim text; the template's own <…> remain links.
    plain = {"type": "plain_text", "emoji": False}
    kind = {"type": "mrkdwn", "verbatim": True} if is_mrkdwn else plain
    sections = [{"type": "section", "text": {**kind, "text": part}} for part in _sections(body)]
    # Split at any character: Japanese has no spaces.
    subject = " ".join(subject.split())
    shown = subject if len(subject) <= _LONGEST_HEADER else f"{subject[: _LONGEST_HEADER - 1]}…"
    return [{"type": "header", "text": {**plain, "text": shown}}, *sections] if shown else sections


def _sections(body: str) -> Iterator[str]:
    """The body in parts of a section's length. An escaped character (&amp;) is not split."""
    start = 0
    while start < len(body):
        end = start + LONGEST_SECTION
        escape = body.rfind("&", end - 4, end)
        if escape > start and end < len(body) and ";" not in body[escape:end]:
            end = escape
        yield body[start:end]
        start = end
