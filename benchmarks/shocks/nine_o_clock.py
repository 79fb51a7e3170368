"""50,000 notifications of the application are due at 9:00, half over Slack and half by e-mail."""

from __future__ import annotations

from functools import partial

from benchmarks.measurement import measure
from benchmarks.scale_world import World
from benchmarks.shocks.world import (
    SQL,
    Found,
    Place,
    Services,
    arrivals,
    fill,
    give_workspaces,
    last_nine,
    send,
    statuses,
    value,
)
from include.skillreport.core.catalog import NOTIFICATION_RETRY, SCHEDULED_NOTIFICATIONS
from local_stack.stand_ins import StandIns

_EACH = 100
_LATENCY_SECONDS = 0.02
# The run of 9:00, and the hourly one after it.
_RUNS = (SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY)


def shock(place: Place) -> Found:
    """All arrive once, within the time limit of BATCH-019-01."""
    tenants = place.size(500, 10)
    limit = SCHEDULED_NOTIFICATIONS.time_limit.total_seconds()
    found = Found(f"{tenants * _EACH:,} messages", f"{limit:,.0f} s, each once")
    nine = last_nine()
    with StandIns() as stand_ins:
        for service in ("slack", "email"):
            stand_ins.latency(service, _LATENCY_SECONDS)
        dsn = place.plant("nine", World(tenants, users=1, requests=1_000))
        give_workspaces(dsn, stand_ins.slack_base_url)
        fill(dsn, SQL["application_notifications"], messages=_EACH, due_at=nine)
        measured = measure(partial(send, Services.of(stand_ins), _RUNS), dsn, nine.date())
        once, again = arrivals(stand_ins)
    shown = value(dsn, SQL["application_statuses"], due_at=nine)
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = f"{once:,} arrived, {again} twice, {tenants * _EACH / measured.seconds:,.0f} a second"
    found.require((once, again) == (tenants * _EACH, 0), "messages are lost or doubled")
    found.require(shown == tenants * _EACH, f"the application shows only {shown} as sent")
    found.require(statuses(dsn) == {"sent": tenants * _EACH}, f"the outbox has {dict(statuses(dsn))}")
    found.require(measured.seconds <= limit, "over the time limit")
    return found
