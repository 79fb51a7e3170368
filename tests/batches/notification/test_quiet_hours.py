"""Quiet hours are those of the tenant's own clock (MST_Tenant.timezone)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.outbox import MessageDraft, enqueue
from include.skillreport.messaging.preferences import preferences_of, quiet_until
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import network, run_notifications, statuses

SETTINGS = NotificationSettings.load()
# 23:00 in Japan, 15:00 in Paris, 09:00 in New York.
NOW = datetime(2026, 11, 26, 14, 0, tzinfo=UTC)
ZONES = {"japan": "Asia/Tokyo", "york": "America/New_York", "blank": " ", "wrong": "東京"}


def test_each_tenant_has_the_quiet_hours_of_its_own_clock(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    for tenant_id, zone in ZONES.items():
        host_rows.tenant(host, tenant_id, timezone=zone)
    drafts = [
        MessageDraft(
            tenant_id,
            key,
            EMAIL,
            f"{tenant_id}-{key}@example.jp",
            "件名",
            "本文",
            NOW,
            priority=priority,
        )
        for tenant_id in ZONES
        for key, priority in (("urgent", 1), ("usual", 2))
    ]
    with tenant_transaction(connection, list(ZONES)):
        enqueue(connection, drafts, created_by="test")

    dispatch_due(
        connection,
        list(ZONES),
        network(services),
        owner="run",
        clock=lambda: NOW,
        settings=SETTINGS.model_copy(update={"quiet_hours": "22:00-07:00"}),
    )

    urgent = {f"{tenant_id}-urgent@example.jp" for tenant_id in ZONES}
    assert {letter.destination for letter in services.messages} == urgent | {"york-usual@example.jp"}
    assert statuses(host) == {("email", "sent"): 5, ("email", "pending"): 3}
    # The end of Japan's quiet hours.
    waits = host.execute(
        "SELECT DISTINCT next_attempt_at FROM batch.outbox WHERE status = 'pending'"
    ).fetchall()
    assert waits == [(datetime(2026, 11, 26, 22, 0, tzinfo=UTC),)]


@pytest.mark.parametrize(
    "zone", ["東京", "JST+9", "../../etc/passwd", "/etc/passwd", "Asia", "", "A" * 300, "a\0b"]
)
def test_an_invalid_zone_is_named_and_japans_is_used(zone: str) -> None:
    preferences = preferences_of(SETTINGS, "ja", {}, zone)

    assert preferences.zone == JAPAN
    assert preferences.problem is not None
    assert "MST_Tenant.timezone" in preferences.problem
    assert "Asia/Tokyo を使いました" in preferences.problem


def test_the_daily_run_notes_an_invalid_zone(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A", timezone="東京")
    host_rows.tenant(host, "B", timezone="Europe/Paris")

    run_notifications(database, services)

    assert host.execute(
        "SELECT tenant_id, notes FROM batch.tenant_outcome ORDER BY tenant_id"
    ).fetchall() == [
        ("A", ["MST_Tenant.timezone '東京' は時間帯の名前ではありません（Asia/Tokyo を使いました）"]),
        ("B", []),
    ]


def test_quiet_hours_end_by_the_clock_when_it_is_put_back() -> None:
    """In New York the night of 1 November 2026 has an hour more."""
    zone = preferences_of(SETTINGS, "en", {}, "America/New_York").zone

    begin = datetime(2026, 10, 31, 22, 0, tzinfo=zone)
    ends_at = quiet_until("22:00-07:00", begin, zone)

    assert ends_at is not None
    assert ends_at.astimezone(UTC) - begin.astimezone(UTC) == timedelta(hours=10)
