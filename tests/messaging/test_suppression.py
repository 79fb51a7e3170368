"""How long an address gets no mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox, suppression
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outbox import Lane, MessageDraft, SendAttempt
from include.skillreport.messaging.outcome import Outcome, SendResult, failed
from include.skillreport.messaging.retry import Status, transition
from include.skillreport.messaging.suppression import SuppressionReason, masked
from tests.worlds import host_rows
from tests.worlds.outbox_rows import claim_due, record_sent

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ADDRESS = "taro@example.jp"
SENT = SendResult(Outcome.SENT)
BOUNCED = failed(EMAIL, "5.1.1")


class Letters:
    """Sends letters of tenant A to one address, each in a transaction of the outbox."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._sent = 0

    def claim(self, now: datetime, count: int = 1) -> Sequence[outbox.Claimed]:
        """New letters under a lease."""
        drafts = []
        for _ in range(count):
            self._sent += 1
            drafts.append(MessageDraft("A", f"k{self._sent}", EMAIL, "Taro@Example.jp", "件名", "本文", now))
        with tenant_transaction(self._connection, ["A"]):
            outbox.enqueue(self._connection, drafts, created_by="test")
        return claim_due(
            self._connection,
            Lane("A", EMAIL),
            [Status.PENDING],
            count=count,
            owner="test",
            due_before=now,
            now=now,
        )

    def record(self, claimed: Sequence[outbox.Claimed], result: SendResult, now: datetime) -> None:
        attempts = [
            SendAttempt(entry, result, transition(EMAIL, entry.attempts, result, now, spread=0))
            for entry in claimed
        ]
        record_sent(self._connection, Lane("A", EMAIL), attempts, owner="test", now=now)

    def send(self, result: SendResult, now: datetime, count: int = 1) -> str:
        """Returns the id of the (last) message."""
        claimed = self.claim(now, count)
        self.record(claimed, result, now)
        return claimed[-1].message.message_id

    def bounce_later(self, message_id: str, now: datetime) -> None:
        """A bounce mail about a letter that was accepted."""
        with tenant_transaction(self._connection, ["A"]):
            suppression.record_bounce(
                self._connection, "A", ADDRESS, message_id=message_id, error_code="5.1.1", now=now
            )

    def is_suppressed(self, now: datetime) -> bool:
        return ADDRESS in outbox.suppressed_addresses(self._connection, "A", now)


@pytest.fixture
def letters(host: psycopg.Connection, connection: psycopg.Connection) -> Letters:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
    return Letters(connection)


def test_a_bounce_suppresses_for_thirty_days(letters: Letters) -> None:
    letters.send(BOUNCED, NOW)

    assert letters.is_suppressed(NOW)
    assert letters.is_suppressed(NOW + 30 * DAY - timedelta(seconds=1))
    assert not letters.is_suppressed(NOW + 30 * DAY)


def test_a_tenant_may_have_its_own_time(letters: Letters, host: psycopg.Connection) -> None:
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="patient",
        tenant_id="A",
        setting_key="batch.notification.suppress_days",
        setting_value="3",
        updated_at=datetime(2026, 10, 1),
    )

    letters.send(BOUNCED, NOW)

    assert letters.is_suppressed(NOW + 2 * DAY)
    assert not letters.is_suppressed(NOW + 3 * DAY)


def test_three_bounces_in_a_row_suppress_for_good(letters: Letters) -> None:
    for number in range(3):
        assert not letters.is_suppressed(NOW + number * 40 * DAY)
        letters.send(BOUNCED, NOW + number * 40 * DAY)

    assert letters.is_suppressed(NOW + 10_000 * DAY)


def test_letters_under_way_together_bounce_once(letters: Letters) -> None:
    letters.send(BOUNCED, NOW, count=5)

    assert not letters.is_suppressed(NOW + 30 * DAY)


def test_a_letter_that_is_accepted_in_between_ends_the_row(letters: Letters) -> None:
    letters.send(BOUNCED, NOW)
    letters.send(BOUNCED, NOW + 40 * DAY)
    letters.send(SENT, NOW + 80 * DAY)
    letters.send(BOUNCED, NOW + 90 * DAY)

    assert not letters.is_suppressed(NOW + 120 * DAY)


def test_a_relay_that_accepts_everything_first_ends_no_row(letters: Letters) -> None:
    for number in range(3):
        now = NOW + number * 40 * DAY
        letters.bounce_later(letters.send(SENT, now), now + DAY)

    assert letters.is_suppressed(NOW + 10_000 * DAY)


def test_an_accepted_letter_is_forgotten_when_it_cannot_bounce_any_more(
    letters: Letters, host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    letters.send(BOUNCED, NOW)
    letters.send(SENT, NOW + 40 * DAY)

    left = []
    for days in (46, 48):
        with tenant_transaction(connection, ["A"]):
            suppression.forget_ended(connection, NOW + days * DAY)
        left.append(host.execute("SELECT bounces FROM batch.suppressed_address").fetchall())

    assert left == [[(1,)], []]


@pytest.mark.parametrize("code", ["suppressed", "invalid_address"])
def test_an_error_before_any_server_refusal_is_no_bounce(
    letters: Letters, host: psycopg.Connection, code: str
) -> None:
    letters.send(failed(EMAIL, code), NOW)

    assert host.execute("SELECT * FROM batch.suppressed_address").fetchall() == []


def test_a_complaint_suppresses_for_good_and_is_recorded_once(
    letters: Letters, connection: psycopg.Connection
) -> None:
    letters.send(BOUNCED, NOW)

    with tenant_transaction(connection, ["A"]):
        changes = [
            suppression.suppress_for_good(connection, "A", "Taro@example.jp", reason, NOW + DAY)
            for reason in (
                SuppressionReason.COMPLAINT,
                SuppressionReason.COMPLAINT,
                SuppressionReason.UNSUBSCRIBE,
            )
        ]
        (listed,), numbers = suppression.list_suppressed(connection, (), NOW + DAY, most=10)

    assert changes == [True, False, False]
    assert (listed.reason, listed.since, listed.until) == (SuppressionReason.COMPLAINT, NOW + DAY, None)
    assert numbers == {"A": 1}
    # A letter under way that bounces or is accepted changes nothing.
    letters.send(BOUNCED, NOW + 2 * DAY)
    letters.send(SENT, NOW + 3 * DAY)
    assert letters.is_suppressed(NOW + 10_000 * DAY)


def test_another_tenants_addresses_are_not_there(letters: Letters, connection: psycopg.Connection) -> None:
    letters.send(BOUNCED, NOW)

    with tenant_transaction(connection, ["B"]):
        assert suppression.list_suppressed(connection, (), NOW, most=10) == ([], {})
        assert suppression.lift(connection, [ADDRESS]) == []
    assert letters.is_suppressed(NOW)
    with tenant_transaction(connection, ["A"]):
        assert suppression.lift(connection, ["TARO@example.jp"]) == ["A"]
    assert not letters.is_suppressed(NOW)


@pytest.mark.parametrize(
    ("address", "shown"), [("taro@example.jp", "t***@example.jp"), ("taro", "t***"), ("", "***")]
)
def test_a_masked_address_shows_its_domain(address: str, shown: str) -> None:
    assert masked(address) == shown


def unsubscribe(connection: psycopg.Connection, now: datetime) -> None:
    """A.'s recipient sends an unsubscription."""
    with tenant_transaction(connection, ["A"]):
        suppression.suppress_for_good(connection, "A", ADDRESS, SuppressionReason.UNSUBSCRIBE, now)


def test_a_bounce_beside_an_unsubscription_stops_contract_letters_for_a_time(
    letters: Letters, connection: psycopg.Connection
) -> None:
    unsubscribe(connection, NOW)
    reasons = []
    for number in range(3):
        now = NOW + number * 40 * DAY
        letters.send(BOUNCED, now)
        for later in (now + DAY, now + 30 * DAY):
            reasons.append(outbox.suppressed_addresses(connection, "A", later)[ADDRESS])

    for_a_time = [SuppressionReason.BOUNCE, SuppressionReason.UNSUBSCRIBE]
    assert reasons == [*for_a_time, *for_a_time, SuppressionReason.BOUNCE, SuppressionReason.BOUNCE]


def test_an_unsubscription_does_not_end_a_bounce(letters: Letters, connection: psycopg.Connection) -> None:
    letters.send(BOUNCED, NOW)
    unsubscribe(connection, NOW + DAY)

    at = [NOW + 2 * DAY, NOW + 30 * DAY]
    found = [outbox.suppressed_addresses(connection, "A", each)[ADDRESS] for each in at]
    assert found == [SuppressionReason.BOUNCE, SuppressionReason.UNSUBSCRIBE]


def test_an_accepted_contract_letter_ends_the_bounces_and_not_the_unsubscription(
    letters: Letters, connection: psycopg.Connection
) -> None:
    letters.send(BOUNCED, NOW)
    unsubscribe(connection, NOW + DAY)
    letters.send(SENT, NOW + 40 * DAY)
    with tenant_transaction(connection, ["A"]):
        suppression.forget_ended(connection, NOW + 60 * DAY)
        (listed,), _ = suppression.list_suppressed(connection, (), NOW + 60 * DAY, most=10)

    assert (listed.reason, listed.bounces, listed.bounced_until) == (SuppressionReason.UNSUBSCRIBE, 0, None)
