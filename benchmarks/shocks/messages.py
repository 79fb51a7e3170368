"""Many messages at once: those of 9:00, half over Slack and half by e-mail, and dead ones that are sent again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from functools import partial

import psycopg

from benchmarks.measurement import connected, measure, run_once
from benchmarks.place import Found, Place, queue
from benchmarks.scale_world import World
from benchmarks.shocks.world import (
    SQL,
    Services,
    arrivals,
    fill,
    give_workspaces,
    last_nine,
    send,
    statuses,
    today,
)
from include.skillreport.core.catalog import NOTIFICATION_RETRY, SCHEDULED_NOTIFICATIONS
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Run, create_batch
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from include.skillreport.messaging.channels.slack import SLACK
from local_stack.batch_runs import LOCAL, open_run
from local_stack.stand_ins import StandIns

_DUE_EACH = 100
_LATENCY_SECONDS = 0.02
# The run of 9:00, and the hourly one after it.
_RUNS = (SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY)
_DEAD_EACH = 50
_REFUSAL_LIMIT = 2_000
_RUN_LIMIT = 50


def nine_o_clock(place: Place) -> Found:
    """50,000 notifications of the application are due at 9:00. All arrive once, within the time limit of BATCH-019-01."""
    tenants = place.size(500, 10)
    limit = SCHEDULED_NOTIFICATIONS.time_limit.total_seconds()
    found = Found(f"{tenants * _DUE_EACH:,} messages", f"{limit:,.0f} s, each once")
    nine = last_nine()
    with StandIns() as stand_ins:
        for service in ("slack", "email"):
            stand_ins.latency(service, _LATENCY_SECONDS)
        dsn = place.plant("nine", World(tenants, users=1, requests=1_000))
        give_workspaces(dsn, stand_ins.slack_base_url)
        fill(dsn, SQL["application_notifications"], messages=_DUE_EACH, due_at=nine)
        measured = measure(partial(send, Services.of(stand_ins), _RUNS), dsn, nine.date())
        once, again = arrivals(stand_ins)
    with psycopg.connect(dsn) as connection:
        (shown,) = SQL.column(connection, "application_statuses", due_at=nine)
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = f"{once:,} arrived, {again} twice, {tenants * _DUE_EACH / measured.seconds:,.0f} a second"
    found.require((once, again) == (tenants * _DUE_EACH, 0), "messages are lost or doubled")
    found.require(shown == tenants * _DUE_EACH, f"the application shows only {shown} as sent")
    found.require(statuses(dsn) == {"sent": tenants * _DUE_EACH}, f"the outbox has {dict(statuses(dsn))}")
    found.require(measured.seconds <= limit, "over the time limit")
    return found


def _form(message_ids: Sequence[str]) -> dict[str, object]:
    return {"operation": "resend", "messages": list(message_ids), "reason": "the service is back"}


def resend(services: Services, message_ids: Sequence[str], dsn: str, day: date) -> None:
    """The operation with all ids, in one process."""
    run_once(OPERATE_NOTIFICATIONS, dsn, day, parameters=_form(message_ids), network=services.network())


def opened(dsn: str, message_ids: Sequence[str]) -> Run:
    """A run of the operation with these ids. :raises ParameterError: it refuses them."""
    with connected(dsn) as (platform, _):
        batch = create_batch(OPERATE_NOTIFICATIONS, LOCAL)
        run, _ = open_run(platform, OPERATE_NOTIFICATIONS, batch, today(), parameters=_form(message_ids))
    return run


def refusal(dsn: str, message_ids: Sequence[str]) -> str:
    """What the operation says when all ids are entered again."""
    try:
        opened(dsn, message_ids)
    except ParameterError as error:
        return str(error)
    return ""


def dead_messages(place: Place) -> Found:
    """A service was down for days: an operator sends 100,000 dead messages again.

    All arrive once, and the same ids again are refused in a short sentence.
    """
    tenants = place.size(2_000, 20)
    messages, limit = tenants * _DEAD_EACH, OPERATE_NOTIFICATIONS.time_limit.total_seconds()
    found = Found(f"{messages:,} dead messages", f"{limit:,.0f} s, refusal {_REFUSAL_LIMIT:,} characters")
    with StandIns() as stand_ins:
        dsn = place.plant("dead", World(tenants, users=1, requests=1_000))
        give_workspaces(dsn, stand_ins.slack_base_url)
        queue(dsn, SLACK, "C{tenant}-{}", _DEAD_EACH, status="dead")
        with psycopg.connect(dsn) as connection:
            message_ids = SQL.column(connection, "message_ids", status="dead")
        # As a task of Airflow hands it to the next one.
        handed_over = len(json.dumps(asdict(opened(dsn, message_ids)), default=str))
        measured = measure(partial(resend, Services.of(stand_ins), message_ids), dsn, today())
        refused = refusal(dsn, message_ids)
        once, again = arrivals(stand_ins)
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = (
        f"{once:,} arrived, {again} twice; the run hands over {handed_over / 1e6:.1f} MB;"
        f" refusal {len(refused)} characters"
    )
    found.require((once, again) == (messages, 0), "messages are lost or doubled")
    found.require(statuses(dsn) == {"sent": messages}, f"the outbox has {dict(statuses(dsn))}")
    found.require(0 < len(refused) <= _REFUSAL_LIMIT, "the refusal is missing or too long")
    # The form's ids are in the run, so it grows with them, but with nothing else.
    found.require(handed_over <= _RUN_LIMIT * messages + 2_000, "the run grows faster than its ids")
    found.require(measured.seconds <= limit, "over the time limit")
    return found
