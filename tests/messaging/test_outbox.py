"""The outbox on real rows: each message once, in its order, to the owner of its lease, and never another tenant's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.outbox import (
    LEASE,
    Claimed,
    Claims,
    Exchange,
    Lane,
    SendAttempt,
)
from include.skillreport.messaging.outcome import Outcome, SendResult, failed
from include.skillreport.messaging.retry import Status, transition
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database, wait_for_blocked_statement
from tests.noted_statements import note_statements
from tests.worlds.outbox_drafts import DUE, NOW, A, claim, draft, park, put, state
from tests.worlds.outbox_rows import (
    integration,
    lose_senders,
    network,
    record_sent,
    run_notifications,
    slack,
    statuses,
    waiting,
)

pytestmark = pytest.mark.tenants("A", "B")


SENT = SendResult(Outcome.SENT, provider_message_id="ts-1")


@pytest.fixture
def another(database: Database) -> Iterator[psycopg.Connection]:
    """Another sender's."""
    with database.connect("batch_tenant") as connection:
        yield connection


def record(
    connection: psycopg.Connection,
    claimed: Sequence[Claimed],
    result: SendResult = SENT,
    *,
    lane: Lane = A,
    owner: str = "first",
) -> None:
    """Write down that all of them came to the same."""
    record_sent(connection, lane, attempts(claimed, result), owner=owner, now=NOW)


def attempts(claimed: Sequence[Claimed], result: SendResult = SENT) -> list[SendAttempt]:
    """Sends of these messages that all came to the same."""
    return [
        SendAttempt(entry, result, transition(entry.message.channel, entry.attempts, result, NOW, spread=0))
        for entry in claimed
    ]


def keys(host: psycopg.Connection, claimed: Sequence[Claimed]) -> list[str]:
    """The keys of claimed messages."""
    rows = host.execute("SELECT message_id, dedupe_key FROM batch.outbox").fetchall()
    names: dict[str, str] = dict(rows)
    return [names[entry.message.message_id] for entry in claimed]


def everything(host: psycopg.Connection, tenant_id: str) -> list[Any]:
    """All that we keep about a tenant's messages."""
    return [
        host.execute(f"SELECT * FROM batch.{table} WHERE tenant_id = %s ORDER BY 1, 2, 3", [tenant_id]).fetchall()
        for table in ("outbox", "channel_circuit", "suppressed_address")
    ]  # fmt: skip


# Into the outbox -----------------------------------------------------------------------------------------------------------


def test_each_key_of_a_tenant_is_taken_once(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    assert put(connection, draft("k1"), draft("k2"), draft("k1", body="同じ")) == 2
    assert put(connection, draft("k1"), draft("k1", Lane("A", EMAIL)), draft("k3")) == 1
    assert put(connection, draft("k1", Lane("B", SLACK))) == 1
    assert put(connection) == 0

    assert statuses(host) == {("slack", "pending"): 4}


def test_two_at_once_put_the_same_message_in_once(
    database: Database, connection: psycopg.Connection, another: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(1) as threads:
        with connection.transaction():
            first = put(connection, draft("k1"), draft("k2"))
            second = threads.submit(put, another, draft("k1"), draft("k2"), draft("k3"))
            wait_for_blocked_statement(database)
        assert (first, second.result(timeout=60)) == (2, 1)


def test_a_key_rolled_back_by_one_transaction_is_inserted_by_another(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, another: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(1) as threads:
        with connection.transaction(force_rollback=True):
            put(connection, draft("k1", body="取り消し"))
            second = threads.submit(put, another, draft("k1", body="残る"))
            wait_for_blocked_statement(database)
        assert second.result(timeout=60) == 1

    assert host.execute("SELECT body FROM batch.outbox").fetchall() == [("残る",)]


def test_a_message_arrives_at_its_sender_as_it_was_put_in(connection: psycopg.Connection) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": '"<é>\n\\'}}]
    put(connection, draft("k1", body='"本文"\n\\', rich=blocks))

    (claimed,) = claim(connection)

    message = claimed.message
    assert (message.tenant_id, message.channel, message.destination) == ("A", SLACK, "C1")
    assert (message.subject, message.text, message.rich) == ("件名", '"本文"\n\\', blocks)
    assert (claimed.attempts, claimed.host_log_id) == (0, None)


# Out of it -----------------------------------------------------------------------------------------------------------------


def test_high_comes_before_medium_before_low_and_then_the_oldest(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    hours = {"old": 3, "new": 1}
    for name, priority in (("low", 3), ("medium", 2), ("high", 1)):
        for age in ("new", "old"):
            due_at = NOW - timedelta(hours=hours[age])
            put(connection, draft(f"{name} {age}", priority=priority, due_at=due_at))

    one_by_one = [*claim(connection, count=1), *claim(connection, count=1), *claim(connection, count=1)]
    the_rest = claim(connection, count=2)

    assert keys(host, one_by_one) == ["high old", "high new", "medium old"]
    assert set(keys(host, the_rest)) == {"medium new", "low old"}
    assert keys(host, claim(connection)) == ["low new"]


def test_a_postponed_message_comes_after_those_that_waited_longer(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    for name, hours in (("first", 3), ("second", 2)):
        put(connection, draft(name, due_at=NOW - timedelta(hours=hours)))
    taken = claim(connection, count=1)
    record(connection, taken, failed(SLACK, "http_429"))

    assert keys(host, taken) == ["first"]
    later = NOW + timedelta(hours=1)
    assert keys(host, claim(connection, count=1, now=later)) == ["second"]
    assert keys(host, claim(connection, count=1, now=later)) == ["first"]


def test_only_what_is_due_in_the_lane_is_taken(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    put(
        connection,
        draft("due", due_at=NOW),
        draft("tomorrow", due_at=NOW + timedelta(days=1)),
        draft("letter", Lane("A", EMAIL)),
        draft("of b", Lane("B", SLACK)),
    )

    assert keys(host, claim(connection)) == ["due"]
    assert claim(connection) == []
    assert outbox.due_lanes(connection, ["A", "B"], DUE, NOW) == [Lane("A", EMAIL), Lane("B", SLACK)]
    assert outbox.due_lanes(connection, ["A"], DUE, NOW + timedelta(days=1)) == [Lane("A", EMAIL), A]
    assert outbox.due_lanes(connection, ["A", "B"], [Status.RETRY], NOW) == []


def test_two_senders_never_get_the_same_message(
    host: psycopg.Connection, connection: psycopg.Connection, another: psycopg.Connection
) -> None:
    put(connection, *(draft(f"k{number}") for number in range(10)))

    with connection.transaction():
        first = claim(connection, count=4)
        second = claim(another, count=4, owner="second")  # does not wait for the first
    third = claim(another, count=4, owner="second")

    assert [len(first), len(second), len(third)] == [4, 4, 2]
    assert len({entry.message.message_id for entry in (*first, *second, *third)}) == 10
    owners = host.execute("SELECT lease_owner, count(*) FROM batch.outbox GROUP BY 1 ORDER BY 1").fetchall()
    assert owners == [("first", 4), ("second", 6)]


# Leases --------------------------------------------------------------------------------------------------------------------


def test_messages_of_a_lost_sender_are_parked_and_e_mails_repeated(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    lanes = [Lane("A", channel) for channel in CHANNELS.values()]
    put(connection, *(draft(lane.channel, lane) for lane in lanes), draft("waits", due_at=NOW + LEASE))
    ids = {lane.channel: claim(connection, lane)[0].message.message_id for lane in lanes}

    # A clock that is a day ahead parks nothing: the leases are by the database's.
    assert park(connection, datetime.now(UTC) + timedelta(days=1)) == {}
    lose_senders(host)
    parked = park(connection, NOW)

    is_repeated = {channel: channel.may_repeat and channel.attempts > 1 for channel in ids}
    assert parked == {
        ids[channel]: Status.RETRY if is_repeated[channel] else Status.AMBIGUOUS for channel in ids
    }
    assert state(host, "email") == ("retry", 1, None, "sender_lost")
    assert state(host, "slack") == ("ambiguous", 1, None, "sender_lost")
    assert state(host, "waits") == ("pending", 0, None, None)
    assert park(connection, NOW + timedelta(days=1)) == {}


def test_a_parked_message_is_not_claimed_again(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    letter = Lane("A", EMAIL)
    put(connection, draft("post"), draft("letter", letter))
    claim(connection)
    claim(connection, letter)
    later = NOW + LEASE + timedelta(seconds=1)
    lose_senders(host)
    park(connection, later)

    assert claim(connection, now=later) == []
    (again,) = claim(connection, letter, owner="second", now=later)
    assert again.attempts == 1


def test_a_sender_without_its_lease_can_record_only_an_arrival(
    host: psycopg.Connection, connection: psycopg.Connection, another: psycopg.Connection
) -> None:
    letter = Lane("A", EMAIL)
    log_id = waiting(host, "A", "SLACK")
    put(connection, draft("post", host_log_id=log_id), draft("letter", letter))
    slow_post, slow_letter = claim(connection), claim(connection, letter)
    later = NOW + LEASE + timedelta(seconds=1)
    lose_senders(host)
    park(another, later)
    taken_over = claim(another, letter, owner="second", now=later)

    record(connection, slow_post)
    record(connection, slow_letter, failed(EMAIL, "smtp_5"), lane=letter)

    assert state(host, "post") == ("sent", 1, None, None)
    assert state(host, "letter") == ("sending", 1, "second", "sender_lost")
    assert shown(host, log_id)[:3] == ("SUCCESS", 1, None)
    record(another, taken_over, lane=letter, owner="second")
    assert state(host, "letter") == ("sent", 2, None, None)


def test_an_arrival_of_a_message_that_is_held_since_is_recorded(
    host: psycopg.Connection, connection: psycopg.Connection, another: psycopg.Connection
) -> None:
    letter = Lane("A", EMAIL)
    put(connection, draft("letter", letter))
    slow = claim(connection, letter)
    lose_senders(host)
    park(another, NOW + LEASE + timedelta(seconds=1))
    host.execute("UPDATE batch.outbox SET deferred_for = 'BATCH-019-02'")

    record(connection, slow, lane=letter)

    assert state(host, "letter") == ("sent", 1, None, None)
    assert host.execute("SELECT FROM batch.outbox WHERE deferred_for IS NOT null").rowcount == 0


def test_a_result_recorded_twice_counts_once(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    put(connection, draft("k1"))
    claimed = claim(connection)

    record(connection, claimed)
    record(connection, claimed, failed(SLACK, "msg_too_long"))

    assert state(host, "k1") == ("sent", 1, None, None)
    assert host.execute("SELECT provider_message_id, finished_at FROM batch.outbox").fetchall() == [
        ("ts-1", NOW)
    ]


# Several lanes in one transaction ------------------------------------------------------------------------------------------


def test_results_of_several_lanes_take_one_statement(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    lanes = [A, Lane("B", SLACK)]
    put(connection, *(draft(f"{lane.tenant_id} {number}", lane) for lane in lanes for number in range(3)))

    def exchange(*exchanges: Exchange) -> list[Claims]:
        return outbox.exchange(connection, exchanges, DUE, owner="first", started_at=NOW, now=NOW)

    of_a, of_b = exchange(*(Exchange(lane, (), 3) for lane in lanes))
    statements = note_statements(connection)
    exchange(Exchange(A, attempts(of_a.messages[:1]), 0))
    of_one = statements.copy()
    statements.clear()
    exchange(Exchange(A, attempts(of_a.messages[1:]), 0), Exchange(lanes[1], attempts(of_b.messages), 0))

    assert [sorted(keys(host, each.messages)) for each in (of_a, of_b)] == [
        ["A 0", "A 1", "A 2"],
        ["B 0", "B 1", "B 2"],
    ]
    assert statuses(host) == {("slack", "sent"): 6}
    assert statements == of_one


@pytest.mark.tenants("C", "D")
def test_unreadable_data_of_a_lane_stop_no_other_lane(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    tenant_ids = ["A", "B", "C", "D"]
    for tenant_id in tenant_ids:
        slack(host, tenant_id, services)
    put(connection, *(draft(each, Lane(each, SLACK)) for each in tenant_ids), tenant_ids=tenant_ids)
    host.execute("UPDATE batch.outbox SET due_at = '-infinity' WHERE tenant_id = 'C'")

    reports = dispatch_due(
        connection,
        tenant_ids,
        network(services),
        owner="run",
        clock=lambda: NOW,
        settings=NotificationSettings.load(),
    )

    assert [each for each in tenant_ids if reports[each].problems] == ["C"]
    assert {each: state(host, each)[:3] for each in tenant_ids} == {
        each: ("pending", 0, None) if each == "C" else ("sent", 1, None) for each in tenant_ids
    }


# Closed channels and dead addresses ----------------------------------------------------------------------------------------


def test_a_closed_channel_is_no_lane_and_everybody_elses_is(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    put(
        connection,
        draft("k1", priority=1),
        draft("k2"),
        draft("letter", Lane("A", EMAIL)),
        draft("of b", Lane("B", SLACK)),
    )
    claimed = claim(connection, count=1)

    record(connection, claimed, failed(SLACK, "token_revoked"))

    assert outbox.due_lanes(connection, ["A", "B"], DUE, NOW) == [Lane("A", EMAIL), Lane("B", SLACK)]
    assert state(host, "k1") == ("retry", 1, None, "token_revoked")
    assert state(host, "k2") == ("pending", 0, None, None)
    assert host.execute(
        "SELECT tenant_id, channel, error_code, opened_at FROM batch.channel_circuit"
    ).fetchall() == [("A", "slack", "token_revoked", NOW)]


def test_when_a_channel_closes_its_queue_waits_and_all_others_go_on(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    """Both tenants in one run; only the first one's Slack is asked with a token that Slack does not know."""
    integration(
        host,
        "A",
        "slack",
        auth={"bot_token": "revoked"},
        connection={"base_url": services.slack_base_url},
    )
    integration(host, "A", "teams", auth={"webhook_url": services.teams_webhook_url})
    slack(host, "B", services)
    put(
        connection,
        *(draft(f"post {number}", destination=f"C{number}") for number in range(20)),
        *(draft(f"of b {number}", Lane("B", SLACK), destination=f"D{number}") for number in range(8)),
        draft("card", Lane("A", TEAMS), destination=""),
        draft("letter", Lane("A", EMAIL)),
    )

    for _ in range(2):
        dispatch_due(
            connection,
            ["A", "B"],
            network(services),
            owner="run",
            clock=lambda: NOW,
            settings=NotificationSettings.load(),
        )

    assert statuses(host) == {
        ("slack", "retry"): 5,
        ("slack", "pending"): 15,
        ("slack", "sent"): 8,
        ("teams", "sent"): 1,
        ("email", "sent"): 1,
    }
    assert {arrived.destination for arrived in services.messages if arrived.channel == "slack"} == {
        f"D{number}" for number in range(8)
    }


def test_an_address_is_kept_in_lower_case_for_its_tenant_alone(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    letter = Lane("A", EMAIL)
    put(connection, draft("k1", letter, destination="Nobody@Example.JP"))

    record(connection, claim(connection, letter), failed(EMAIL, "5.1.1"), lane=letter)

    assert state(host, "k1") == ("dead", 1, None, "5.1.1")
    assert outbox.suppressed_addresses(connection, "A", NOW).keys() == {"nobody@example.jp"}
    assert outbox.suppressed_addresses(connection, "B") == {}


def test_another_tenant_still_writes_to_an_address_that_one_has_given_up(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host.execute(
        "INSERT INTO batch.suppressed_address (tenant_id, address, error_code) VALUES ('A', 'member@example.jp', '5.1.1')"
    )
    waiting(host, "A", recipient_address="MEMBER@example.jp")
    waiting(host, "A", recipient_address="other@example.jp")
    waiting(host, "B", recipient_address="member@example.jp")

    run_notifications(database, services)

    assert sorted(arrived.destination for arrived in services.messages) == [
        "member@example.jp",
        "other@example.jp",
    ]
    assert statuses(host) == {("email", "sent"): 2, ("email", "dead"): 1}


# The application's rows --------------------------------------------------------------------------------------------------


def shown(host: psycopg.Connection, log_id: str) -> tuple[str, int, str | None, datetime | None, str | None]:
    """Status, attempts, code, moment and details."""
    found = host.execute(
        'SELECT send_status, send_attempts, response_code, sent_at, error_details FROM "HIS_NotificationLog" WHERE id = %s',
        [log_id],
    ).fetchone()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (SENT, ("SUCCESS", 1, None)),
        (failed(SLACK, "http_503", "HTTP 503"), ("RETRY", 1, "http_503")),
        (failed(SLACK, "ratelimited"), ("RETRY", 0, "ratelimited")),
        (failed(SLACK, "token_revoked"), ("RETRY", 1, "token_revoked")),
        (failed(SLACK, "channel_not_found"), ("FAILED", 1, "channel_not_found")),
        (failed(SLACK, "timeout"), ("FAILED", 1, "timeout")),
    ],
    ids=lambda value: value.error.code if isinstance(value, SendResult) and value.error else None,
)
def test_the_result_of_a_message_is_shown_in_the_applications_row(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    result: SendResult,
    expected: tuple[str, int, str | None],
) -> None:
    log_id, other = waiting(host, "A", "SLACK"), waiting(host, "A", "SLACK")
    put(connection, draft("k1", host_log_id=log_id), draft("k2"))

    record(connection, claim(connection), result)

    *status, sent_at, details = shown(host, log_id)
    assert tuple(status) == expected
    assert sent_at == (NOW.replace(tzinfo=None) if result is SENT else None)
    if result.error:
        assert details is not None
        assert result.error.meaning in details
    else:
        assert details is None
    assert shown(host, other) == ("PENDING", 0, None, None, None)


def test_a_success_clears_what_an_earlier_try_had_left(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    log_id = waiting(host, "A", "SLACK")
    put(connection, draft("k1", host_log_id=log_id))
    record(connection, claim(connection), failed(SLACK, "http_503", retry_after=timedelta(seconds=1)))
    assert shown(host, log_id)[:3] == ("RETRY", 1, "http_503")

    record(connection, claim(connection, now=NOW + timedelta(seconds=1)))

    assert shown(host, log_id) == ("SUCCESS", 2, None, NOW.replace(tzinfo=None), None)


def test_no_detail_of_a_result_is_the_message_itself(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    put(connection, draft("k1", subject="極秘", body="極秘", destination="C-SECRET"))
    record(connection, claim(connection), failed(SLACK, "channel_not_found", "HTTP 200"))

    (detail,) = host.execute("SELECT error_detail FROM batch.outbox").fetchone() or ("",)
    assert detail == "チャンネルがありません（HTTP 200）"


# Other tenants -------------------------------------------------------------------------------------------------------------


def test_nothing_is_put_in_for_a_tenant_outside_the_transaction(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        put(connection, draft("k1"), draft("k2", Lane("B", SLACK)), tenant_ids=["A"])


def test_another_tenants_messages_are_neither_seen_nor_changed(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    of_b = Lane("B", SLACK)
    log_of_b = waiting(host, "B", "SLACK")
    put(connection, draft("k1"), draft("k1", of_b, host_log_id=log_of_b), draft("k2", of_b))
    in_flight = claim(connection, of_b, count=1)
    before = everything(host, "B")

    assert outbox.due_lanes(connection, ["A"], DUE, NOW) == [A]
    assert len(claim(connection)) == 1
    record(connection, in_flight)  # as A's
    record(connection, in_flight, failed(SLACK, "token_revoked"))
    lose_senders(host)
    before = everything(host, "B")
    assert len(park(connection, NOW + timedelta(days=1), ["A"])) == 1
    assert outbox.suppressed_addresses(connection, "A") == {}

    assert everything(host, "B") == before
    assert shown(host, log_of_b)[0] == "PENDING"


def test_a_message_never_changes_another_tenants_row_of_the_application(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    log_of_b = waiting(host, "B", "SLACK")
    put(connection, draft("k1", host_log_id=log_of_b))

    record(connection, claim(connection))

    # The row is not to be seen, as if it were deleted.
    assert state(host, "k1")[0] == "withdrawn"
    assert shown(host, log_of_b) == ("PENDING", 0, None, None, None)


@pytest.mark.parametrize("table", ["outbox", "channel_circuit", "suppressed_address", "notification_signal"])
def test_without_a_tenant_no_rows_are_visible(
    host: psycopg.Connection, connection: psycopg.Connection, table: str
) -> None:
    put(connection, draft("k1"))
    record(connection, claim(connection), failed(SLACK, "token_revoked"))
    host.execute(
        "INSERT INTO batch.suppressed_address (tenant_id, address, error_code) VALUES ('A', 'a@example.jp', '5.1.1')"
    )
    host.execute("INSERT INTO batch.notification_signal VALUES ('x', 'A', '[]', '[]', '[]')")

    count = f"SELECT count(*) FROM batch.{table}"
    assert host.execute(count).fetchone() == (1,)
    assert connection.execute(count).fetchone() == (0,)
    assert connection.execute(f"DELETE FROM batch.{table}").rowcount == 0
    with tenant_transaction(connection, ["B"]):
        assert connection.execute(count).fetchone() == (0,)
    with tenant_transaction(connection, ["A"]):
        assert connection.execute(count).fetchone() == (1,)
