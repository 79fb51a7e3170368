"""The errors of the batches. Each is recoverable (a retry may help) or permanent.

Only recoverable errors are retried (batch list, section 6.2, ``isRecoverable``). A message is one Japanese sentence for the operator: the
problem and the action. DAG files import this module, so it imports the database driver only to inspect an error.
"""

from __future__ import annotations


class BatchError(Exception):
    """An error of the batches. ``recoverable``: a retry may succeed without an operator's action. ``code`` replaces the class name."""

    recoverable = False
    code = ""


class ParameterError(BatchError):
    """A value of the trigger form (or of ``--conf``) cannot be used."""


class AnswerError(ParameterError):
    """The answer to an approval request cannot be used. The same run can ask the user again."""


class SchemaError(BatchError):
    """The host's schema, or schema ``batch``, does not match this code."""


class SettingsError(BatchError):
    """The settings file or a tenant's override is not valid."""


class ConnectionMissingError(BatchError):
    """An Airflow connection that a batch needs is not defined."""


class ConnectionInvalidError(BatchError):
    """An Airflow connection has a value that cannot be used."""


class DatabaseUnavailableError(BatchError):
    """PostgreSQL does not answer or rejects the login."""

    recoverable = True


# SQLSTATE classes and codes after which the same statement may succeed. 25006: a standby before its promotion. A login that is read-only by
# its own setting is rejected on connect.
_RECOVERABLE_SQLSTATES = ("08", "25006", "25P03", "25P04", "40", "53", "55P03", "57P")
# SQLSTATE classes that one tenant's rows can cause: data exceptions, constraint and check-option violations, RAISE in a view's function, an
# external routine, damaged pages and indexes. All other errors (syntax, privileges, resources, cancellation) affect all tenants.
_DATA_SQLSTATES = ("21", "22", "23", "38", "39", "44", "54", "P0", "XX001", "XX002")


# The keys are SQLSTATEs or their classes.
_MEANINGS = {
    # PostgreSQL gives this code only to faulty clients.
    "08P01": "接続プーラーに空きがありません（接続の上限を増やしてください）か、プーラーが要求を受け付けません",
    "22003": "数値が扱える範囲を超えました",
    "22012": "0 で割ろうとしました",
    "22": "データの値が正しくありません",
    "23": "データが表の制約に反しています",
    "25006": "データベースサーバーが書き込みを受け付けません（昇格前の待機系など）",
    "25P03": "データベースの制限時間（idle_in_transaction_session_timeout）が接続を切りました",
    "25P04": "データベースの制限時間（transaction_timeout）が接続を切りました",
    "40": "ほかの処理と競合しました",
    "42501": "データベースの権限がありません",
    "42": "データベースの表・列・関数が見つからないか、合っていません",
    "44": "ほかのテナントの行に触れようとしました",
    "53100": "データベースサーバーのディスクがいっぱいです",
    "53": "データベースサーバーの資源（接続数、メモリ、ディスク）が足りません",
    "55P03": "ほかの処理が行や表を占有しています",
    "57014": "制限時間内に終わりませんでした",
    "57P05": "データベースの制限時間（idle_session_timeout）が接続を切りました",
    "57": "データベースサーバーが停止または再起動中です",
    "XX001": "データベースの行かページが壊れています",
    "XX002": "データベースの索引が壊れています",
}


def is_recoverable(error: BaseException) -> bool:
    """True if a retry may help. An unknown error is permanent, because it is probably a bug."""
    import psycopg

    if isinstance(error, BatchError):
        return error.recoverable
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:  # the client lost the server
            return isinstance(error, psycopg.OperationalError)
        return error.sqlstate.startswith(_RECOVERABLE_SQLSTATES)
    return isinstance(error, ConnectionError | TimeoutError)


def is_about_data(error: Exception) -> bool:
    """True if one tenant's rows may have caused the error, so that other tenants may succeed."""
    import psycopg

    if isinstance(error, psycopg.Error):
        # A DataError of the driver has no SQLSTATE: Python cannot represent a value ('infinity', the year 12026).
        return (error.sqlstate or "").startswith(_DATA_SQLSTATES) or isinstance(error, psycopg.DataError)
    return not isinstance(error, BatchError | OSError | MemoryError)


def reason_of(error: BaseException) -> str:
    """The error in one line for operators, without traceback and without the row values of PostgreSQL's details."""
    import psycopg

    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        cause = f"{error.diag.message_primary}、SQLSTATE {error.sqlstate}"
        meaning = _MEANINGS.get(error.sqlstate or "") or _MEANINGS.get((error.sqlstate or "")[:2])
        text = f"{meaning}（{cause}）" if meaning else f"データベースのエラーです（{cause}）"
    else:
        text = str(error) or type(error).__name__
    # PostgreSQL cannot store NUL or surrogates, and the reason is recorded there.
    storable = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return " ".join(storable.split())


def code_of(error: BaseException) -> str:
    """The SQLSTATE of a database error, a batch error's code, or the class name. It selects the ``FailureKind``."""
    import psycopg

    if isinstance(error, BatchError) and error.code:
        return error.code
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return error.sqlstate
    return type(error).__name__
