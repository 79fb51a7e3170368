"""Merges reminders of one kind for one recipient into one message. Pure: messages in, messages out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from include.skillreport.messaging.channels import line_works, slack, teams
from include.skillreport.messaging.outbox import Draft
from include.skillreport.messaging.outcome import Channel

# The maximum number of reminders in one message, so that it can still be read.
_MOST = 10

_RULE = "\n\n――――――――\n\n"
# The parts around the content of a page. Its styles are kept.
_AROUND = re.compile(
    r"<!doctype[^>]*>|</?(?:html|body)\b[^>]*>|<head\b[^>]*>.*?</head\s*>", re.IGNORECASE | re.DOTALL
)
_BODY = re.compile(r"<body\b([^>]*)>", re.IGNORECASE)
_STYLE = re.compile(r"<style\b[^>]*>.*?</style\s*>", re.IGNORECASE | re.DOTALL)
# The bytes of a Teams message around the body of its card.
_CARD_FRAME = 1_024
_MORE = {"ja": "（ほか {} 件）", "en": " (and {} more)"}


def digests(drafts: Iterable[Draft], kinds: Collection[str], language: str) -> list[Draft]:
    """The drafts. Drafts of one kind for one recipient are merged into one message. ``kinds`` are the template keys to merge.

    The single drafts stay as merged ones, so each event keeps its key and is never sent twice.
    """
    groups: dict[tuple[str | None, Channel, str], list[Draft]] = {}
    result = []
    for draft in drafts:
        if draft.template_key in kinds:
            groups.setdefault((draft.template_key, draft.channel, draft.destination), []).append(draft)
        else:
            result.append(draft)
    for group in groups.values():
        for part in _parts(group):
            if len(part) == 1:
                result += part
            else:
                result.append(_digest(part, language))
                result += [replace(draft, subject="", body="", rich=None, is_merged=True) for draft in part]
    return result


def _parts(group: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """The group in parts that fit into one message. A reminder that is too long by itself is not merged."""
    part = list[Draft]()
    for draft in group:
        if part and (len(part) == _MOST or not _fits([*part, draft])):
            yield part
            part = []
        part.append(draft)
    yield part


def _fits(part: Sequence[Draft]) -> bool:
    """Whether the channel accepts these reminders as one message."""
    text, rich = _text(part), _rich(part)
    match part[0].channel:
        case Channel.LINE_WORKS:
            return len(text) <= line_works.LONGEST_TEXT
        case Channel.SLACK:
            return len(text) <= slack.LONGEST_TEXT and len(rich or ()) <= slack.MOST_BLOCKS
        case Channel.TEAMS:
            size = len(json.dumps(rich or text, ensure_ascii=False).encode())
            return size < teams.SIZE_LIMIT - _CARD_FRAME
        case _:
            return True


def _digest(part: Sequence[Draft], language: str) -> Draft:
    first = part[0]
    keys = "\n".join(sorted(draft.dedupe_key for draft in part))
    more = _MORE.get(language, _MORE["ja"]).format(len(part) - 1)
    return replace(
        first,
        dedupe_key=f"digest:{first.template_key}:{hashlib.sha256(keys.encode()).hexdigest()[:24]}",
        subject=first.subject + more,
        body=_text(part),
        rich=_rich(part),
        priority=min(draft.priority for draft in part),
        dedupe_until=max(draft.dedupe_until or draft.due_at for draft in part),
    )


def _text(part: Sequence[Draft]) -> str:
    return _RULE.join(draft.body for draft in part)


def _page(pages: Sequence[str]) -> str:
    """One HTML page with the content of these pages, each in a ``div`` with the attributes of its body."""
    styles = "".join(dict.fromkeys(style for page in pages for style in _STYLE.findall(page)))
    head = f"<head>{styles}</head>" if styles else ""
    return f"<html>{head}<body>{'<hr>'.join(map(_content, pages))}</body></html>"


def _content(page: str) -> str:
    body = _BODY.search(page)
    attributes = body.group(1).rstrip("/") if body else ""
    return f"<div{attributes}>{_STYLE.sub('', _AROUND.sub('', page)).strip()}</div>"


def _blocks(messages: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Slack blocks with a divider between the messages."""
    joined = [block for blocks in messages for block in ({"type": "divider"}, *blocks)]
    return joined[1:]


def _card(messages: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The body of an Adaptive Card with a line between the messages."""
    return [
        {**element, "separator": True} if place == 0 and number > 0 else element
        for number, elements in enumerate(messages)
        for place, element in enumerate(elements)
    ]


_RICH: dict[Channel, Callable[[Sequence[Any]], Any]] = {
    Channel.EMAIL: _page,
    Channel.SLACK: _blocks,
    Channel.TEAMS: _card,
}


def _rich(part: Sequence[Draft]) -> Any:
    """The channel's own format of all messages. None if the channel has none, or if one of the messages has none."""
    join = _RICH.get(part[0].channel)
    riches = [draft.rich for draft in part]
    return None if join is None or any(rich is None for rich in riches) else join(riches)
