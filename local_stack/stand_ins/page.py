"""The page with the received messages."""

from __future__ import annotations

import html
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from local_stack.stand_ins.recorder import Arrived

_TOKYO = ZoneInfo("Asia/Tokyo")

_PAGE = """<!doctype html><html lang="ja"><head><meta charset="utf-8"><title>届いた通知</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{{color-scheme:light dark;--back:#fff;--text:#111;--card:#f6f6f6;--small:#555;--line:#36c}}
@media (prefers-color-scheme:dark){{:root{{--back:#111318;--text:#e7eaf0;--card:#1b1f27;--small:#a8b2c0;--line:#7db4ff}}}}
body{{font-family:sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;background:var(--back);color:var(--text)}}
article{{border-left:4px solid var(--line);background:var(--card);padding:.5rem 1rem;margin:1rem 0}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere}}small{{color:var(--small)}}</style></head>
<body><main><h1>届いた通知</h1><p>{count} 件（新しい順）</p>{messages}</main></body></html>"""

_MESSAGE = """<article><small>{channel} → {destination} ・ {time}</small><h2>{subject}</h2><pre>{text}</pre>
<small>{files}</small></article>"""


def listing(messages: Sequence[Arrived]) -> str:
    """The messages, newest first. All texts are escaped, because a test may send HTML."""
    return _PAGE.format(count=len(messages), messages="".join(map(_shown, reversed(messages))))


def _shown(message: Arrived) -> str:
    parts = {
        "channel": message.channel,
        "destination": message.destination or "—",
        "time": f"{message.arrived_at.astimezone(_TOKYO):%Y-%m-%d %H:%M:%S}",
        "subject": message.subject,
        "text": message.text,
        "files": "、".join(f"添付: {file['name']}（{file['bytes']:,} バイト）" for file in message.files),
    }
    return _MESSAGE.format(**{name: html.escape(text) for name, text in parts.items()})
