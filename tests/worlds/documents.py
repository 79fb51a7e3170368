"""What a reader of our documents sees."""

from __future__ import annotations

from pathlib import Path

from pypdfium2 import PdfDocument


def pages_of(document: bytes | Path) -> list[str]:
    """The text of each page of a PDF. The library that draws it on the board reads it four times as fast as pypdf."""
    with PdfDocument(document) as opened:  # type: ignore[no-untyped-call]
        return [page.get_textpage().get_text_range().replace("\r\n", "\n") for page in opened]
