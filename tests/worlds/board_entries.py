"""What a person enters on the board for an operation with personal values."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from tests.conftest import Database


def enter(
    database: Database,
    dag_id: str,
    operation: str,
    values: Mapping[str, Any],
    *,
    person: str,
    minutes_ago: int = 0,
) -> str:
    """Keep the values for the person's run, as the role of the board; returns the token."""
    token = secrets.token_urlsafe(32)
    with database.connect("batch_board") as board:
        board.execute(
            """
            INSERT INTO batch.entered_values (token, dag_id, operation, form_values, entered_by)
            VALUES (%s, %s, %s, %s, %s)
            """,
            [token, dag_id, operation, Jsonb(values), person],
        )
    if minutes_ago:
        with database.connect() as admin:
            admin.execute(
                "UPDATE batch.entered_values SET entered_at = entered_at - %s * interval '1 minute' WHERE token = %s",
                [minutes_ago, token],
            )
    return token
