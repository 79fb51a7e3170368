"""PDFs by typst, with the same Japanese fonts on every machine: what invoices and reports share."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from typst import Compiler, Fonts, TypstError

from include.errors import BatchError

_FONT_PACKAGES = ("noto_cjk_sans_jp_regular", "noto_cjk_sans_jp_bold")

# How typst refuses a character without a glyph, and how it writes one that cannot be seen.
_UNPRINTABLE = re.compile(r'(?:the text|disallowed codepoint) `"(.+?)"`')
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")


class UnprintableError(BatchError):
    """The fonts have no glyph for ``character`` (itself, or ``U+200B`` for one that cannot be seen)."""

    def __init__(self, character: str) -> None:
        super().__init__(f"日本語フォントにない文字「{character}」があるため、PDF を作れません")
        self.character = character


def compile_pdf(
    template: Path, name: str, data: str, *, dated: date, standards: Literal["a-2a"] | None = None
) -> bytes:
    """The template with ``data`` as ``sys.inputs.<name>``, as a PDF that is dated on this day. The same input gives the same bytes.

    ``standards``: ``a-2a`` for the archive. In one thread at a time, and never in a process that was forked after
    its parent's first PDF: typst's threads are not in it.

    :raises UnprintableError: the standard forbids a missing glyph, and one is; without a standard it is printed as a box.
    :raises TypstError: the template is wrong.
    """
    try:
        pdf = _compiler(template).compile(
            format="pdf",
            sys_inputs={name: data},
            # Midnight UTC: the same day in Tokyo as for a reader that shows UTC.
            timestamp=datetime(dated.year, dated.month, dated.day, tzinfo=UTC),
            pdf_standards=standards,
        )
    except TypstError as error:
        unprintable = _UNPRINTABLE.search(error.message)
        if unprintable is None:
            raise
        character = _ESCAPED.sub(lambda escaped: f"U+{escaped[1].upper():0>4}", unprintable[1])
        raise UnprintableError(character) from error
    assert isinstance(pdf, bytes)
    return pdf


@cache
def _compiler(template: Path) -> Compiler:
    """The process's compiler of a template: the fonts are read once, and none but ours are ever used."""
    return Compiler(str(template), font_paths=_fonts(), ignore_system_fonts=True)


@cache
def _fonts() -> Fonts:
    return Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=[str(files(package)) for package in _FONT_PACKAGES],
    )
