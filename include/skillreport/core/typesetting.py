"""Create the PDFs of invoices and reports with typst, with the same fonts on every machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from typst import Compiler, Fonts, TypstError

from include.skillreport.core.errors import BatchError

# See the README in this folder.
_FONT_FOLDER = Path(__file__).with_name("fonts")

# Typst's error for a character without a glyph, and its notation for an invisible character.
_UNPRINTABLE = re.compile(r'(?:the text|disallowed codepoint) `"(.+?)"`')
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")


class UnprintableError(BatchError):
    """The fonts have no glyph for ``character``. An invisible character is written as, for example, ``U+200B``."""

    def __init__(self, character: str) -> None:
        super().__init__(f"フォントにない文字「{character}」があるため、PDF を作れません")
        self.character = character


def compile_pdf(
    template: Path,
    name: str,
    data: str,
    *,
    dated: date,
    standards: Literal["a-2a"] | None = None,
    images: Mapping[str, bytes] | None = None,
) -> bytes:
    """Compile the template, with ``data`` as ``sys.inputs.<name>``, to a PDF with this date. Equal input gives equal bytes.

    ``images`` become ``sys.inputs.images``, a JSON object of byte arrays. ``standards``: ``a-2a`` for the archive. Call this from one
    thread at a time. Do not call it in a process forked after its parent created a PDF: typst's threads do not exist there.

    :raises UnprintableError: a glyph is missing and the standard forbids that. Without a standard, a box is printed.
    :raises TypstError: the template is wrong.
    """
    try:
        pdf = _compiler(template).compile(
            format="pdf",
            sys_inputs={
                name: data,
                "images": _json_of(images or {}),
            },
            # Midnight UTC is the same day in Tokyo and in UTC.
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


def _json_of(images: Mapping[str, bytes]) -> str:
    return (
        "{" + ", ".join(f"{json.dumps(key)}: {_array_of(content)}" for key, content in images.items()) + "}"
    )


# The documents of a run share the logo and seal. Converting a large image takes longer than the rest of its page.
@lru_cache(maxsize=4)
def _array_of(content: bytes) -> str:
    return json.dumps(list(content))


@cache
def _compiler(template: Path) -> Compiler:
    """The compiler reads the fonts once per process, and uses no system fonts."""
    return Compiler(str(template), font_paths=_fonts(), ignore_system_fonts=True)


@cache
def _fonts() -> Fonts:
    return Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=[str(_FONT_FOLDER)],
    )
