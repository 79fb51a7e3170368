"""Archived invoices and accounting files: read from the object store, compared with their SHA-256, rendered as images."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pypdfium2

from skill_batch.board.store_access import ArchivedFileError, in_store
from include.skillreport.billing import bank_inbox
from include.skillreport.billing.bank_inbox import Incoming
from include.skillreport.billing.documents.invoice import file_key
from include.skillreport.core.execution.object_store import ObjectStore

# Larger files are not opened. An invoice with a hundred lines has less than 1 MB.
MOST_BYTES = 20 * 1024 * 1024
# The page shows this many sheets; the downloaded file has all.
MOST_SHEETS = 30

_DOTS_PER_INCH = 110
_POINTS_PER_INCH = 72
_MOST_PIXELS = 4_000

# The last checked file is cached this long, because each sheet is a separate request.
KEPT_SECONDS = 30.0

# PDFium is not thread-safe.
_PDFIUM = threading.Lock()


@dataclass(frozen=True)
class _KeptFile:
    sha256: str
    content: bytes
    read_at: float


_kept: _KeptFile | None = None


def forget() -> None:
    """Remove the last file from the cache."""
    global _kept
    _kept = None


def read_archived(row: Mapping[str, Any]) -> bytes:
    """The content of a file of the statement ``invoice_files``, exactly as archived.

    :raises ArchivedFileError: the file is missing, too large or was changed, or the store cannot be read or hangs.
    """
    key = file_key(row["period_start"], row["number"], row["revision"], row["format"])
    return read_recorded(key, row["sha256"], row["bytes"])


def read_recorded(key: str, sha256: str, size: int) -> bytes:
    """The content of a file of the store, exactly as recorded. The last file is cached for some seconds.

    :raises ArchivedFileError: as ``read_archived``.
    """
    global _kept
    if size > MOST_BYTES:
        raise ArchivedFileError(
            f"{key} は大きすぎるため開けません（{size:,} バイト）。保存先から直接取得してください。"
        )
    kept = _kept
    if kept and kept.sha256 == sha256 and time.monotonic() - kept.read_at < KEPT_SECONDS:
        return kept.content
    content = in_store(key, lambda store: _read(store, key))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ArchivedFileError(
            f"{key} の内容が記録と違います（SHA-256 が一致しません）。改ざんか破損の可能性があるため表示しません。"
            "保存先の版の履歴を調べてください。"
        )
    _kept = _KeptFile(sha256, content, time.monotonic())
    return content


def list_incoming() -> Incoming:
    """The bank files that are not imported yet. :raises ArchivedFileError: the store cannot be read or hangs."""
    return in_store(bank_inbox.INCOMING, lambda store: bank_inbox.incoming(store, datetime.now(UTC)))


def _read(store: ObjectStore, key: str) -> bytes:
    with store.reader(key) as file:
        return file.read(MOST_BYTES + 1)


def count_sheets(pdf: bytes) -> int:
    """The number of pages of the PDF. :raises ArchivedFileError: it is no PDF."""
    with _opened(pdf) as document:
        return len(document)


def draw_sheet(pdf: bytes, number: int) -> bytes | None:
    """A page as PNG, numbered from 1; None if the PDF has no such page, or it is beyond ``MOST_SHEETS``.

    :raises ArchivedFileError: it is no PDF.
    """
    with _opened(pdf) as document:
        if not 1 <= number <= min(len(document), MOST_SHEETS):
            return None
        sheet = document[number - 1]
        scale = min(_DOTS_PER_INCH / _POINTS_PER_INCH, _MOST_PIXELS / max(sheet.get_size()))
        image = sheet.render(scale=scale).to_pil()
    drawn = BytesIO()
    image.save(drawn, "PNG")
    return drawn.getvalue()


@contextmanager
def _opened(pdf: bytes) -> Iterator[pypdfium2.PdfDocument]:
    """The document. :raises ArchivedFileError: it is no PDF, or the block cannot read a page of it."""
    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(pdf)  # type: ignore[no-untyped-call]
            try:
                yield document
            finally:
                document.close()  # type: ignore[no-untyped-call]
        except pypdfium2.PdfiumError as error:
            raise ArchivedFileError(f"PDF として開けません（{error}）。") from error
