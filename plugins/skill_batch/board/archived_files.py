"""Archived files of invoices and the accountant's files: read from the object store, checked against their SHA-256, drawn as images."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, TypeVar

import pypdfium2

from skill_batch.object_storage import object_store
from include.skillreport.billing import bank_inbox
from include.skillreport.billing.bank_inbox import Incoming
from include.skillreport.billing.documents.invoice import file_key
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.object_store import ObjectStore

log = logging.getLogger(__name__)

Found = TypeVar("Found")

# A larger file is not opened. An invoice with a hundred lines has less than 1 MB.
MOST_BYTES = 20 * 1024 * 1024
# The page shows this many sheets; the downloaded file has all of them.
MOST_SHEETS = 30

_DOTS_PER_INCH = 110
_POINTS_PER_INCH = 72
_MOST_PIXELS = 4_000

# A request waits this long for a free read, and a read may last this long. A read that hangs continues in its thread and occupies its place
# until the store answers.
MOST_READS = 2
WAIT_SECONDS = 2.0
READ_SECONDS = 10.0
_READS = threading.BoundedSemaphore(MOST_READS)

# The last checked file is cached this long, because each sheet of a document is a separate request.
KEPT_SECONDS = 30.0

# Two threads must not call PDFium at the same time.
_PDFIUM = threading.Lock()


class ArchivedFileError(Exception):
    """The file cannot be shown. The message is for the operator: what is wrong, and what to do. ``status`` is the HTTP status."""

    status = 409


class ArchiveBusyError(ArchivedFileError):
    """The store does not answer, or other reads wait for it."""

    status = 503


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
    """The content of a file of the statement ``invoice_files``, exactly as it was archived.

    :raises ArchivedFileError: the file is missing, too large or not the archived one, or the store cannot be read or hangs.
    """
    key = file_key(row["period_start"], row["number"], row["revision"], row["format"])
    return read_recorded(key, row["sha256"], row["bytes"])


def read_recorded(key: str, sha256: str, size: int) -> bytes:
    """The content of a file of the store, exactly as it was recorded. The last file is cached for some seconds.

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
    content = _in_time(key, lambda store: _read(store, key))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ArchivedFileError(
            f"{key} の内容が記録と違います（SHA-256 が一致しません）。改ざんか破損の可能性があるため表示しません。"
            "保存先の版の履歴を調べてください。"
        )
    _kept = _KeptFile(sha256, content, time.monotonic())
    return content


def list_incoming() -> Incoming:
    """The banks' files that are not imported. :raises ArchivedFileError: the store cannot be read or hangs."""
    return _in_time(bank_inbox.INCOMING, lambda store: bank_inbox.incoming(store, datetime.now(UTC)))


def _in_time(key: str, read: Callable[[ObjectStore], Found]) -> Found:
    """What ``read`` finds in the store, in a separate thread. :raises ArchivedFileError: the store is busy, hangs or fails."""
    if not _READS.acquire(timeout=WAIT_SECONDS):
        raise ArchiveBusyError(
            f"保存先の読み取りが混み合っています（同時に {MOST_READS} 件まで）。少し待ってから開き直してください。"
        )
    answer: Future[Found] = Future()

    def work() -> None:
        try:
            answer.set_result(_from_store(key, read))
        except BaseException as error:
            answer.set_exception(error)
        finally:
            _READS.release()

    # A daemon thread, so a store that hangs does not prevent the API server from ending.
    threading.Thread(target=work, name="skill-batch-board-archive", daemon=True).start()
    try:
        return answer.result(READ_SECONDS)
    except TimeoutError:
        raise ArchiveBusyError(
            f"保存先が {READ_SECONDS:g} 秒以内に応答しません（{key}）。保存先の状態を確認し、後で開き直してください。"
        ) from None


def _read(store: ObjectStore, key: str) -> bytes:
    with store.reader(key) as file:
        return file.read(MOST_BYTES + 1)


def _from_store(key: str, read: Callable[[ObjectStore], Found]) -> Found:
    try:
        return read(object_store())
    except FileNotFoundError:
        raise ArchivedFileError(
            f"{key} が保存先にありません。バックアップか保存先の版の履歴から戻してください。"
        ) from None
    except Exception as error:
        # Each kind of object store has its own errors.
        log.warning("%s cannot be read from the object store", key, exc_info=error)
        # The text of an unknown error may quote addresses and names of secrets.
        reason = str(error) if isinstance(error, SettingsError) else type(error).__name__
        raise ArchivedFileError(
            f"保存先から {key} を読めません（{reason}）。Variable skill_batch_storage_url と保存先を確認してください。"
        ) from error


def count_sheets(pdf: bytes) -> int:
    """How many pages the PDF has. :raises ArchivedFileError: it is no PDF."""
    with _opened(pdf) as document:
        return len(document)


def draw_sheet(pdf: bytes, number: int) -> bytes | None:
    """A page as PNG, numbered from 1; None: the PDF has no such page, or it is beyond ``MOST_SHEETS``.

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
