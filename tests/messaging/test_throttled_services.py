"""Chat services that refuse for their rate: everything arrives once in one run, each limit paces only what belongs to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels import slack as slack_channel
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.dispatch import DispatchReport, dispatch_due
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.virtual_time import VirtualTime
from tests.worlds import host_rows
from tests.worlds.outbox_rows import integration, line_works, network, slack, statuses


@pytest.fixture(autouse=True)
def tenants(host: psycopg.Connection) -> None:
    """Two tenants."""
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)


def put(
    connection: psycopg.Connection, tenant_id: str, channel: Channel, destinations: Sequence[str]
) -> None:
    """A message that is due to each of these destinations."""
    due_at = datetime.now(UTC) - timedelta(hours=1)
    drafts = [
        MessageDraft(tenant_id, f"{channel}:{number}", channel, destination, "件名", f"本文 {number}", due_at)
        for number, destination in enumerate(destinations)
    ]
    with tenant_transaction(connection, [tenant_id]):
        outbox.enqueue(connection, drafts, created_by="test")


def send(
    connection: psycopg.Connection,
    services: StandIns,
    time: VirtualTime | None = None,
    *,
    seconds: float = 3_600,
) -> dict[str, DispatchReport]:
    """One shard's dispatch. It ends when all are sent, and at the latest after ``seconds``, of the virtual ``time`` if there is one."""
    begin = datetime.now(UTC)

    def clock() -> datetime:
        return begin + timedelta(seconds=time.now) if time else datetime.now(UTC)

    return dispatch_due(
        connection,
        ["A", "B"],
        network(services),
        owner="run",
        clock=clock,
        settings=NotificationSettings.load(),
        stop_at=clock() + timedelta(seconds=seconds),
    )


def texts(services: StandIns) -> Counter[str]:
    """How often each text has arrived."""
    return Counter(message.text for message in services.messages)


def test_a_workspace_that_refuses_is_paced_as_a_whole_and_loses_nothing(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, virtual_time: VirtualTime
) -> None:
    """Twenty Slack channels, more than the workspace takes at once."""
    slack(host, "A", services)
    services.set_limit("slack_workspace", 30, 60)
    put(connection, "A", SLACK, [f"C{number % 20}" for number in range(90)])

    send(connection, services, virtual_time)

    assert statuses(host) == {("slack", "sent"): 90}
    assert set(texts(services).values()) == {1}
    assert services.messages_refused_for_rate > 0
    assert host.execute("SELECT DISTINCT attempts FROM batch.outbox").fetchall() == [(1,)]


@pytest.mark.slow("waits for slow or throttling services")
def test_one_channel_of_a_workspace_waits_while_the_others_go_on(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slack_channel, "_CHANNEL_SECONDS", 0.01)
    slack(host, "A", services)
    services.set_limit("slack_channel", 2, 2)
    put(connection, "A", SLACK, ["busy"] * 3 + [f"C{number}" for number in range(9)])

    send(connection, services)

    assert statuses(host) == {("slack", "sent"): 12}
    assert services.messages[-1].destination == "busy"
    assert services.messages_refused_for_rate == 1
    # One refused channel gives no information about the workspace.
    assert host.execute("SELECT * FROM batch.service_limit").fetchall() == []


def test_messages_to_one_channel_keep_its_pace(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, virtual_time: VirtualTime
) -> None:
    slack(host, "A", services)
    services.set_limit("slack_channel", 1, 1)
    put(connection, "A", SLACK, ["C1", "C1", "C1", "C2"])

    send(connection, services, virtual_time)

    assert statuses(host) == {("slack", "sent"): 4}
    assert services.messages_refused_for_rate == 0


def test_a_webhook_is_one_channel_whatever_the_rows_name(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, virtual_time: VirtualTime
) -> None:
    integration(host, "A", "slack", auth={"webhook_url": services.slack_webhook_url})
    services.set_limit("slack_webhook", 1, 1)
    put(connection, "A", SLACK, ["#one", "#two", "#three"])

    send(connection, services, virtual_time)

    assert statuses(host) == {("slack", "sent"): 3}
    assert services.messages_refused_for_rate == 0


def test_line_works_begins_below_its_free_plan(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, virtual_time: VirtualTime
) -> None:
    line_works(host, "A", services)
    services.set_limit("line_works", 60, 60)
    put(connection, "A", LINE_WORKS, [f"users/{number}" for number in range(90)])

    send(connection, services, virtual_time)

    assert statuses(host) == {("line_works", "sent"): 90}
    assert services.messages_refused_for_rate == 0


def test_line_works_rises_to_what_it_states(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, virtual_time: VirtualTime
) -> None:
    line_works(host, "A", services)
    services.set_limit("line_works", 240, 60)
    put(connection, "A", LINE_WORKS, [f"users/{number}" for number in range(120)])

    send(connection, services, virtual_time)

    assert statuses(host) == {("line_works", "sent"): 120}
    assert services.messages_refused_for_rate == 0
    # At 60 a minute it would be two minutes.
    assert virtual_time.now < 45


def test_a_throttled_queue_ends_with_the_runs_time_and_costs_no_attempt(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    services.fail_next("slack", "ratelimited", times=99, retry_after=30)
    put(connection, "A", SLACK, [f"C{number}" for number in range(8)])

    send(connection, services, seconds=2)

    assert statuses(host) == {("slack", "pending"): 8}
    assert host.execute("SELECT DISTINCT attempts FROM batch.outbox").fetchall() == [(0,)]
    # The next run knows that the workspace refuses everything.
    blocked = host.execute(
        "SELECT blocked_until > now() + interval '20 seconds' FROM batch.service_limit"
    ).fetchall()
    assert blocked == [(True,)]


@pytest.mark.parametrize(
    ("channel", "code", "destination"),
    [
        (SLACK, "restricted_action", "C1"),
        (SLACK, "restricted_action_read_only_channel", "C1"),
        (SLACK, "no_permission", "C1"),
        (LINE_WORKS, "FORBIDDEN", "users/1"),
    ],
)
def test_a_refused_destination_ends_its_own_message_and_the_others_go_on(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
    channel: Channel,
    code: str,
    destination: str,
) -> None:
    slack(host, "A", services)
    line_works(host, "A", services)
    services.set_limit("line_works", 600, 60)
    services.refuse_recipient(destination.removeprefix("users/"), code)
    put(connection, "A", channel, [destination, "C2" if channel is SLACK else "users/2"])

    send(connection, services)

    assert statuses(host) == {(channel, "dead"): 1, (channel, "sent"): 1}
    assert host.execute("SELECT * FROM batch.channel_circuit").fetchall() == []
    assert host.execute("SELECT error_code FROM batch.outbox WHERE status = 'dead'").fetchall() == [(code,)]


def test_a_message_that_always_closes_its_channel_dies(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    put(connection, "A", SLACK, ["C1"])
    services.fail_next("slack", "invalid_auth", times=99)

    for _ in range(5):
        send(connection, services)
        host.execute("DELETE FROM batch.channel_circuit")

    assert statuses(host) == {("slack", "dead"): 1}


def test_one_service_failure_does_not_end_a_serial_lane(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, virtual_time: VirtualTime
) -> None:
    line_works(host, "A", services)
    services.fail_next("line_works", "http_503", times=2)
    put(connection, "A", LINE_WORKS, [f"users/{number}" for number in range(6)])

    send(connection, services, virtual_time)

    assert statuses(host) == {("line_works", "sent"): 4, ("line_works", "retry"): 2}
