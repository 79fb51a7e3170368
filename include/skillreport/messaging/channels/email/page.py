"""The HTML page of an e-mail."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# Tags of the parts around the content of a page, and of its styles. Each pass over a page is linear: tenants write pages.
_TAG = re.compile(r"<(!doctype|/?(?:html|head|body|style))\b", re.IGNORECASE)
_BODY_END = re.compile("</body", re.IGNORECASE)

# Without it, phones show a page in the width of a desktop, in tiny letters.
_VIEWPORT = '<meta name="viewport" content="width=device-width">'
_BODY_STYLE = "font-family:sans-serif;line-height:1.5;overflow-wrap:anywhere"


def page_of(subject: str, body: str) -> str:
    """The page of a plain text."""
    lines = html.escape(body).replace("\n", "<br>\n")
    content = f"<h3>{html.escape(subject)}</h3><p>{lines}</p>"
    return f'<html><head>{_VIEWPORT}</head><body style="{_BODY_STYLE}">{content}</body></html>'


def merged_page(pages: Sequence[str]) -> str:
    """One page with the content of these pages, each in a ``div`` with the attributes of its body, and with all their styles."""
    parts = [_parts_of(page) for page in pages]
    styles = "".join(dict.fromkeys(style for part in parts for style in part.styles))
    content = "<hr>".join(f"<div{part.attributes}>{part.content}</div>" for part in parts)
    return f'<html><head>{_VIEWPORT}{styles}</head><body style="{_BODY_STYLE}">{content}</body></html>'


def with_paragraphs(page: str, texts: Sequence[str]) -> str:
    """The page with these texts at the end of its body."""
    added = "".join(f"\n<p>{html.escape(text.strip()).replace(chr(10), '<br>')}</p>" for text in texts)
    *_, end = (len(page), *(match.start() for match in _BODY_END.finditer(page)))
    return f"{page[:end]}{added}\n{page[end:]}"


class _Parts(NamedTuple):
    """A page: the attributes of its body, its styles with their tags, and the rest without its head."""

    attributes: str
    styles: Sequence[str]
    content: str


def _parts_of(page: str) -> _Parts:
    tags = list(_tags(page))
    last_ends = {name: start for name, start, _ in tags if name.startswith("/")}
    attributes, styles, content = "", list[str](), list[str]()
    # Where the content continues, and where an open style begins; None: the page is in its head, or in no style.
    shown: int | None = 0
    style: int | None = None
    for name, start, end in tags:
        if style is not None:
            if name == "/style":
                styles.append(page[style:end])
                style, shown = None, None if shown is None else end
            continue
        if name in ("head", "style") and last_ends.get(f"/{name}", -1) < start:
            continue  # it has no end, so it is shown as it is
        if shown is not None:
            content.append(page[shown:start])
        if name == "style":
            style = start
        elif name == "head":
            shown = None
        elif shown is not None or name in ("/head", "body"):
            shown = end
        if name == "body" and not attributes:
            attributes = page[start + len("<body") : end - 1].rstrip("/")
    if shown is not None:
        content.append(page[shown:])
    return _Parts(attributes, styles, "".join(content).strip())


def _tags(page: str) -> Iterator[tuple[str, int, int]]:
    """Each tag's name in lower case, begin and end. A tag without an end is text."""
    end = 0
    for match in _TAG.finditer(page):
        if match.start() >= end:
            end = page.find(">", match.end()) + 1
            if not end:
                return
            yield match[1].lower(), match.start(), end
