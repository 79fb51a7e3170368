"""Letters about invoices leave on a business day of banks, and can be stopped until then."""

from __future__ import annotations

import threading
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import void_invoice
from include.skillreport.billing.ledger.letters import LetterDecision, send_letter
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, find_invoice
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.messaging.channels import EMAIL
from include.skillreport.messaging.outbox import Exchange, Lane, MessageDraft, enqueue, exchange
from include.skillreport.messaging.retry import Status
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds.billing_rows import (
    billing_profile,
    customer,
    invoice,
    invoices,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.kept_rows import planted_once
from tests.worlds.own_settings import change_billing

# A Sunday, on which the run of October's invoices works, and the Monday after it.
SUNDAY, MONDAY = date(2026, 11, 1), date(2026, 11, 2)


@pytest.fixture(autouse=True)
def billed(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """October of A and B, with letters that leave on business days as in the shipped settings."""
    change_billing(monkeypatch, tmp_path, letters_on="bank_day")

    def plant() -> None:
        customer(host, "A", contact_email="keiri@a.example")
        customer(host, "B", contact_email="keiri@b.example")
        run_billing(database, store=store)

    planted_once(__name__, database, plant, store)


def letter(database: Database, operation: str, on: date = SUNDAY, **values: Any) -> RunResult:
    """One of the operations on A's letter."""
    at = datetime(on.year, on.month, on.day, 10, tzinfo=JAPAN)
    return operate(database, operation, reason="金額を確認する", values=values, run_at=at)


def stops(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute("SELECT tenant_id, reason FROM batch.letter_stop").fetchall()


def queue_message(host: psycopg.Connection, status: str, attempts: int = 0) -> None:
    """The message of A's letter, which BATCH-019-01 has read."""
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, host_log_id, channel, destination, subject, body, status, due_at,
            next_attempt_at, created_by, finished_at, attempts
        )
        SELECT
            'm', tenant_id, 'host:' || id, id, 'email', recipient_address, subject, message_body, %(status)s,
            '2026-11-01', '2026-11-01', 'a run', CASE WHEN %(status)s = 'withdrawn' THEN now() END, %(attempts)s
        FROM "HIS_NotificationLog" WHERE tenant_id = 'A'
        """,
        {"status": status, "attempts": attempts},
    )


def void_letters(host: psycopg.Connection) -> list[str]:
    rows = host.execute("""SELECT recipient_address FROM "HIS_NotificationLog" WHERE id LIKE 'void-%'""")
    return [address for (address,) in rows]


def test_letters_leave_at_nine_on_the_first_business_day(host: psycopg.Connection, arrived: Any) -> None:
    assert invoice(host, "A")["leaves_on"] == MONDAY
    assert arrived(SUNDAY) == set()
    assert arrived(MONDAY) == {"keiri@a.example", "keiri@b.example"}


def test_a_customer_without_an_address_has_no_day_of_a_letter(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "C", contact_email=None, admin_email="none")
    run_billing(database)

    assert invoice(host, "C")["leaves_on"] is None
    result = operate(database, "stop_letter", "C", reason="確認")
    assert reasons(result)["C"].endswith("には、請求先に送る通知がありません。")


def test_a_stopped_letter_does_not_leave_and_a_void_leaves_no_trace(
    database: Database, arrived: Any, store: ObjectStore
) -> None:
    letter(database, "stop_letter")
    assert arrived(MONDAY) == {"keiri@b.example"}

    operate(database, "void", reason="二重請求", store=store)

    assert arrived(date(2026, 11, 4)) == set()


def test_a_stopped_letter_that_is_released_leaves_with_the_next_run(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    letter(database, "stop_letter")
    assert stops(host) == [("A", "金額を確認する")]
    arrived(MONDAY)

    result = letter(database, "send_letter", on=MONDAY)

    assert outcomes(host, result)["A"]["details"] == {"letter_released": "INV-2026-10-001"}
    assert stops(host) == []
    assert arrived(date(2026, 11, 4)) == {"keiri@a.example"}


def test_a_waiting_letter_can_be_sent_before_its_day(database: Database, arrived: Any) -> None:
    letter(database, "send_letter")
    assert arrived(SUNDAY) == {"keiri@a.example"}


def test_a_released_letter_goes_to_the_present_address(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    letter(database, "stop_letter")
    billing_profile(host, "A", email="new@a.example")
    letter(database, "send_letter")

    assert arrived(MONDAY) == {"new@a.example", "keiri@b.example"}


def test_a_letter_to_a_deleted_tenant_is_not_released(database: Database, host: psycopg.Connection) -> None:
    letter(database, "stop_letter")
    host.execute("""DELETE FROM "MST_Tenant" WHERE tenant_id = 'A'""")

    refused = letter(database, "send_letter")

    assert outcomes(host, refused)["A"]["error_code"] == "NO_RECIPIENT"
    assert reasons(refused)["A"].startswith("請求書 INV-2026-10-001 の通知を送れません。")
    assert stops(host) == [("A", "金額を確認する")]


def test_the_second_stop_shows_its_own_reason(database: Database, host: psycopg.Connection) -> None:
    letter(database, "stop_letter")
    result = operate(database, "stop_letter", reason="別の理由")

    assert outcomes(host, result)["A"]["notes"] == ["送付はすでに停止しています。理由を書き換えました"]
    assert stops(host) == [("A", "別の理由")]


@pytest.mark.parametrize("operation", ["stop_letter", "send_letter"])
def test_a_letter_that_has_left_is_neither_stopped_nor_sent_again(
    database: Database, host: psycopg.Connection, arrived: Any, operation: str
) -> None:
    arrived(MONDAY)

    result = letter(database, operation, on=MONDAY)

    assert outcomes(host, result)["A"]["error_code"] == "LETTER_HAS_LEFT"
    assert stops(host) == []
    assert arrived(date(2026, 11, 4)) == set()


@pytest.mark.parametrize("status", ["withdrawn", "retry"])
def test_a_letter_that_is_stopped_while_it_is_sent_can_be_released(
    database: Database, host: psycopg.Connection, arrived: Any, status: str
) -> None:
    letter(database, "stop_letter")
    # BATCH-019-01 had read the letter before the stop: it has withdrawn its message, or will do so.
    queue_message(host, status)

    letter(database, "send_letter")

    # BATCH-019-02 sends a message that has failed before.
    spec = SCHEDULED_NOTIFICATIONS if status == "withdrawn" else NOTIFICATION_RETRY
    assert "keiri@a.example" in arrived(MONDAY, spec)


def test_a_release_at_the_same_time_as_a_void_is_refused(database: Database, arrived: Any) -> None:
    refusals: list[BillingError] = []

    def release(stored: StoredInvoice) -> None:
        with database.connect("batch_tenant") as other, tenant_transaction(other, ["A"]):
            try:
                send_letter(
                    other,
                    load_terms(),
                    stored,
                    LetterDecision("a person", "another run", "確認済み"),
                    today=SUNDAY,
                    accepts_near_due=False,
                )
            except BillingError as refusal:
                refusals.append(refusal)

    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        stored = find_invoice(connection, "INV-2026-10-001")
        void_invoice(connection, load_terms(), stored, "二重請求", actor="a run")
        thread = threading.Thread(target=release, args=[stored])
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    assert [refusal.code for refusal in refusals] == ["ALREADY_TAKEN_BACK"]
    assert arrived(MONDAY) == {"keiri@b.example"}


def test_a_letter_withdrawn_while_a_sender_claims_it_stays(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    invoice_letter = f"invoice-{invoice(host, 'A')['invoice_id']}"
    at = datetime(2026, 11, 2, 9, tzinfo=JAPAN)
    draft = MessageDraft(
        "A",
        f"host:{invoice_letter}",
        EMAIL,
        "keiri@a.example",
        "件名",
        "本文",
        at,
        host_log_id=invoice_letter,
    )
    with (
        database.connect("batch_tenant") as sender,
        database.connect("batch_tenant") as connection,
        tenant_transaction(connection, ["A"]),
    ):
        stored = find_invoice(connection, "INV-2026-10-001")
        void_invoice(connection, load_terms(), stored, "二重請求", actor="a run")
        # The sender has read the waiting letters before.
        with tenant_transaction(sender, ["A"]):
            enqueue(sender, [draft], created_by="a run")
        wanted = Exchange(Lane("A", EMAIL), [], 5)
        (claims,) = exchange(sender, [wanted], [Status.PENDING], owner="s", started_at=at, now=at)

    assert not claims.messages
    assert arrived(MONDAY) == {"keiri@b.example"}


def test_a_void_after_an_attempt_that_may_have_arrived_is_announced(
    database: Database, host: psycopg.Connection
) -> None:
    queue_message(host, "retry", attempts=1)

    stopped = letter(database, "stop_letter")
    operate(database, "void", reason="二重請求", run_at=datetime(2026, 11, 2, 10, tzinfo=JAPAN))

    (note,) = outcomes(host, stopped)["A"]["notes"]
    assert note.startswith("送信を一度は試みたため、届いた可能性があります")
    assert void_letters(host) == ["keiri@a.example"]


def test_a_void_after_a_withdrawn_message_leaves_no_trace(
    database: Database, host: psycopg.Connection
) -> None:
    letter(database, "stop_letter")
    queue_message(host, "withdrawn")

    operate(database, "void", reason="二重請求", run_at=datetime(2026, 11, 2, 10, tzinfo=JAPAN))

    assert void_letters(host) == []


def test_few_days_until_the_due_date_need_a_tick(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    letter(database, "stop_letter")

    refused = letter(database, "send_letter", on=date(2026, 11, 20))

    assert outcomes(host, refused)["A"]["error_code"] == "DUE_TOO_NEAR"
    assert "請求書 INV-2026-10-001 の支払期限 2026-11-30 まで 10 日です" in reasons(refused)["A"]
    assert arrived(date(2026, 11, 20)) == {"keiri@b.example"}
    letter(database, "send_letter", on=date(2026, 11, 20), accept_near_due=True)
    assert arrived(date(2026, 11, 24)) == {"keiri@a.example"}


def test_own_terms_with_fewer_days_need_no_tick_on_the_planned_day(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "C", contact_email="keiri@c.example")
    billing_profile(host, "C", due_months=1, due_day=15)
    run_billing(database)
    assert invoice(host, "C")["due_on"] == date(2026, 11, 16)

    result = operate(
        database, "send_letter", "C", reason="確認済み", run_at=datetime(2026, 11, 2, 10, tzinfo=JAPAN)
    )

    assert result.status == "completed"


def test_a_late_invoice_is_due_later_and_its_letter_leaves_later(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "C", contact_email="keiri@c.example")
    run_billing(database, run_at=datetime(2026, 11, 30, 15, tzinfo=JAPAN))

    late = invoice(host, "C")

    assert (late["issued_on"], late["leaves_on"]) == (date(2026, 11, 30), date(2026, 12, 1))
    assert late["due_on"] == date(2027, 1, 4)


def test_a_credit_notes_letter_leaves_on_a_business_day_too(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "credit", reason="解約", run_at=datetime(2026, 11, 6, 15, tzinfo=JAPAN))

    _, credit = invoices(host, "A")
    assert credit["leaves_on"] == date(2026, 11, 9)
