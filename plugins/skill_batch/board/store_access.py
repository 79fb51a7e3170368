"""The object store for the board's pages: a few concurrent reads and uploads, each with a time limit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from skill_batch.object_storage import UPLOAD_VARIABLE, VARIABLE, find_upload_store, object_store
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.storage_errors import StorageError

log = logging.getLogger(__name__)

Found = TypeVar("Found")

# A request waits this long for its turn, and its work may last this long. Hanging work keeps its place until the store answers.
MOST_AT_ONCE = 2
WAIT_SECONDS = 2.0
WORK_SECONDS = 10.0
_TURNS = threading.BoundedSemaphore(MOST_AT_ONCE)


class ArchivedFileError(Exception):
    """The file cannot be shown or stored. The message tells the operator the problem and the fix. ``status`` is the HTTP status."""

    status = 409


class ArchiveBusyError(ArchivedFileError):
    """The store does not answer, or other requests wait for it."""

    status = 503


@dataclass(frozen=True)
class _Access:
    """The way to open the store, the Japanese name of what fails, and the Variable to check."""

    open: Callable[[], ObjectStore | None]
    problem: str
    variable: str


READ = _Access(object_store, "から {key} を読めません", VARIABLE)
UPLOAD = _Access(find_upload_store, "に {key} を書けません", UPLOAD_VARIABLE)


def in_store(key: str, work: Callable[[ObjectStore], Found], access: _Access = READ) -> Found:
    """Run ``work`` on the store in a separate thread. ``key`` is the name in an error's message.

    :raises ArchivedFileError: the store is busy, hangs or fails.
    """
    if not _TURNS.acquire(timeout=WAIT_SECONDS):
        raise ArchiveBusyError(
            f"保存先の読み書きが混み合っています（同時に {MOST_AT_ONCE} 件まで）。少し待ってからやり直してください。"
        )
    answer: Future[Found] = Future()

    def in_thread() -> None:
        try:
            answer.set_result(_worked(key, work, access))
        except BaseException as error:
            answer.set_exception(error)
        finally:
            _TURNS.release()

    # A daemon thread, so that a hanging store does not prevent the API server from ending.
    threading.Thread(target=in_thread, name="skill-batch-board-store", daemon=True).start()
    try:
        return answer.result(WORK_SECONDS)
    except TimeoutError:
        raise ArchiveBusyError(
            f"保存先が {WORK_SECONDS:g} 秒以内に応答しません（{key}）。保存先の状態を確認し、後でやり直してください。"
        ) from None


def _worked(key: str, work: Callable[[ObjectStore], Found], access: _Access) -> Found:
    try:
        store = access.open()
        if store is None:
            raise SettingsError(f"Variable '{access.variable}' がありません")
        return work(store)
    except Exception as error:
        if access is READ and isinstance(error, FileNotFoundError):
            raise ArchivedFileError(
                f"{key} が保存先にありません。バックアップか保存先の版の履歴から戻してください。"
            ) from None
        # Each kind of object store has its own errors.
        log.warning("%s: the object store fails", key, exc_info=error)
        # The text of an unknown error may quote addresses and names of secrets.
        reason = str(error) if isinstance(error, SettingsError | StorageError) else type(error).__name__
        raise ArchivedFileError(
            f"保存先{access.problem.format(key=key)}（{reason}）。Variable {access.variable} と保存先を確認してください。"
        ) from error
