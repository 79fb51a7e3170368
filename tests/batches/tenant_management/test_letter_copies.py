"""Letters to several addresses: each address has its own message, and all of them are named in each."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.schema.deploy import BOARD
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds.billing_rows import (
    billing_profile,
    customer,
    invoice,
    invoices,
    operate,
    outcomes,
    run_billing,
)
from tests.worlds.outbox_rows import make_due
from tests.worlds.own_settings import change_billing

SUNDAY, MONDAY, FOURTH = date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 4)
FURTHER, CC = ["buyer@a.example", "boss@a.example"], ["audit@a.example"]
ALL = {"keiri@a.example", *FURTHER, *CC}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: psycopg.Connection) -> None:
    """A, whose letters leave on business days and go to four addresses."""
    change_billing(monkeypatch, tmp_path, letters_on="bank_day")
    customer(host, "A", contact_email="keiri@a.example")
    billing_profile(host, "A", further_emails=FURTHER, cc_emails=CC)


@pytest.fixture
def billed(database: Database, store: ObjectStore) -> None:
    """A's October."""
    run_billing(database, store=store)


def letter(database: Database, operation: str, on: date = SUNDAY, **values: Any) -> RunResult:
    """An operation on A's invoice at 10:00."""
    at = datetime(on.year, on.month, on.day, 10, tzinfo=JAPAN)
    result = operate(database, operation, reason="確認", values=values, run_at=at)
    assert result.status == "completed"
    return result


def profile(host: psycopg.Connection, **values: Any) -> None:
    host.execute("DELETE FROM batch.billing_profile")
    billing_profile(host, "A", **values)


def states(database: Database) -> dict[str, tuple[str, bool]]:
    """What the board shows about each address: the state of its letter, and whether that is a copy."""
    with database.connect(BOARD) as reader:
        rows = reader.execute(
            "SELECT coalesce(recipient, ''), state, copy_of IS NOT NULL FROM batch.board_letter ORDER BY letter_id"
        ).fetchall()
    return {recipient: (state, is_copy) for recipient, state, is_copy in rows}


@pytest.mark.usefixtures("billed")
def test_each_address_gets_the_letter_and_sees_who_else_has_it(
    host: psycopg.Connection, services: StandIns, arrived: Any, store: ObjectStore
) -> None:
    assert arrived(MONDAY) == ALL

    pdf = hashlib.sha256(store.read("invoices/2026-10/INV-2026-10-001.pdf")).hexdigest()
    for each in services.messages:
        assert each.headers["To"] == "keiri@a.example, buyer@a.example, boss@a.example"
        assert each.headers["Cc"] == "audit@a.example"
        assert [file["sha256"] for file in each.files] == [pdf]
        assert "List-Unsubscribe" not in each.headers
    assert len({each.headers["Message-ID"] for each in services.messages}) == 4
    assert host.execute("SELECT DISTINCT template_key FROM batch.outbox").fetchall() == [("invoice",)]
    assert arrived(FOURTH) == set()


@pytest.mark.usefixtures("billed")
def test_an_address_that_bounces_leaves_the_others_delivered(
    database: Database, host: psycopg.Connection, services: StandIns, arrived: Any
) -> None:
    services.refuse_recipient("boss@a.example", "550 5.1.1 No such user")

    assert arrived(MONDAY) == ALL - {"boss@a.example"}

    assert host.execute("SELECT address FROM batch.suppressed_address").fetchall() == [("boss@a.example",)]
    assert {state for state, _ in states(database).values()} == {"sent", "dead"}
    assert host.execute("""SELECT recipient_address FROM "HIS_NotificationLog" WHERE send_status = 'BOUNCED'
        OR send_status = 'FAILED'""").fetchall() == [("boss@a.example",)]


@pytest.mark.usefixtures("billed")
def test_a_void_withdraws_the_letter_with_its_copies(
    database: Database, host: psycopg.Connection, arrived: Any
) -> None:
    letter(database, "void")

    assert {state for state, _ in states(database).values()} == {"withdrawn"}
    assert arrived(MONDAY) == set()
    assert host.execute("""SELECT count(*) FROM "HIS_NotificationLog" WHERE NOT is_deleted""").fetchone() == (
        0,
    )


@pytest.mark.usefixtures("billed")
def test_a_void_is_announced_to_all_addresses(
    database: Database, host: psycopg.Connection, services: StandIns, arrived: Any
) -> None:
    arrived(MONDAY)
    letter(database, "void", on=MONDAY)
    host.execute(
        """UPDATE "HIS_NotificationLog" SET scheduled_at = '2026-11-03' WHERE send_status = 'PENDING'"""
    )

    assert arrived(FOURTH) == ALL
    assert {each.subject.partition("】")[2] for each in services.messages[4:]} == {
        "請求書 INV-2026-10-001 取消のお知らせ"
    }


@pytest.mark.usefixtures("billed")
def test_a_copy_that_has_left_makes_a_void_known(
    database: Database, host: psycopg.Connection, services: StandIns, arrived: Any
) -> None:
    services.refuse_recipient("keiri@a.example", "450 Try again")
    assert arrived(MONDAY) == ALL - {"keiri@a.example"}

    stopped = letter(database, "stop_letter", on=MONDAY)
    letter(database, "void", on=MONDAY)

    (note,) = outcomes(host, stopped)["A"]["notes"]
    assert "送信を一度は試みたため、届いた可能性があります" in note
    assert host.execute(
        """SELECT count(*) FROM "HIS_NotificationLog" WHERE id LIKE 'void-%'"""
    ).fetchone() == (4,)


@pytest.mark.usefixtures("billed")
@pytest.mark.parametrize("operations", [["reissue"], ["void", "bill_again"]])
def test_a_new_invoice_names_one_whose_copy_has_left(
    database: Database, host: psycopg.Connection, operations: list[str]
) -> None:
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT' WHERE id LIKE '%-copy-2'""")

    for operation in operations:
        letter(database, operation)

    assert invoices(host, "A")[-1]["content"]["replaces"]["number"] == "INV-2026-10-001"


@pytest.mark.usefixtures("billed")
def test_a_refused_stop_leaves_the_waiting_copies_alone(
    database: Database, host: psycopg.Connection, services: StandIns, arrived: Any
) -> None:
    services.refuse_recipient("audit@a.example", "450 Try again")
    arrived(MONDAY)

    result = operate(database, "stop_letter", reason="確認")

    assert outcomes(host, result)["A"]["error_code"] == "LETTER_HAS_LEFT"
    assert states(database)["a***@a.example"] == ("retry", True)


@pytest.mark.usefixtures("billed")
def test_a_stop_holds_all_copies_and_a_release_sends_them(database: Database, arrived: Any) -> None:
    letter(database, "stop_letter")
    assert arrived(MONDAY) == set()

    letter(database, "send_letter", on=MONDAY)

    assert arrived(FOURTH) == ALL


@pytest.mark.usefixtures("billed")
def test_a_release_goes_to_the_present_addresses(
    database: Database, host: psycopg.Connection, services: StandIns, arrived: Any
) -> None:
    letter(database, "stop_letter")
    profile(host, cc_emails=["new@a.example", *CC, "last@a.example", "end@a.example"])

    letter(database, "send_letter", on=MONDAY)

    assert arrived(FOURTH) == {"keiri@a.example", "new@a.example", *CC, "last@a.example", "end@a.example"}
    assert services.messages[0].headers["To"] == "keiri@a.example"
    assert len(services.messages[0].files) == 1


@pytest.mark.usefixtures("billed")
def test_a_release_without_further_addresses_sends_one_letter(
    database: Database, host: psycopg.Connection, services: StandIns, arrived: Any
) -> None:
    letter(database, "stop_letter")
    profile(host)

    letter(database, "send_letter", on=MONDAY)

    assert arrived(FOURTH) == {"keiri@a.example"}
    assert "Cc" not in services.messages[0].headers


@pytest.mark.usefixtures("billed")
def test_a_release_does_not_repeat_a_copy_that_has_left(
    database: Database, host: psycopg.Connection, services: StandIns, arrived: Any
) -> None:
    services.refuse_recipient("keiri@a.example", "450 Try again")
    arrived(MONDAY)
    letter(database, "stop_letter", on=MONDAY)
    profile(host, email="other@a.example", further_emails=FURTHER, cc_emails=["new@a.example"])

    letter(database, "send_letter", on=MONDAY)

    make_due(host)
    assert arrived(FOURTH) | arrived(FOURTH, NOTIFICATION_RETRY) == {"other@a.example", "new@a.example"}


def test_a_letter_to_one_address_has_no_copies(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore, arrived: Any
) -> None:
    profile(host, further_emails=["KEIRI@a.example"])
    run_billing(database, store=store)

    assert arrived(MONDAY) == {"keiri@a.example"}

    assert host.execute("SELECT count(*) FROM batch.letter_copy").fetchone() == (0,)
    assert host.execute("""SELECT id FROM "HIS_NotificationLog" """).fetchall() == [
        (f"invoice-{invoice(host, 'A')['invoice_id']}",)
    ]
    assert services.messages[0].headers["To"] == "keiri@a.example"


@pytest.mark.parametrize(
    "hostile", ["a@a.example\nBcc: evil@x.example", "a@a.example, b@a.example", "経理 <a@a.example>", ""]
)
def test_a_bad_address_is_a_remark_and_the_others_get_the_letter(
    database: Database, host: psycopg.Connection, store: ObjectStore, arrived: Any, hostile: str
) -> None:
    profile(host, further_emails=[hostile], cc_emails=CC)

    result = run_billing(database, store=store)

    (note,) = outcomes(host, result)["A"]["notes"]
    assert note.startswith("請求先の追加のメールアドレス '")
    assert note.endswith("DAG operate_contracts の「請求先の変更」で直してください")
    assert "\n" not in note
    assert arrived(MONDAY) == {"keiri@a.example", *CC}


def test_a_credit_note_goes_to_all_addresses_as_a_credit_note(
    database: Database, host: psycopg.Connection, store: ObjectStore, arrived: Any
) -> None:
    run_billing(database, store=store)
    at = datetime(2026, 11, 2, 10, tzinfo=JAPAN)
    operate(database, "credit", reason="解約", run_at=at, store=store)

    assert arrived(FOURTH) == ALL

    assert host.execute("SELECT DISTINCT template_key FROM batch.outbox").fetchall() == [("credit_note",)]


def test_the_database_refuses_more_than_ten_further_addresses(host: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        profile(host, further_emails=["a@a.example"] * 6, cc_emails=["b@a.example"] * 5)
