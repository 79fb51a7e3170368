"""The board shows when a letter leaves and whether it has left, and offers to stop and to send it exactly if the operations do so."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
import pytest

from skill_batch.board.pages.invoice import load_invoice
from skill_batch.board.pages.invoices import load_month, possible_actions
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.schema.deploy import BOARD
from tests.conftest import Database
from tests.worlds.billing_rows import (
    MONTH,
    customer,
    invoices,
    operate,
    reasons,
    run_billing,
)

pytestmark = [pytest.mark.usefixtures("billed"), pytest.mark.billed(letters_on="bank_day")]

# October's invoices are issued on a Sunday, and their letters leave on the Monday after it.
SUNDAY, MONDAY, TUESDAY = date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)
BOTH = {"stop_letter", "send_letter"}


class Shown(NamedTuple):
    """What the board shows about a letter: its state, the day on which it leaves, and the buttons."""

    state: str | None
    leaves_on: date | None
    buttons: set[str]


def shown(database: Database, position: int = 0) -> Shown:
    """One of A's documents of October, which the list and its own page show alike."""
    with database.connect(BOARD) as reader:
        listed = load_month(reader, MONTH, MONTH).documents[position]
        page = load_invoice(reader, listed["invoice_id"], TUESDAY)
    assert page is not None
    columns = [name for name in listed if name.startswith("letter_")]
    assert {name: page.row[name] for name in columns} == {name: listed[name] for name in columns}
    return Shown(
        listed["letter_state"], listed["letter_leaves_on"], BOTH.intersection(possible_actions(listed))
    )


def letter(database: Database, operation: str, on: date = SUNDAY, **options: Any) -> RunResult:
    """An operation on A's invoice at 10:00."""
    at = datetime(on.year, on.month, on.day, 10, tzinfo=JAPAN)
    return operate(database, operation, run_at=at, **({"reason": "金額を確認する"} | options))


def queue_message(host: psycopg.Connection, status: str) -> None:
    """The message of A's letter with this status."""
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, host_log_id, channel, destination, subject, body, status, due_at,
            next_attempt_at, created_by, finished_at, lease_owner, lease_until
        )
        SELECT
            'm', tenant_id, 'host:' || id, id, 'email', recipient_address, subject, message_body, %(status)s,
            '2026-11-02', '2026-11-02', 'a run',
            CASE WHEN %(status)s NOT IN ('pending', 'sending', 'retry', 'ambiguous') THEN now() END,
            CASE WHEN %(status)s = 'sending' THEN 'a run' END,
            CASE WHEN %(status)s = 'sending' THEN now() END
        FROM "HIS_NotificationLog"
        """,
        {"status": status},
    )


def test_a_letter_waits_for_its_day_and_is_sent(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    assert shown(database) == ("planned", MONDAY, BOTH)

    arrived(MONDAY)

    # The day is not over, but the letter has left.
    assert shown(database) == ("sent", MONDAY, set())
    with database.connect(BOARD) as reader:
        (row,) = load_month(reader, MONTH, MONTH).documents
    assert host.execute("SELECT finished_at FROM batch.outbox").fetchall() == [(row["letter_finished_at"],)]


def test_a_letter_that_is_sent_at_once_waits_for_the_next_run(database: Database, arrived: Any) -> None:
    letter(database, "stop_letter")
    assert shown(database).buttons == {"send_letter"}

    letter(database, "send_letter", on=MONDAY)

    # It can be stopped again.
    assert shown(database) == ("planned", MONDAY, BOTH)
    arrived(TUESDAY)
    assert shown(database).state == "sent"


def test_each_document_has_the_state_of_its_own_letter(database: Database, arrived: Any) -> None:
    arrived(MONDAY)
    values = {"correction": "宛名", "recipient_name": "青葉商事"}
    letter(database, "correct", on=MONDAY, reason="", values=values)
    assert shown(database) == ("withdrawn", date(2026, 11, 4), {"send_letter"})
    letter(database, "send_letter", on=TUESDAY)
    assert shown(database) == ("planned", TUESDAY, BOTH)

    letter(database, "credit", on=MONDAY)

    assert shown(database) == ("withdrawn", TUESDAY, set())
    assert shown(database, 1) == ("planned", date(2026, 11, 4), set())


def test_the_letter_of_a_void_invoice_is_withdrawn(database: Database) -> None:
    letter(database, "void")

    assert shown(database) == ("withdrawn", MONDAY, set())


def test_a_document_without_a_letter_has_no_state(database: Database, host: psycopg.Connection) -> None:
    # BATCH-019-04 has archived the application's row.
    host.execute("""DELETE FROM "HIS_NotificationLog" """)

    assert shown(database) == (None, None, set())


@pytest.mark.parametrize("operation", sorted(BOTH))
@pytest.mark.parametrize(
    "status",
    ["pending", "retry", "sending", "sent", "ambiguous", "dead", "expired", "discarded", "withdrawn"],
)
def test_a_message_allows_what_the_board_offers(
    database: Database, host: psycopg.Connection, status: str, operation: str
) -> None:
    queue_message(host, status)
    found = shown(database)

    result = letter(database, operation)

    assert (found.state, found.leaves_on) == (status, MONDAY)
    assert (operation in found.buttons) == (result.status == "completed"), reasons(result)


@pytest.mark.parametrize("operation", sorted(BOTH))
@pytest.mark.parametrize(
    ("change", "state"),
    [
        ("is_deleted = true", "withdrawn"),
        ("send_status = 'RETRY'", "planned"),
        ("send_status = 'Cancelled'", "withdrawn"),
        ("send_status = 'SKIPPED'", "withdrawn"),
        ("send_status = 'SUCCESS'", "sent"),
        ("send_status = 'FAILED'", "dead"),
        ("send_status = null", "dead"),
    ],
)
def test_the_applications_row_allows_what_the_board_offers(
    database: Database, host: psycopg.Connection, change: str, state: str, operation: str
) -> None:
    host.execute(f"""UPDATE "HIS_NotificationLog" SET {change}""")
    found = shown(database)

    result = letter(database, operation)

    assert found.state == state
    assert (operation in found.buttons) == (result.status == "completed"), reasons(result)


def test_a_customer_without_an_address_has_no_letter(database: Database, host: psycopg.Connection) -> None:
    customer(host, "C", contact_email=None, admin_email="none")
    run_billing(database)
    assert [row["tenant_id"] for row in invoices(host)] == ["A", "C"]

    assert shown(database, 1) == (None, None, set())
