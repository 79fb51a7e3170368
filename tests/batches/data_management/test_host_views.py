"""The views over the host's rows, where their values differ from those of the rows."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.shared_database import database

__all__ = ["database"]


@pytest.mark.parametrize(("requested_by", "seen"), [("user_1", 1), (None, 1), ("BATCH-004", 0)])
def test_the_batches_own_reports_do_not_count_as_use(
    database: Database, requested_by: str | None, seen: int
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "A")
        host_rows.report(host, "A", datetime(2026, 10, 1), requested_by=requested_by)
    with database.connect("batch_platform") as platform:
        assert platform.execute("SELECT count(*) FROM batch.all_report").fetchone() == (seen,)


@pytest.mark.parametrize("status", ["PENDING", "pending", "Pending", "pENDING", "SENT", "PENDING2", None])
def test_a_waiting_notification_is_found_in_any_case(database: Database, status: str | None) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "A")
        host_rows.insert(
            host,
            "HIS_NotificationLog",
            id="n1",
            tenant_id="A",
            send_status=status,
            scheduled_at=datetime(2026, 11, 1),
            updated_at=host_rows.UPDATED_AT,
        )
        waiting = host.execute("SELECT id FROM batch.all_waiting_notification").fetchall()
    assert waiting == ([("n1",)] if (status or "").upper() == "PENDING" else [])
