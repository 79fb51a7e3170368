"""The personal values that a user entered on the board for one run (``batch.entered_values``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

# Entered values wait this long for their run.
USABLE = timedelta(minutes=15)


@dataclass(frozen=True)
class EnteredValues:
    """A user's entered values. ``values``: None if the run has already used them, even before it was cleared."""

    values: Mapping[str, Any] | None


def take_values(
    connection: psycopg.Connection, token: str, *, dag_id: str, operation: str, person: str, execution_id: str
) -> EnteredValues | None:
    """The user's entered values for this operation; None if they have expired, or belong to another run or user.

    The transaction deletes the values. ``connection`` acts as ``batch_platform`` or ``batch_tenant``.
    """
    found = _SQL.column(
        connection,
        "take_entered_values",
        token=token,
        dag_id=dag_id,
        operation=operation,
        person=person,
        execution_id=execution_id,
        usable=USABLE,
    )
    return EnteredValues(found[0]) if found else None
