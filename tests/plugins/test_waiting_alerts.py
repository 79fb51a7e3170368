"""The weekly alert about what waits too long for another person's approval."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

from skill_batch.waiting_alerts import waiting_alerts
from tests.conftest import Database
from tests.worlds.billing_rows import customer, operate, run_billing

LINE = {"line_date": "2026-10-15", "line_text": "特別対応費", "line_price": "9000000"}


def test_entries_that_wait_for_30_days_alert_once_a_week(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
        operate(database, "extra_line", tenant_id, values=LINE, triggered_by="suzuki")
    run_billing(database)  # holds both invoices
    host.execute("UPDATE batch.extra_charge SET entered_at = '2026-10-16 00:00+09' WHERE tenant_id = 'A'")
    now = datetime.now(UTC)

    with database.connect("batch_platform") as platform:
        # Only A's line is old today; later, everything is.
        ((_, alert),) = waiting_alerts(platform, datetime(2026, 11, 16, 3, tzinfo=UTC))
        assert alert.lines == ("個別明細 1 件（最も古いものは 2026-10-16 から）",)
        later = [now + timedelta(days=31 + days) for days in range(8)]
        found = [waiting_alerts(platform, moment) for moment in later]
        assert all(len(alerts) == 1 for alerts in found)
        # The drafts that wait for the lines are not counted again.
        assert [line.partition(" 件")[0] for line in found[0][0][1].lines] == ["個別明細 2"]
        # Eight days have two weeks, and each has one key.
        assert len({key for ((key, _),) in found}) == 2

        operate(database, "approve", "A", "B", triggered_by="sato")
        assert waiting_alerts(platform, later[0]) == []
