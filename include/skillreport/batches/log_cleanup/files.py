"""Compresses, archives and deletes old log files. Reports files that must not be changed, with the reason.

Every step opens the next directory by name from the open parent, never uses a path and never follows a link. So a user who can write below
a root cannot redirect it to other files.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import os
import re
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

from include.skillreport.batches.log_cleanup.settings import LogClassSettings
from include.skillreport.core.errors import BatchError, reason_of
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.storage_errors import storage_errors_named

# app.log, app.log.1, app-2026-10-31.log, access.log-20261031, and each of these with .gz
_LOG_NAME = re.compile(r"[\w.+@-]+\.(log|jsonl|ndjson|out|err)([.-]\d[\d_-]*)?(\.gz)?", re.ASCII)
_UNFINISHED = re.compile(r"\.[\w.+@-]+\.gz\.part", re.ASCII)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_BLOCK_BYTES = 1 << 20
# Nested folders. Each level needs an open descriptor, and a process has some hundreds.
_MOST_LEVELS = 100


class LogRootError(BatchError):
    """A root of log files does not exist, or is no real directory."""


@dataclass
class FileReport:
    """The result for a class's files. ``plan`` lists each file in a dry run, ``untouched`` the files that an operator should check, and
    ``errors`` the unchanged files that could not be compressed, archived or deleted. ``count`` gets the run's figures after each file.
    """

    compressed: int = 0
    archived: int = 0
    deleted: int = 0
    bytes_freed: int = 0
    plan: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    count: Callable[..., object] = lambda **_: None

    def add(self, *, compressed: int = 0, archived: int = 0, deleted: int = 0, bytes_freed: int = 0) -> None:
        """Add what was done with one file."""
        self.compressed += compressed
        self.archived += archived
        self.deleted += deleted
        self.bytes_freed += bytes_freed
        self.count(
            filesCompressed=compressed, filesArchived=archived, filesDeleted=deleted, bytesFreed=bytes_freed
        )


@dataclass(frozen=True)
class _Found:
    """An entry below a class's folder. ``shown`` is its path in one line."""

    folder_fd: int
    name: str
    path: Path
    status: os.stat_result

    @property
    def shown(self) -> str:
        return shown(self.path)

    def last_written_on(self) -> date:
        return datetime.fromtimestamp(self.status.st_mtime, UTC).astimezone(JAPAN).date()


def shown(path: Path) -> str:
    """A path with any bytes, as one line of text."""
    return ascii(str(path)) if not str(path).isprintable() else str(path)


def unknown_entries(root: Path, classes: dict[str, LogClassSettings]) -> list[str]:
    """The entries of a root that are not a class's folder."""
    with _directory(root) as root_fd:
        return [
            f"{shown(root / entry.name)}: 種別のフォルダーではありません"
            for entry in sorted(os.scandir(root_fd), key=lambda entry: entry.name)
            if entry.name not in classes or not entry.is_dir(follow_symlinks=False)
        ]


def clean_class(
    root: Path,
    name: str,
    settings: LogClassSettings,
    compress_days: int,
    today: date,
    store: ObjectStore | None,
    report: FileReport,
) -> None:
    """Compress and delete the old files of one class below one root, and add them to the report. Without a store, only lists the actions.

    Files changed within ``retention_days`` days before ``today`` (Asia/Tokyo) stay. A failing file (for example because the disk is full)
    or a too deep folder does not stop the others.
    :raises LogRootError: the root does not exist.
    """
    with _directory(root) as root_fd:
        try:
            folder_fd = os.open(name, _DIRECTORY, dir_fd=root_fd)
        except FileNotFoundError:
            return
        except OSError as error:
            # unknown_entries reports links and entries that are not directories.
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                report.untouched.append(f"{shown(root / name)}: フォルダーを開けません（{error.strerror}）")
            return
        try:
            for found in _walk(folder_fd, root / name, report):
                folder = found.path.parent
                try:
                    with storage_errors_named(f"ログのフォルダー {shown(folder)}", folder):
                        _process_file(found, name, settings, compress_days, today, store, report)
                except Exception as error:
                    # A file can cause any error. The unit fails at the end.
                    report.errors.append(f"{found.shown}: {reason_of(error)}")
        finally:
            os.close(folder_fd)


def _process_file(
    found: _Found,
    log_class: str,
    settings: LogClassSettings,
    compress_days: int,
    today: date,
    store: ObjectStore | None,
    report: FileReport,
) -> None:
    age = (today - found.last_written_on()).days
    is_unfinished = bool(_UNFINISHED.fullmatch(found.name))
    if not is_unfinished and not _LOG_NAME.fullmatch(found.name):
        report.untouched.append(f"{found.shown}: ログファイルの名前ではありません")
        return
    goes = age > (compress_days if is_unfinished else settings.retention_days)
    if not goes and (age <= compress_days or found.name.endswith(".gz") or is_unfinished):
        return
    try:
        descriptor = os.open(found.name, _FILE, dir_fd=found.folder_fd)
    except FileNotFoundError:
        return  # rotated in the meantime
    except PermissionError:
        report.untouched.append(f"{found.shown}: 読む権限がありません")
        return
    except OSError:
        report.untouched.append(f"{found.shown}: リンクか特殊なファイルに変わりました")
        return
    with os.fdopen(descriptor, "rb") as source:
        if not os.path.samestat(os.fstat(descriptor), found.status):
            return  # the name belongs to another file now: the next run checks it
        if _is_open_elsewhere(descriptor):
            report.untouched.append(f"{found.shown}: 使用中か、そうでないと確かめられません")
            return
        if store is None:
            report.plan.append(
                f"{'削除' if goes else '圧縮'}: {found.shown}（{found.status.st_size:,} バイト）"
            )
            return
        if goes:
            is_archived = settings.archived and not is_unfinished
            if is_archived:
                _archive(source, found, log_class, store)
            is_deleted = _unlink_if_same(found)
            report.add(
                archived=int(is_archived),
                deleted=int(is_deleted),
                bytes_freed=found.status.st_size if is_deleted else 0,
            )
        else:
            _compress(source, found, report)


def _walk(folder_fd: int, path: Path, report: FileReport, level: int = 1) -> Iterator[_Found]:
    """Regular files below the open directory. Reports links, special files and too deep folders."""
    with os.scandir(folder_fd) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        try:
            status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield _Found(folder_fd, name, path / name, status)
        elif stat.S_ISDIR(status.st_mode):
            if level == _MOST_LEVELS:
                report.errors.append(
                    f"{shown(path / name)}: フォルダーの入れ子が {_MOST_LEVELS} 段を超えるため、この中は処理しません"
                )
                continue
            try:
                inner = os.open(name, _DIRECTORY, dir_fd=folder_fd)
            except OSError:
                report.untouched.append(f"{shown(path / name)}: フォルダーを開けません")
                continue
            try:
                yield from _walk(inner, path / name, report, level + 1)
            finally:
                os.close(inner)
        else:
            kind = "リンク" if stat.S_ISLNK(status.st_mode) else "特殊なファイル"
            report.untouched.append(f"{shown(path / name)}: {kind}はたどりません")


def _compress(source: IO[bytes], found: _Found, report: FileReport) -> None:
    """Write ``name.gz`` in the same folder, with the file's times, and then delete the file."""
    target, unfinished = f"{found.name}.gz", f".{found.name}.gz.part"
    if _exists(target, found.folder_fd):
        # A run that was killed between the steps left both files.
        try:
            if not _holds_the_same(target, found.folder_fd, source):
                report.untouched.append(
                    f"{found.shown}: 圧縮先 {shown(Path(target))} が別の内容で既にあります"
                )
                return
        except (EOFError, zlib.error):
            raise BatchError(
                f"圧縮先 {shown(Path(target))} が壊れています。要らなければ消してください。"
            ) from None
        size = os.stat(target, dir_fd=found.folder_fd, follow_symlinks=False).st_size
    else:
        with suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=found.folder_fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = stat.S_IMODE(found.status.st_mode)
        written = os.open(unfinished, flags, mode, dir_fd=found.folder_fd)
        try:
            with os.fdopen(written, "wb") as sink:
                with gzip.GzipFile(
                    found.name, "wb", fileobj=sink, mtime=int(found.status.st_mtime)
                ) as packed:
                    shutil.copyfileobj(source, packed, _BLOCK_BYTES)
                sink.flush()
                os.fchmod(sink.fileno(), mode)
                os.utime(sink.fileno(), ns=(found.status.st_atime_ns, found.status.st_mtime_ns))
                os.fsync(sink.fileno())
                size = sink.tell()
            os.rename(unfinished, target, src_dir_fd=found.folder_fd, dst_dir_fd=found.folder_fd)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(unfinished, dir_fd=found.folder_fd)
            raise
    if _unlink_if_same(found):
        report.add(compressed=1, bytes_freed=found.status.st_size - size)
    else:
        # The file was written to in the meantime. The next run compresses it.
        os.unlink(target, dir_fd=found.folder_fd)
        report.untouched.append(f"{found.shown}: 圧縮中に変更されました")


def _archive(source: IO[bytes], found: _Found, log_class: str, store: ObjectStore) -> None:
    """Store the file's compressed bytes under a unique key, and read them back."""
    identity = hashlib.sha256(
        f"{found.path!s}\0{found.status.st_mtime_ns}".encode("utf-8", "surrogateescape")
    )
    day = found.last_written_on()
    name = found.name.removesuffix(".gz")
    key = f"log_archive/{log_class}/{day:%Y-%m}/{name}-{identity.hexdigest()[:16]}.gz"
    expected = hashlib.sha256()
    with store.writer(key) as target:
        if found.name.endswith(".gz"):
            while block := source.read(_BLOCK_BYTES):
                expected.update(block)
                target.write(block)
        else:
            with gzip.GzipFile(name, "wb", fileobj=target, mtime=int(found.status.st_mtime)) as packed:
                while block := source.read(_BLOCK_BYTES):
                    expected.update(block)
                    packed.write(block)
    store.sync(key)
    with store.reader(key) as stored:
        content: IO[bytes] = stored
        if not found.name.endswith(".gz"):
            content = gzip.GzipFile(fileobj=stored, mode="rb")  # type: ignore[assignment]
        if _hash_of(content) != expected.hexdigest():
            raise BatchError(
                f"保管先 {store.location(key)} に書いた内容が一致しません。{found.shown} は残しました。"
            )


def _is_open_elsewhere(descriptor: int) -> bool:
    """True if another process of this machine has the file open.

    The kernel grants an exclusive lease only if no other process has the file open, and only to the file's owner. For other owners' files,
    reads /proc. If /proc is unreadable, or the file system has no leases (a network file system), the file counts as open.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except AttributeError:  # not Linux
        return True
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EPERM) or _is_in_proc(os.fstat(descriptor))
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _is_in_proc(status: os.stat_result) -> bool:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            for opened in (process / "fd").iterdir():
                with suppress(FileNotFoundError):  # closed in the meantime
                    if os.path.samestat(opened.stat(), status):
                        return True
        except (FileNotFoundError, ProcessLookupError):  # the process has ended
            continue
        except OSError:
            return True
    return False


def _unlink_if_same(found: _Found) -> bool:
    """Delete the file if it is still the checked one, with the same time and size."""
    try:
        now = os.stat(found.name, dir_fd=found.folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    same = os.path.samestat(now, found.status) and now.st_mtime_ns == found.status.st_mtime_ns
    if same and now.st_size == found.status.st_size:
        os.unlink(found.name, dir_fd=found.folder_fd)
        return True
    return False


def _exists(name: str, folder_fd: int) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _holds_the_same(name: str, folder_fd: int, source: IO[bytes]) -> bool:
    """True if a compressed file has the content of ``source``. Decompresses no more than that, because the file may expand a thousandfold.

    :raises EOFError, zlib.error: it is damaged.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder_fd)
        with os.fdopen(descriptor, "rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as packed:
            while block := source.read(_BLOCK_BYTES):
                if packed.read(len(block)) != block:
                    return False
            return not packed.read(1)
    except OSError:
        return False


def _hash_of(source: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := source.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, _DIRECTORY)
    except OSError as error:
        raise LogRootError(
            f"ログのフォルダー {shown(path)} を開けません（{error.strerror}）。Variable 'skill_batch_log_roots' を直してください。"
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
