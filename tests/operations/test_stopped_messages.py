"""Stopping all messages of a tenant: what waits is kept, and is sent after the operator has resumed them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.errors import ParameterError
from include.skillreport.messaging.contract_letters import INVOICE
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import listing, operate, run_notifications, waiting


@pytest.fixture(autouse=True)
def two_tenants(host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)


def stop(database: Database, services: StandIns, **values: Any) -> list[str]:
    """Stop the messages of A; returns the notes of the run."""
    result = operate(database, services, "stop", codes=["A"], **({"reason": "移行中"} | values))
    return notes(database, result.execution_id)


def notes(database: Database, execution_id: str) -> list[str]:
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT unnest(notes) FROM batch.tenant_outcome WHERE execution_id = %s", [execution_id]
        ).fetchall()
    return [note for (note,) in rows]


def letter(host: psycopg.Connection, message_id: str, kind: str | None, due: timedelta) -> None:
    """An e-mail of A in the outbox that was due ``due`` ago."""
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, template_key, due_at, next_attempt_at, created_by
        )
        VALUES (%(id)s, 'A', %(id)s, 'email', %(id)s || '@example.jp', '件名', '本文', %(kind)s, %(due_at)s, %(due_at)s, 'run')
        """,
        {"id": message_id, "kind": kind, "due_at": datetime.now(UTC) - due},
    )


def states(host: psycopg.Connection) -> dict[str, str]:
    return dict(host.execute("SELECT message_id, status FROM batch.outbox ORDER BY message_id").fetchall())


def test_nothing_of_a_stopped_tenant_is_sent_until_it_is_resumed(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    stop(database, services)
    waiting(host, "A", recipient_address="a@example.jp")
    waiting(host, "B", recipient_address="b@example.jp")

    run_notifications(database, services)
    assert [arrived.destination for arrived in services.messages] == ["b@example.jp"]

    result = operate(database, services, "resume", codes=["A"])
    assert [arrived.destination for arrived in services.messages] == ["b@example.jp", "a@example.jp"]
    assert notes(database, result.execution_id) == ["待っていた通知 1 件の送信を再開しました"]


def test_a_stopped_message_is_kept_longer_than_its_time_and_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    letter(host, "old", None, timedelta(days=20))
    stop(database, services)

    run_notifications(database, services, spec=NOTIFICATION_RETRY, on=datetime.now(UTC).date())
    assert states(host) == {"old": "pending"}

    operate(database, services, "resume", codes=["A"])
    assert states(host) == {"old": "sent"}


@pytest.mark.parametrize(("is_chosen", "sent"), [(False, {"bill": "sent", "news": "pending"}), (True, {})])
def test_contract_letters_are_stopped_only_by_choice(
    database: Database, host: psycopg.Connection, services: StandIns, is_chosen: bool, sent: dict[str, str]
) -> None:
    letter(host, "bill", INVOICE, timedelta(minutes=5))
    letter(host, "news", None, timedelta(minutes=5))

    told = stop(database, services, contract_letters=is_chosen)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert states(host) == {"bill": "pending", "news": "pending"} | sent
    assert told == [
        f"通知を止めました。待っている通知は {2 if is_chosen else 1} 件です。再開するまで送りません"
    ]


def test_the_stop_says_who_since_when_and_why(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    stop(database, services)
    stop(database, services, reason="解約の交渉中")

    rows = host.execute("SELECT tenant_id, reason FROM batch.message_stop").fetchall()
    assert rows == [("A", "解約の交渉中")]
    assert listing(database)[0].startswith("通知の送信を停止中です（解約の交渉中、")


def test_a_repeat_after_the_choice_was_widened_stops_letters_too(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    stop(database, services)
    stop(database, services, contract_letters=True)
    letter(host, "bill", INVOICE, timedelta(minutes=5))

    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert states(host) == {"bill": "pending"}


def test_a_message_that_has_failed_before_the_stop_is_not_retried(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    letter(host, "news", None, timedelta(minutes=5))
    host.execute("UPDATE batch.outbox SET status = 'retry', attempts = 1")
    stop(database, services)

    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert states(host) == {"news": "retry"}
    assert not services.messages


def test_resuming_what_is_not_stopped_changes_nothing_and_says_so(
    database: Database, services: StandIns
) -> None:
    result = operate(database, services, "resume", codes=["B"])

    assert notes(database, result.execution_id) == ["通知は止めていません"]


@pytest.mark.parametrize(
    ("codes", "values", "missing"),
    [(["A"], {"reason": " "}, "「理由」"), ([], {"reason": "移行中"}, "「テナントコード」")],
)
def test_a_stop_needs_a_tenant_and_a_reason(
    database: Database, services: StandIns, codes: list[str], values: dict[str, Any], missing: str
) -> None:
    with pytest.raises(ParameterError, match=missing):
        operate(database, services, "stop", codes=codes, **values)
