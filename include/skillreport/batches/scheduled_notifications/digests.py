"""Merges reminders of one kind for one recipient into one message. Pure: messages in, messages out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.outbox import MessageDraft

# The maximum number of reminders in one message, so that it can still be read.
_MOST = 10

_RULE = "\n\n――――――――\n\n"
_MORE = {"ja": "（ほか {} 件）", "en": " (and {} more)"}


def digests(drafts: Iterable[MessageDraft], kinds: Collection[str]) -> list[MessageDraft]:
    """Merge drafts of one kind for one recipient into one message. ``kinds`` are the template keys to merge.

    Merged drafts stay in the result (``is_merged``), so each event keeps its key and is never sent twice.
    """
    groups: dict[tuple[str | None, Channel, str], list[MessageDraft]] = {}
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
                result.append(_digest(part))
                result += [replace(draft, subject="", body="", rich=None, is_merged=True) for draft in part]
    return result


def _parts(group: Sequence[MessageDraft]) -> Iterator[Sequence[MessageDraft]]:
    """The group in parts that fit into one message. A reminder that is too long by itself is not merged."""
    part = list[MessageDraft]()
    for draft in group:
        if part and (len(part) == _MOST or not _fits([*part, draft])):
            yield part
            part = []
        part.append(draft)
    yield part


def _fits(part: Sequence[MessageDraft]) -> bool:
    """True if the channel accepts these reminders as one message."""
    return part[0].channel.fits(_text(part), _riches(part))


def _digest(part: Sequence[MessageDraft]) -> MessageDraft:
    first, riches = part[0], _riches(part)
    keys = "\n".join(sorted(draft.dedupe_key for draft in part))
    more = _MORE[first.language].format(len(part) - 1)
    return replace(
        first,
        dedupe_key=f"digest:{first.template_key}:{hashlib.sha256(keys.encode()).hexdigest()[:24]}",
        subject=first.subject + more,
        body=_text(part),
        rich=None if riches is None else first.channel.merge(riches),
        priority=min(draft.priority for draft in part),
        dedupe_until=max(draft.dedupe_until or draft.due_at for draft in part),
    )


def _text(part: Sequence[MessageDraft]) -> str:
    return _RULE.join(draft.body for draft in part)


def _riches(part: Sequence[MessageDraft]) -> list[Any] | None:
    """The messages in the channel's own format. None if a message has none."""
    riches = [draft.rich for draft in part]
    return None if any(rich is None for rich in riches) else riches
