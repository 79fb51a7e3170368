"""The statements of a sender reach the application's rows by the index of their table, however many rows a tenant has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport import messaging
from include.skillreport.batches import scheduled_notifications
from include.skillreport.core.database import Statements, tenant_transaction
from tests.worlds import host_rows

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SENDER = Statements(Path(str(messaging.__file__)).parent)
DAILY = Statements(Path(str(scheduled_notifications.__file__)).parent)

CLAIM = {
    "tenant_id": "A",
    "channel": "email",
    "statuses": ["pending"],
    "count": 10,
    "owner": "run",
    "due_before": NOW,
    "now": NOW,
    "lease": timedelta(minutes=5),
    "apart": False,
    "busy": [],
}


@pytest.mark.parametrize(
    ("statements", "name", "parameters"),
    [
        (SENDER, "claim", CLAIM),
        (SENDER, "mirror_to_host", {"message_ids": ["m1"]}),
        (DAILY, "expire_host_notifications", {"ids": ["n1"], "code": "expired", "reason": "x"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_applications_rows_are_found_by_their_index(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    statements: Statements,
    name: str,
    parameters: dict[str, Any],
) -> None:
    host_rows.tenant(host, "A")
    with tenant_transaction(connection, ["A"]):
        # Without sequential scans the planner uses the index wherever a condition reaches it.
        connection.execute("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN (COSTS OFF) " + statements[name]
        plan = [line for (line,) in connection.execute(explain, parameters).fetchall()]

    # The table has no other index.
    assert any('"HIS_NotificationLog_pkey"' in line for line in plan)
    assert [line for line in plan if 'Seq Scan on "HIS_NotificationLog"' in line] == []
