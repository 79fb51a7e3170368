"""Errors of disks, folders and object stores that an administrator repairs, as sentences that name the place and the action."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.skillreport.core.errors import BatchError, reason_of


class StorageError(BatchError):
    """A disk, a folder or an object store cannot be used until somebody repairs it."""


class NoSpaceError(StorageError):
    """A disk or an object store is full."""


class NoAccessError(StorageError):
    """The process may not read or write the place."""


# Answers of full object stores: status 507 (MinIO), or the quota codes of Ceph, MinIO and Huawei's OBS.
_FULL_STATUS = 507
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorageSpace"})

_TOO_MANY_FILES = "で、同時に開けるファイルの数の上限に達しました。ワーカーの上限（ulimit -n、LimitNOFILE）を上げてください。"
_BROKEN = "で、ディスクの入出力エラーが起きました。ディスクとマウントの故障を確かめて直してください。"
_DENIED = "を読み書きする権限がありません。フォルダーの所有者と権限を、ワーカーのユーザーに合わせてください。"

# Without EDQUOT and ENOSPC. All of them are errors of local folders: clients of object stores use some numbers for other errors.
_REPAIRS = {
    errno.EROFS: "は読み取り専用です。書き込めるようにマウントし直してください。",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.ENAMETOOLONG: "で、ファイルの名前かパスが長すぎます。より短いパスのフォルダーを指定してください。",
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
    errno.EIO: _BROKEN,
    errno.ESTALE: _BROKEN,
}


@contextmanager
def storage_errors_named(place: str, folder: Path | None) -> Iterator[None]:
    """Convert the errors that an administrator repairs. ``place`` names the place for operators.

    ``folder`` is the local folder, None for an object store. An error about a file outside of the folder is not converted.
    :raises StorageError: names the place and the action; ``NoSpaceError`` and ``NoAccessError`` are subclasses.
    """
    try:
        yield
    except OSError as error:
        if named := _named(error, place, folder):
            raise named from error
        raise


def _named(error: OSError, place: str, folder: Path | None) -> StorageError | None:
    if folder is None:
        if _is_full_store(error):
            return _full(place)
        return _denied_by_store(place, error) if isinstance(error, PermissionError) else None
    if isinstance(error.filename, str) and _is_outside(Path(error.filename), folder):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _without_inodes(place) if _has_no_inodes(folder) else _full(place)
    if error.errno not in _REPAIRS:
        return None
    kind = NoAccessError if isinstance(error, PermissionError) else StorageError
    return kind(f"{place} {_REPAIRS[error.errno]}")


def _is_outside(path: Path, folder: Path) -> bool:
    return path.is_absolute() and not path.is_relative_to(folder.absolute())


def _denied_by_store(place: str, error: PermissionError) -> NoAccessError:
    return NoAccessError(
        f"{place} を読み書きする権限がありません（{reason_of(error)}）。Airflow の接続の認証情報と権限を確認してください。"
    )


def _full(place: str) -> NoSpaceError:
    return NoSpaceError(f"{place} の空き容量がなくなりました。空けるか、広げてからやり直してください。")


def _without_inodes(place: str) -> NoSpaceError:
    return NoSpaceError(
        f"{place} の inode（作れるファイルの数）がなくなりました。空き容量は残っています。"
        "不要なファイルを削除するか、inode を増やしてからやり直してください。"
    )


def _has_no_inodes(folder: Path) -> bool:
    """True if no file can be created. Some file systems (Btrfs) have no limit, and report 0 of 0."""
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    return status.f_files > 0 and status.f_favail == 0


def _is_full_store(error: OSError) -> bool:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # S3's client keeps the service's answer as the cause.
    answer = getattr(error.__cause__, "response", None) or {}
    return (
        answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == _FULL_STATUS
        or answer.get("Error", {}).get("Code") in _FULL_CODES
    )
