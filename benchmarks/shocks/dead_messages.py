"""A service was down for days: 100,000 messages are dead, and an operator sends them again with operate_notifications."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from functools import partial

import psycopg

from benchmarks.measurement import connected, measure
from benchmarks.scale_world import World
from benchmarks.shocks.world import (
    SQL,
    Found,
    Place,
    Services,
    arrivals,
    fill,
    give_workspaces,
    statuses,
    today,
)
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from include.skillreport.operations.operate_notifications import create_batch
from local_stack.batch_runs import LOCAL, open_run, run_batch
from local_stack.stand_ins import StandIns

_EACH = 50
_REFUSAL_LIMIT = 2_000
_RUN_LIMIT = 50


def _form(message_ids: Sequence[str]) -> dict[str, object]:
    return {"operation": "resend", "messages": list(message_ids), "reason": "the service is back"}


def resend(services: Services, message_ids: Sequence[str], dsn: str, day: date) -> None:
    """The operation with all ids, in one process."""
    with connected(dsn) as (platform, connection):
        result = run_batch(
            platform,
            connection,
            OPERATE_NOTIFICATIONS,
            create_batch(LOCAL),
            day,
            parameters=_form(message_ids),
            network=services.network(),
        )
        assert result.status == "completed", result.sentence()


def refusal(dsn: str, message_ids: Sequence[str]) -> str:
    """What the operation says when all ids are entered again."""
    with connected(dsn) as (platform, _):
        try:
            open_run(
                platform, OPERATE_NOTIFICATIONS, create_batch(LOCAL), today(), parameters=_form(message_ids)
            )
        except ParameterError as error:
            return str(error)
    return ""


def run_bytes(dsn: str, message_ids: Sequence[str]) -> int:
    """The size of the run as a task of Airflow hands it to the next one."""
    with connected(dsn) as (platform, _):
        run, _ = open_run(
            platform, OPERATE_NOTIFICATIONS, create_batch(LOCAL), today(), parameters=_form(message_ids)
        )
    return len(json.dumps(asdict(run), default=str))


def shock(place: Place) -> Found:
    """All arrive once, and the same ids again are refused in a short sentence."""
    tenants = place.size(2_000, 20)
    messages, limit = tenants * _EACH, OPERATE_NOTIFICATIONS.time_limit.total_seconds()
    found = Found(f"{messages:,} dead messages", f"{limit:,.0f} s, refusal {_REFUSAL_LIMIT:,} characters")
    with StandIns() as stand_ins:
        dsn = place.plant("dead", World(tenants, users=1, requests=1_000))
        give_workspaces(dsn, stand_ins.slack_base_url)
        fill(dsn, SQL["slack_messages"], messages=_EACH, status="dead")
        with psycopg.connect(dsn) as connection:
            message_ids = SQL.column(connection, "message_ids", status="dead")
        handed_over = run_bytes(dsn, message_ids)
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
