"""「訂正」: its letter waits for a second person, and its personal values are where only its run finds them."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.tenant_monitoring import create_batch as monitoring
from include.skillreport.core.catalog import TENANT_MONITORING
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    open_operation,
    operate,
    outcomes,
    process,
    reasons,
)
from tests.worlds.board_entries import enter

pytestmark = [pytest.mark.usefixtures("billed"), pytest.mark.billed(letters_on="bank_day")]

NUMBER = "INV-2026-10-001"
SATO, SUZUKI, TANAKA = "佐藤", "鈴木", "田中"
FIRST, NEXT = date(2026, 11, 2), date(2026, 11, 4)

NAME, WHAT = "株式会社ヒミツ", "宛名を「株式会社ヒミツ」に訂正"
VALUES = {"correction": WHAT, "recipient_name": NAME, "note": "振込先 ヒミツ銀行"}


def at(day: date, hour: int = 10) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=JAPAN)


def correct(
    database: Database, store: ObjectStore, person: str = SATO, on: date = FIRST, **values: Any
) -> RunResult:
    """The correction of A's invoice by a person at 10:00."""
    return operate(
        database, "correct", values=values or VALUES, triggered_by=person, run_at=at(on), store=store
    )


def send(database: Database, person: str, on: date = FIRST, **options: Any) -> RunResult:
    return operate(
        database, "send_letter", reason="確認した", triggered_by=person, run_at=at(on, 11), **options
    )


def stop(database: Database, person: str) -> RunResult:
    return operate(database, "stop_letter", reason="確認する", triggered_by=person, run_at=at(FIRST, 11))


def opened_send(database: Database, person: str) -> Run:
    """A run of 「送付する」 that has only been opened."""
    return open_operation(
        database, "send_letter", reason="確認した", triggered_by=person, run_at=at(FIRST, 11)
    )


def code(host: psycopg.Connection, result: RunResult) -> Any:
    """Why A failed; None: it has not."""
    return outcomes(host, result)["A"]["error_code"]


def entered(host: psycopg.Connection) -> list[Any]:
    """The values that are kept."""
    return [values for (values,) in host.execute("SELECT form_values FROM batch.entered_values")]


def revisions(host: psycopg.Connection) -> int:
    return len(host.execute("SELECT FROM batch.invoice_revision").fetchall())


def letters(host: psycopg.Connection) -> list[tuple[str, bool]]:
    """The letters of A's invoice by revision, and whether they are withdrawn."""
    rows = host.execute(
        """SELECT substring(id FROM '-r[0-9]+$'), is_deleted FROM "HIS_NotificationLog" ORDER BY id"""
    )
    return [(revision or "", is_deleted) for revision, is_deleted in rows.fetchall()]


# The second person -------------------------------------------------------------------------------------------------------


def test_nobody_prints_another_name_on_a_final_invoice_alone(
    database: Database, host: psycopg.Connection, store: ObjectStore, arrived: Any
) -> None:
    corrected = correct(database, store)
    assert outcomes(host, corrected)["A"]["notes"] == [
        "訂正は承認待ちです。ほかの人が「送付する」を使うまで、訂正の通知も督促も送りません"
    ]
    assert letters(host) == [("", True), ("-r2", True)]

    refused = send(database, SATO)

    assert code(host, refused) == "OWN_ENTRY"
    assert reasons(refused)["A"] == (
        f"請求書 {NUMBER} は 佐藤 が訂正したため、佐藤 は送付できません。訂正していない人が内容を確認し、「送付する」を使ってください。"
    )
    assert arrived(FIRST) == set()
    assert send(database, SUZUKI).status == "completed"
    assert arrived(NEXT) == {"keiri@customer.example"}
    assert code(host, send(database, SUZUKI, on=NEXT)) == "LETTER_HAS_LEFT"


def test_a_correction_after_the_first_letter_has_left_waits_too(
    database: Database, host: psycopg.Connection, store: ObjectStore, arrived: Any
) -> None:
    assert arrived(FIRST) == {"keiri@customer.example"}
    # The text about the correction is printed and mailed, so a new due date waits, too.
    correct(database, store, correction=WHAT, due_on="2026-12-28")

    assert arrived(NEXT) == set()
    assert code(host, send(database, SATO)) == "OWN_ENTRY"
    send(database, SUZUKI, on=NEXT)
    assert arrived(date(2026, 11, 5)) == {"keiri@customer.example"}


def test_the_stop_of_another_person_does_not_let_the_corrector_send(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    correct(database, store)
    assert stop(database, SUZUKI).status == "completed"

    assert code(host, send(database, SATO)) == "OWN_ENTRY"
    # Who has only stopped the letter may send it.
    assert send(database, SUZUKI).status == "completed"


def test_all_who_have_corrected_since_the_last_letter_wait_for_somebody_else(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    correct(database, store)
    correct(database, store, SUZUKI, correction="備考を訂正", note="PO-1")

    assert letters(host) == [("", True), ("-r2", True), ("-r3", True)]
    for person in (SATO, SUZUKI):
        refused = send(database, person)
        assert code(host, refused) == "OWN_ENTRY"
        assert "佐藤、鈴木 が訂正したため" in reasons(refused)["A"]
    assert send(database, TANAKA).status == "completed"
    assert letters(host) == [("", True), ("-r2", True), ("-r3", False)]
    # What has been sent is over.
    stop(database, SUZUKI)
    assert send(database, SATO).status == "completed"


def test_an_earlier_run_of_another_person_sends_no_later_correction(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run = opened_send(database, SUZUKI)
    correct(database, store)
    again = opened_send(database, SUZUKI)
    host.execute(
        """
        UPDATE batch.execution_log AS log SET dag_id = old.dag_id, run_id = old.run_id
        FROM batch.execution_log AS old
        WHERE log.execution_id = %s AND old.execution_id = %s
        """,
        [again.execution_id, run.execution_id],
    )

    # The corrector clears the task, or the whole run.
    for cleared in (run, again):
        (failure,) = process(database, cleared).failures
        assert failure.code == "ENTERED_LATER"
        assert "この操作を始めた後に 佐藤 が訂正しています" in failure.message
    assert letters(host) == [("", True), ("-r2", True)]
    assert send(database, SUZUKI).status == "completed"


def test_a_later_correction_makes_an_earlier_look_too_old(database: Database, store: ObjectStore) -> None:
    correct(database, store)
    run = opened_send(database, TANAKA)
    correct(database, store, SUZUKI, correction="備考を訂正", note="PO-1")

    assert [each.code for each in process(database, run).failures] == ["ENTERED_LATER"]


def test_the_database_refuses_the_letter_of_ones_own_correction(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    correct(database, store, "sato")
    approve = "UPDATE batch.invoice_revision SET approved_by = %s, approved_at = now()"
    with (
        database.connect("batch_tenant") as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="sato has entered it"),
        tenant_transaction(connection, ["A"]),
    ):
        connection.execute(approve, ["ＳＡＴＯ"])
    assert code(host, send(database, "Sato")) == "OWN_ENTRY"
    host.execute(approve, [SUZUKI])
    assert send(database, "Sato").status == "completed"


def test_a_waiting_correction_that_is_taken_back_leaves_no_trace(
    database: Database, store: ObjectStore, arrived: Any
) -> None:
    correct(database, store)
    operate(database, "void", reason="二重請求", triggered_by=SATO, run_at=at(FIRST, 12), store=store)

    assert arrived(NEXT) == set()


def test_a_waiting_correction_gets_no_part_credit(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    correct(database, store)
    refused = operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=100"]})

    assert code(host, refused) == "LETTER_STOPPED"


def test_the_letter_of_a_paid_invoice_needs_no_days_to_pay(
    database: Database, store: ObjectStore, arrived: Any
) -> None:
    arrived(FIRST)
    paid = {
        "paid_on": "2026-11-05",
        "paid_amount": "11000",
        "paid_method": "銀行振込",
        "paid_reference": "F-1",
    }
    operate(database, "record_payment", values=paid, run_at=at(date(2026, 11, 6)))
    correct(database, store, on=date(2026, 11, 24))

    assert send(database, SUZUKI, on=date(2026, 11, 27)).status == "completed"


def test_a_correction_without_a_letter_waits_too(
    database: Database, host: psycopg.Connection, store: ObjectStore, arrived: Any
) -> None:
    """Otherwise, a reminder to an address that is entered later would have the corrected document."""
    host.execute("""UPDATE "MST_Tenant" SET contact_email = null, admin_email = null""")
    result = correct(database, store)

    address, waits = outcomes(host, result)["A"]["notes"]
    assert "メール" in address
    assert waits.startswith("訂正は承認待ちです")
    host.execute("""UPDATE "MST_Tenant" SET contact_email = 'keiri@customer.example'""")
    assert code(host, send(database, SATO)) == "OWN_ENTRY"
    assert host.execute("SELECT corrected_by FROM batch.letter_stop").fetchall() == [([SATO],)]

    seen = send(database, SUZUKI)

    assert outcomes(host, seen)["A"]["notes"] == ["請求先に送る通知はありません。訂正を確認済みにしました"]
    assert host.execute("SELECT FROM batch.letter_stop").fetchall() == []
    assert arrived(NEXT) == set()
    assert code(host, send(database, SUZUKI)) == "NO_LETTER"


# The personal values -----------------------------------------------------------------------------------------------------


def test_the_conf_of_a_correction_has_no_recipient(
    database: Database, host: psycopg.Connection, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    correct(database, store)
    refused = correct(database, store, correction="備考「ヒミツ」を訂正", note="ヒミツ\U0001f600")

    assert code(host, refused) == "UNPRINTABLE_CHARACTER"
    kept = json.dumps(
        host.execute(
            """
            SELECT log.parameters, log.result, log.error_message, outcome.details, outcome.notes, outcome.error_message
            FROM batch.execution_log AS log
            LEFT JOIN batch.tenant_outcome AS outcome USING (execution_id)
            WHERE log.dag_id = 'operate_invoices'
            """
        ).fetchall(),
        ensure_ascii=False,
    )
    assert "entry" in kept
    assert caplog.text
    assert "ヒミツ" not in kept + caplog.text


def test_the_values_go_with_the_correction(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    correct(database, store)
    assert (revisions(host), entered(host)) == (1, [None])
    content = host.execute("SELECT content FROM batch.invoice_revision").fetchone()
    assert content is not None
    assert content[0]["recipient"]["name"] == NAME


def test_a_dry_run_corrects_nothing_and_leaves_the_values(
    database: Database, host: psycopg.Connection
) -> None:
    token = enter(database, OPERATE_INVOICES.dag_id, "correct", VALUES, person=SATO)
    options: dict[str, Any] = {"values": {"entry": token}, "triggered_by": SATO, "run_at": at(FIRST)}
    result = operate(database, "correct", dry_run=True, **options)

    assert outcomes(host, result)["A"]["details"] == {"corrected": NUMBER}
    assert (revisions(host), entered(host)) == (0, [VALUES])
    operate(database, "correct", **options)
    assert (revisions(host), entered(host)) == (1, [None])


def test_a_refused_correction_leaves_its_values_to_a_retry(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run = open_operation(
        database, "correct", values={"correction": WHAT, "recipient_name": "A"}, run_at=at(FIRST)
    )
    assert [each.code for each in process(database, run).failures] == ["NOTHING_CHANGES"]
    assert entered(host) == [{"correction": WHAT, "recipient_name": "A"}]

    host.execute("UPDATE batch.entered_values SET form_values = %s", [json.dumps(VALUES)])
    assert process(database, run, store=store).failures == []
    assert (revisions(host), entered(host)) == (1, [None])


def test_values_are_used_once_by_their_author_within_minutes(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    def token(person: str = SATO, minutes_ago: int = 0, operation: str = "correct") -> str:
        dag_id = OPERATE_INVOICES.dag_id
        return enter(database, dag_id, operation, VALUES, person=person, minutes_ago=minutes_ago)

    used = token()
    correct(database, store, entry=used)
    for other in (used, token(minutes_ago=16), token(SUZUKI), token(operation="void"), "x" * 43):
        refused = correct(database, store, entry=other)
        assert code(host, refused) == "ParameterError"
        assert "ボードでもう一度入力してください" in reasons(refused)["A"]
    assert revisions(host) == 1


def test_airflows_form_takes_no_correction(database: Database, host: psycopg.Connection) -> None:
    token = enter(database, OPERATE_INVOICES.dag_id, "correct", VALUES, person=SATO)
    for values in ({"correction": WHAT, "entry": ""}, {"entry": token, "note": "x"}):
        with pytest.raises(ParameterError, match="ボードの請求書のページの「訂正」から入力してください"):
            billing_rows.open_as_given(database, {"operation": "correct", **values}, ["A"])
    with pytest.raises(ParameterError, match="「テナントコード」（tenants）が必要です"):
        billing_rows.open_as_given(database, {"operation": "correct", "entry": token}, [])
    assert revisions(host) == 0


def test_the_hourly_batch_deletes_the_values_of_a_run_that_failed(
    database: Database, host: psycopg.Connection
) -> None:
    enter(database, OPERATE_INVOICES.dag_id, "correct", VALUES, person=SATO, minutes_ago=16)
    with database.working() as (platform, connection):
        run_batch(
            platform, connection, TENANT_MONITORING, monitoring(LOCAL), FIRST, run_at=at(FIRST), codes=["A"]
        )

    assert entered(host) == []


def test_the_work_of_a_tenant_reads_no_entry_but_its_own(database: Database) -> None:
    token = enter(database, OPERATE_INVOICES.dag_id, "correct", VALUES, person=SATO)
    take = "SELECT batch.take_entered_values(%s, 'operate_invoices', 'correct', %s, 'run', interval '15 minutes')"
    with database.connect("batch_tenant") as connection:
        for statement in (
            "SELECT form_values FROM batch.entered_values",
            "UPDATE batch.entered_values SET entered_by = 'x'",
            "DELETE FROM batch.entered_values",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        for named in ((token, SUZUKI), ("%", SATO), ("", SATO)):
            assert connection.execute(take, named).fetchall() == []
        assert connection.execute(take, (token, SATO)).fetchall() == [(VALUES,)]
        # Another run finds nothing.
        assert connection.execute(take, (token, SATO)).fetchall() == []
    with database.connect("batch_board") as board, pytest.raises(psycopg.errors.InsufficientPrivilege):
        board.execute(take, (token, SATO))
