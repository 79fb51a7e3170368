"""The statements that a connection executes, in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import psycopg
from typing_extensions import override


def note_statements(connection: psycopg.Connection) -> list[str]:
    """From now on, each statement of the connection is in this list; one for several rows is there once for each row."""
    statements: list[str] = []

    class Noting(psycopg.Cursor[Any]):
        @override
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
            statements.append(query)
            return super().execute(query, *arguments, **options)

        @override
        def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
            rows = list(params_seq)
            statements.extend(query for _ in rows)
            super().executemany(query, rows, **options)

    connection.cursor_factory = Noting
    return statements
