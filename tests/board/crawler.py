"""Every page and dialog of the board that links lead to, and the Japanese on English ones that is no data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

from tests.board.conftest import Board

JAPANESE = re.compile("[\u3041-\u30ff\u4e00-\u9fff]")

_PREFIX = "/skill-batch-board"
_VOID = frozenset(("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "wbr"))
# The rows of a test name runs that it or Airflow does not have, and an invoice without its content. A checkout may have the help.
_NOT_MADE = ("/executions/", "/invoices/inv-", "/help/")
# Each month has a link to the month before and to the next one: so many months of a page are read.
_MONTHS = 3
# Each row has a button to the same dialog: so many of an operation are opened.
_DIALOGS = 4
_MONTH = re.compile(r"(?<==)\d{4}-\d{2}(-\d{2})?")
# Attributes that people read or hear.
_READ = ("title", "aria-label", "alt", "placeholder")


class _Texts(HTMLParser):
    """The texts that are no data: names are in ``bdi``, sentences of the data have their language, and values are in fields."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, bool]] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [str(given[name]) for name in _READ if given.get(name) and not self._is_data]
        is_data = tag in ("bdi", "textarea", "title") or given.get("lang") == "ja"
        if tag not in _VOID:
            self._open.append((tag, self._is_data or is_data))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._is_data:
            self.found.append(data.strip())

    @property
    def _is_data(self) -> bool:
        return bool(self._open) and self._open[-1][1]


def japanese_outside_data(html: str) -> list[str]:
    """The texts with Japanese letters that are neither names nor sentences of the data."""
    parser = _Texts()
    parser.feed(html)
    return [text for text in parser.found if JAPANESE.search(text)]


def pages(board: Board, *starts: str, most: int = 400, **arguments: object) -> Iterator[tuple[str, str]]:
    """The address and the HTML of each page and dialog that links and buttons lead to, and of those that they lead to."""
    waiting, seen = list(starts), set(starts)
    months, dialogs = Counter[str](), Counter[str]()
    while waiting:
        path = waiting.pop(0)
        answer = board.get(path, **arguments)
        is_page = "text/html" in answer.headers.get("content-type", "")
        if not is_page or path.startswith(_NOT_MADE) or path.split("?")[0].endswith("/clear"):
            continue
        assert answer.status_code == 200, (path, answer.status_code)
        yield path, answer.text
        for found in re.findall(r'(?:href|hx-get)="([^"]+)"', answer.text):
            address = unescape(found).removeprefix(_PREFIX)
            if not unescape(found).startswith(f"{_PREFIX}/") or address in seen or len(seen) >= most:
                continue
            dialog = address.partition("?")[0]
            dialogs[dialog] += dialog.startswith("/operations/")
            if dialogs[dialog] > _DIALOGS:
                continue
            seen.add(address)
            months[_MONTH.sub("", address)] += 1
            if not _MONTH.search(address) or months[_MONTH.sub("", address)] <= _MONTHS:
                waiting.append(address)
