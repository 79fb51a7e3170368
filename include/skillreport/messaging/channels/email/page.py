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
_BODY_END = re.compile("</body", re.IGNORECASE)
_STYLE = re.compile(r"<style\b[^>]*>.*?</style\s*>", re.IGNORECASE | re.DOTALL)


# Without it, phones show a page in the width of a desktop, in tiny letters.
_VIEWPORT = '<meta name="viewport" content="width=device-width">'
_BODY_STYLE = "font-family:sans-serif;line-height:1.5;overflow-wrap:anywhere"


def page_of(subject: str, body: str) -> str:
    """The page of a plain text."""
    lines = html.escape(body).replace("\n", "<br>\n")
    content = f"<h3>{html.escape(subject)}</h3><p>{lines}</p>"
    return f'<html><head>{_VIEWPORT}</head><body style="{_BODY_STYLE}">{content}</body></html>'


def merged_page(pages: Sequence[str]) -> str:
    """One page with the content of these pages, each in a ``div`` with the attributes of its body."""
    styles = "".join(dict.fromkeys(style for page in pages for style in _STYLE.findall(page)))
    content = "<hr>".join(map(_content, pages))
    return f'<html><head>{_VIEWPORT}{styles}</head><body style="{_BODY_STYLE}">{content}</body></html>'


def with_paragraphs(page: str, texts: Sequence[str]) -> str:
    """The page with these texts at the end of its body."""
    added = "".join(f"\n<p>{html.escape(text.strip()).replace(chr(10), '<br>')}</p>" for text in texts)
    *_, end = (len(page), *(match.start() for match in _BODY_END.finditer(page)))
    return f"{page[:end]}{added}\n{page[end:]}"


def _content(page: str) -> str:
    body = _BODY.search(page)
    attributes = body.group(1).rstrip("/") if body else ""
    return f"<div{attributes}>{_STYLE.sub('', _AROUND.sub('', page)).strip()}</div>"
