"""The HTML page of an e-mail."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

# The parts around the content of a page. Its styles are kept.
_AROUND = re.compile(
    r"<!doctype[^>]*>|</?(?:html|body)\b[^>]*>|<head\b[^>]*>.*?</head\s*>", re.IGNORECASE | re.DOTALL
)
_BODY = re.compile(r"<body\b([^>]*)>", re.IGNORECASE)
_STYLE = re.compile(r"<style\b[^>]*>.*?</style\s*>", re.IGNORECASE | re.DOTALL)


def page_of(subject: str, body: str) -> str:
    """The page of a plain text."""
    lines = html.escape(body).replace("\n", "<br>\n")
    return f"<html><body><h3>{html.escape(subject)}</h3><p>{lines}</p></body></html>"


def merged_page(pages: Sequence[str]) -> str:
    """One page with the content of these pages, each in a ``div`` with the attributes of its body."""
    styles = "".join(dict.fromkeys(style for page in pages for style in _STYLE.findall(page)))
    head = f"<head>{styles}</head>" if styles else ""
    return f"<html>{head}<body>{'<hr>'.join(map(_content, pages))}</body></html>"


def _content(page: str) -> str:
    body = _BODY.search(page)
    attributes = body.group(1).rstrip("/") if body else ""
    return f"<div{attributes}>{_STYLE.sub('', _AROUND.sub('', page)).strip()}</div>"
