"""What can go wrong, told apart by the one question that matters at night: does another try help?

The batch list's section 6.2 (``isRecoverable``) retries recoverable errors only. A message is one sentence for the operator, and so
in Japanese: what is wrong, with which thing, and what to do.
"""

from __future__ import annotations

import psycopg


class BatchError(Exception):
    """An error of ours; ``recoverable`` says whether another try may succeed without anybody doing anything."""

    recoverable = False


class ParameterError(BatchError):
    """A value from the trigger form (or ``--conf``) that cannot be used."""


class SchemaError(BatchError):
    """The host's schema or ours is not what this code needs."""


class SettingsError(BatchError):
    """The settings file, or a tenant's override of it, does not hold."""


class ConnectionMissingError(BatchError):
    """An Airflow connection that a batch needs is not defined."""


class DatabaseUnavailableError(BatchError):
    """PostgreSQL does not answer, or refuses the login."""

    recoverable = True


# SQLSTATE classes and codes after which the same statement may well succeed.
_RECOVERABLE_SQLSTATES = ("08", "40", "53", "55P03", "57P")
# SQLSTATE classes that one tenant's rows can cause: data exceptions, constraint and check-option violations, RAISE in a view's
# function, an external routine. Anything else (syntax, privileges, resources, cancellation) concerns all tenants alike.
_DATA_SQLSTATES = ("21", "22", "23", "38", "39", "44", "54", "P0")


# What an operator meets at night, in their language; a code, or else its class.
_MEANINGS = {
    "22003": "数値が扱える範囲を超えました",
    "22012": "0 で割ろうとしました",
    "22": "データの値が正しくありません",
    "23": "データが表の制約に反しています",
    "40": "ほかの処理と競合しました",
    "42501": "データベースの権限がありません",
    "42": "データベースの表・列・関数が見つからないか、合っていません",
    "44": "ほかのテナントの行に触れようとしました",
    "53": "データベースサーバーの資源（接続数、メモリ、ディスク）が足りません",
    "55P03": "ほかの処理が行や表を占有しています",
    "57014": "制限時間内に終わりませんでした",
    "57": "データベースサーバーが停止または再起動中です",
}


def is_recoverable(error: BaseException) -> bool:
    """Whether another try may help. Unknown errors are permanent: a defect does not go away by itself."""
    if isinstance(error, BatchError):
        return error.recoverable
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:  # the client lost the server
            return isinstance(error, psycopg.OperationalError)
        return error.sqlstate.startswith(_RECOVERABLE_SQLSTATES)
    return isinstance(error, ConnectionError | TimeoutError)


def is_about_data(error: Exception) -> bool:
    """Whether one tenant's rows can have caused the error, so that the other tenants may succeed without it."""
    if isinstance(error, psycopg.Error):
        # Without a SQLSTATE it is the driver's own: a value of the row that Python cannot hold ('infinity', the year 12026).
        return (error.sqlstate or "").startswith(_DATA_SQLSTATES) or isinstance(error, psycopg.DataError)
    return not isinstance(error, BatchError | OSError | MemoryError)


def reason_of(error: BaseException) -> str:
    """The error in one line for the operator, without a traceback and without the rows that PostgreSQL quotes in its details."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        cause = f"{error.diag.message_primary}、SQLSTATE {error.sqlstate}"
        meaning = _MEANINGS.get(error.sqlstate or "") or _MEANINGS.get((error.sqlstate or "")[:2])
        text = f"{meaning}（{cause}）" if meaning else f"データベースのエラーです（{cause}）"
    else:
        text = str(error) or type(error).__name__
    # What PostgreSQL cannot store (NUL, half a surrogate pair) must not keep the reason itself from being recorded.
    storable = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return " ".join(storable.split())


def code_of(error: BaseException) -> str:
    """SQLSTATE of a database error, otherwise the error's class name: what a summary groups by."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return error.sqlstate
    return type(error).__name__
