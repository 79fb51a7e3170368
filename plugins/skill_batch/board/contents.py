"""Texts and addresses of messages, for users who may operate on them. The board's own role cannot read these."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from psycopg import sql

from skill_batch.board.database import CONNECT_SECONDS, BoardUnavailableError
from skill_batch.board.statements import SQL as _SQL
from skill_batch.connections import conninfo_of
from include.skillreport.core.database import set_up_session
from include.skillreport.core.errors import ConnectionInvalidError, reason_of
from include.skillreport.schema.deploy import PLATFORM

CONNECTION = "skill_batch_platform_db"

_STATEMENT_MILLISECONDS = 5_000

# The maximum number of connections of one API server process, and the maximum wait of a page for one.
MOST_CONNECTIONS = 2
_WAIT_SECONDS = 3.0

_free = threading.BoundedSemaphore(MOST_CONNECTIONS)


@dataclass(frozen=True)
class MessageContent:
    """The text and the destination of a message. A webhook's address is a secret, so only its host is included."""

    subject: str
    body: str
    destination: str


def load_content(message_id: str) -> MessageContent | None:
    """The content of a message, or None. Check the user's permission first.

    :raises BoardUnavailableError: ``skill_batch_platform_db`` cannot be read, or all connections are in use.
    """
    with _platform() as connection:
        rows = _SQL.rows(connection, "message_content", message_id=message_id)
    if not rows:
        return None
    return MessageContent(rows[0]["subject"], rows[0]["body"], _shown(rows[0]["destination"]))


def load_subjects(message_ids: Sequence[str]) -> dict[str, str]:
    """The subjects of these messages by id. Check the user's permission first. :raises BoardUnavailableError: as ``load_content``."""
    if not message_ids:
        return {}
    with _platform() as connection:
        rows = _SQL.rows(connection, "message_subjects", message_ids=list(message_ids))
    return {row["message_id"]: row["subject"] or "" for row in rows}


def find_messages_to(address: str, most: int) -> list[dict[str, Any]]:
    """The newest messages to exactly this e-mail address. Check the user's permission first, and record the search.

    :raises BoardUnavailableError: as ``load_content``.
    """
    with _platform() as connection:
        return _SQL.rows(connection, "messages_to", address=address.strip(), most=most)


def load_suppressed_address(suppression_id: str) -> tuple[str, str] | None:
    """The tenant's id and the address of ``suppression_id`` of ``batch.board_suppressed_address``, or None.

    :raises BoardUnavailableError: as ``load_content``.
    """
    with _platform() as connection:
        rows = _SQL.rows(connection, "suppressed_address", suppression_id=suppression_id)
    return (rows[0]["tenant_id"], rows[0]["address"]) if rows else None


def _shown(destination: str) -> str:
    if "://" not in destination:
        return destination
    host = urlsplit(destination).hostname or ""
    return f"{host}（アドレスは伏せています）"


@contextmanager
def _platform() -> Iterator[psycopg.Connection[Any]]:
    if not _free.acquire(timeout=_WAIT_SECONDS):
        raise BoardUnavailableError(
            "本文と宛先を読む接続がすべて使われています。しばらくしてから開き直してください。"
        )
    try:
        with _connection() as connection:
            yield connection
    finally:
        _free.release()


@contextmanager
def _connection() -> Iterator[psycopg.Connection[Any]]:
    try:
        conninfo = conninfo_of(BaseHook.get_connection(CONNECTION), connect_timeout=CONNECT_SECONDS)
        with psycopg.connect(conninfo) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(PLATFORM)))
            set_up_session(connection, statement_timeout=f"{_STATEMENT_MILLISECONDS}ms")
            connection.execute("SET TRANSACTION READ ONLY")
            yield connection
    except ConnectionInvalidError as error:
        raise BoardUnavailableError(str(error)) from None
    except AirflowNotFoundException:
        raise BoardUnavailableError(
            f"本文と宛先は、Airflow の接続 '{CONNECTION}' があるときだけ表示できます。"
        ) from None
    except psycopg.Error as error:
        raise BoardUnavailableError(
            f"接続 '{CONNECTION}' で本文と宛先を読めませんでした（{reason_of(error)}）。"
        ) from error
