"""The weekly alert about entries that wait too long for another user's approval."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from skill_batch.notifiers.alert import JAPAN, Alert
from skill_batch.notifiers.alert_kinds import OLD_ENTRY
from skill_batch.resumption_alerts import alert_day

if TYPE_CHECKING:
    import psycopg

# Changes of contracts expire after the same 30 days (contract_changes.WAITS), so this alert never lists them.
_LONGEST = timedelta(days=30)


def waiting_alerts(platform: psycopg.Connection, now: datetime) -> list[tuple[str, Alert]]:
    """The key and the alert about entries that wait for more than 30 days. ``now`` is aware.

    The key changes on Monday at nine (Asia/Tokyo), so the alert is weekly.
    """
    from include.skillreport.billing.ledger.entries import old_entries
    from include.skillreport.billing.second_person import WAITING_KINDS
    from include.skillreport.core.catalog import TENANT_BILLING

    found = old_entries(platform, now - _LONGEST)
    if not found:
        return []
    year, week, _ = alert_day(now).isocalendar()
    lines = tuple(
        f"{WAITING_KINDS[each['kind']].label} {each['entries']:,} 件（最も古いものは {each['oldest'].astimezone(JAPAN):%Y-%m-%d} から）"
        for each in found
    )
    severity = TENANT_BILLING.run_severity.name
    count = f"{sum(each['entries'] for each in found):,} 件"
    title = OLD_ENTRY.title(TENANT_BILLING.id, TENANT_BILLING.name, count)
    alert = Alert(title, lines, actions=(OLD_ENTRY.action,), severity=severity)
    return [(f"waiting:{year}-W{week:02}", alert)]
