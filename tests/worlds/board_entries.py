"""What a person enters on the board for an operation with personal values."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from skill_batch.board.actions import Action
from include.skillreport.core.form import Operation
from tests.conftest import Database

# Where the field's example does not go with the other examples: a percentage has no currency and no metric, and yen have no rate.
OTHER_EXAMPLES = {
    ("set_discount", "currency"): "",
    ("set_discount", "metric"): "",
    ("set_rate", "currency"): "USD",
}


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


def example_texts(action: Action) -> dict[str, list[str]]:
    """The texts of a dialog with the example of each field."""
    return {
        name: ["on" if field.input == "flag" else "\n".join(field.example)]
        if field.input in ("flag", "lines")
        else [OTHER_EXAMPLES.get((action.name, name), field.example)]
        for name, field in action.fields.items()
    }


def example_values(operation: type[Operation], *, required: bool | None = None) -> dict[str, Any]:
    """The form with the examples of the operation's fields."""
    examples = {name: field.example for name, field in operation.fields(required=required).items()}
    return {"operation": operation.name} | examples
