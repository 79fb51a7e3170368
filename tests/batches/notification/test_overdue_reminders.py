"""Reminders of overdue invoices: sent by BATCH-019-01, once per stage, and never about paid, voided, credited or stopped invoices."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from include.skillreport.billing.ledger.overdue_letters import queue_reminders
from include.skillreport.billing.ledger.payments import record_payments
from include.skillreport.billing.receivables.payment import Payment
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.stack import DEMO_SETTINGS
from local_stack.stand_ins import StandIns
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import billing_rows
from tests.worlds.billing_letters import DUE, JUNE, SEVENTH
from tests.worlds.billing_rows import customer, invoice, outcomes, run_billing
from tests.worlds.kept_rows import planted_once
from tests.worlds.outbox_rows import make_due, run_notifications, statuses, waiting

NUMBER = "INV-2026-06-001"
TWENTY_FIRST = DUE + timedelta(days=21)
SUBJECT = "【サンプルクラウドサービス株式会社】お支払いのご確認のお願い 請求書 INV-2026-06-001"


@pytest.fixture(autouse=True)
def billed(database: Database, host: psycopg.Connection, settings: Callable[..., None]) -> None:
    """A's June, ¥11,000, due on 31 July; its letter has arrived. The batches' operations record payments."""
    settings(payment_source="operations")

    def plant() -> None:
        customer(host, "A", months=(JUNE,))
        run_billing(database, JUNE)
        host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT'""")

    planted_once(__name__, database, plant)


def notify(database: Database, services: StandIns, on: date, **options: Any) -> Any:
    """BATCH-019-01 on a day."""
    return run_notifications(database, services, on=on, **options)


def operate(database: Database, operation: str, on: date = SEVENTH, **options: Any) -> Any:
    """An operation on a day after the due date."""
    run_at = datetime.combine(on, time(15), JAPAN)
    result = billing_rows.operate(database, operation, month=JUNE, run_at=run_at, **options)
    assert result.status == "completed"
    return result


def pay(database: Database, amount: str = "11000", on: date = SEVENTH) -> None:
    values = {
        "paid_on": on.isoformat(),
        "paid_amount": amount,
        "paid_method": "振込",
        "paid_reference": "F-1",
    }
    operate(database, "record_payment", on, values=values)


def reminders(host: psycopg.Connection) -> list[tuple[str, str, bool]]:
    """Days, state and whether it was withdrawn, of A's reminders."""
    rows = host.execute(
        """
        SELECT id, send_status, is_deleted FROM "HIS_NotificationLog"
        WHERE id LIKE 'reminder-%' ORDER BY created_at
        """
    ).fetchall()
    return [(log_id.rpartition("-")[2], status, deleted) for log_id, status, deleted in rows]


def put_off(services: StandIns) -> None:
    """The mail server puts the next message off."""
    services.fail_next("email", "450 Try again", times=1, command="RCPT")


def retry(database: Database, host: psycopg.Connection, services: StandIns) -> None:
    """BATCH-019-02, as soon as the message is due again."""
    make_due(host)
    notify(database, services, SEVENTH, spec=NOTIFICATION_RETRY)


def test_reminders_are_sent_7_and_21_days_after_the_due_date(
    database: Database, host: psycopg.Connection, services: StandIns, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path / "store")
    run_billing(database, JUNE, store=store)  # It writes the document.
    sent = {}
    for days in range(30):
        before = len(services.messages)
        assert notify(database, services, DUE + timedelta(days=days), store=store).status == "completed"
        sent[days] = len(services.messages) - before

    assert {days: count for days, count in sent.items() if count} == {7: 1, 21: 1}
    first = services.messages[0]
    assert first.destination == "keiri@customer.example"
    for expected in (
        f"請求書番号: {NUMBER}（2026年7月1日 発行、2026年6月分）",
        "お支払期限: 2026年7月31日",
        "未払額（税込）: 11,000 円",
        "本メールと行き違いでお支払い済みの場合は、何卒ご容赦ください。",
        "振込先は添付の請求書のとおりです。",
    ):
        assert expected in first.text
    second = services.messages[1]
    assert second.subject.endswith("【再度のお願い】お支払いのご確認 請求書 INV-2026-06-001")
    assert "先日もご連絡しましたが" in second.text
    # Both have the archived document.
    pdf = store.read("invoices/2026-06/INV-2026-06-001.pdf")
    for each in (first, second):
        (file,) = each.files
        assert (file["name"], file["sha256"]) == (f"invoice-{NUMBER}.pdf", hashlib.sha256(pdf).hexdigest())
    assert reminders(host) == [("7", "SUCCESS", False), ("21", "SUCCESS", False)]


def test_a_reminder_has_its_subject_and_its_id(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    notify(database, services, SEVENTH)

    row = host.execute(
        """SELECT id, subject, recipient_type FROM "HIS_NotificationLog" WHERE subject LIKE '%お支払い%'"""
    ).fetchone()
    assert row == (f"reminder-{invoice(host, 'A', JUNE)['invoice_id']}-7", SUBJECT, "BILLING_CONTACT")


def test_a_tenant_that_reads_english_is_reminded_in_english(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    customer(host, "B", months=(JUNE,))
    billing_rows.billing_profile(host, "B", language="en", recipient_name="Bonn GmbH")
    run_billing(database, JUNE)
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT'""")

    notify(database, services, SEVENTH, codes=["B"])

    (message,) = services.messages
    for expected in (
        "Dear Bonn GmbH,",
        "Invoice number: INV-2026-06-002 of 1 July 2026, for June 2026",
        "Due date: 31 July 2026",
        "Amount outstanding: 11,000 JPY",
        "If you have already paid, please disregard this e-mail.",
    ):
        assert expected in message.text


def test_of_several_missed_stages_only_the_latest_is_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    for _ in range(2):
        notify(database, services, TWENTY_FIRST + timedelta(days=3))

    assert reminders(host) == [("21", "SUCCESS", False)]
    assert len(services.messages) == 1


def test_an_invoice_of_long_ago_has_no_reminder(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    notify(database, services, date(2026, 10, 1))

    assert reminders(host) == []


def test_a_stage_is_not_sent_again_after_its_letter_was_cleaned_up(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    notify(database, services, SEVENTH)
    host.execute('DELETE FROM "HIS_NotificationLog"')
    host.execute("DELETE FROM batch.outbox")

    notify(database, services, SEVENTH + timedelta(days=1))

    assert reminders(host) == []


def test_without_a_payment_source_nothing_is_sent(
    database: Database, host: psycopg.Connection, services: StandIns, settings: Callable[..., None]
) -> None:
    settings()

    notify(database, services, SEVENTH)

    assert reminders(host) == []


def test_with_sample_terms_nothing_is_sent(
    database: Database, host: psycopg.Connection, services: StandIns, settings: Callable[..., None]
) -> None:
    own = yaml.safe_load(DEMO_SETTINGS.read_text(encoding="utf-8"))["billing"]["issuer"]
    settings(payment_source="operations", issuer=own | {"sample": True})

    notify(database, services, SEVENTH)

    assert reminders(host) == []


def test_a_dry_run_counts_the_reminders_and_sends_none(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    result = notify(database, services, SEVENTH, dry_run=True)

    outcome = outcomes(host, result)["A"]
    assert outcome["details"]["overdueReminders"] == 1
    assert outcome["notes"] == ["支払期限を過ぎた請求書の督促 1 件を送信箱に入れました"]
    assert reminders(host) == []
    assert services.messages == []


def test_without_an_address_the_outcome_repeats_it_until_a_reminder_follows(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host.execute('UPDATE "MST_Tenant" SET contact_email = NULL, admin_email = NULL')

    for days in range(2):
        result = notify(database, services, SEVENTH + timedelta(days=days))
        assert outcomes(host, result)["A"]["notes"][0].startswith(
            f"請求書 {NUMBER} の督促を送れません。請求先のメールアドレスがないため"
        )
    host.execute("""UPDATE "MST_Tenant" SET contact_email = 'new@customer.example'""")
    notify(database, services, SEVENTH + timedelta(days=2))

    assert [message.destination for message in services.messages] == ["new@customer.example"]


# To whom no reminder is sent -----------------------------------------------------------------------------------------


def paid_by_the_application(_: Database, host: psycopg.Connection) -> None:
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID'""")


def paid_in_another_spelling(_: Database, host: psycopg.Connection) -> None:
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'Paid'""")


def paid_here(database: Database, _: psycopg.Connection) -> None:
    pay(database)


def voided(database: Database, _: psycopg.Connection) -> None:
    operate(database, "void", reason="訂正")


def credited(database: Database, _: psycopg.Connection) -> None:
    operate(database, "credit", reason="訂正")


def stopped(database: Database, _: psycopg.Connection) -> None:
    operate(database, "stop_reminders", reason="分割払いの相談中")


def tenant_stopped(database: Database, _: psycopg.Connection) -> None:
    operate(database, "stop_reminders", reason="分割払いの相談中", values={"every_month": True})


SETTLED = [
    paid_by_the_application,
    paid_in_another_spelling,
    paid_here,
    voided,
    credited,
    stopped,
    tenant_stopped,
]


@pytest.mark.parametrize("settle", SETTLED)
def test_a_settled_or_stopped_invoice_has_no_reminder(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    settle: Callable[[Database, psycopg.Connection], None],
) -> None:
    settle(database, host)
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT'""")

    notify(database, services, TWENTY_FIRST)

    assert reminders(host) == []
    assert services.messages == []


def test_a_reminder_that_waits_is_sent_later(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    put_off(services)
    notify(database, services, SEVENTH)

    retry(database, host, services)

    assert len(services.messages) == 1


@pytest.mark.parametrize("settle", SETTLED)
def test_a_reminder_that_waits_is_not_sent_after_its_invoice_is_settled(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    settle: Callable[[Database, psycopg.Connection], None],
) -> None:
    put_off(services)
    notify(database, services, SEVENTH)
    assert statuses(host) == {("email", "retry"): 1}
    settle(database, host)

    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT' WHERE id NOT LIKE 'reminder-%'""")
    retry(database, host, services)

    assert services.messages == []
    assert statuses(host) == {("email", "withdrawn"): 1}


def test_a_part_payment_lowers_the_next_reminder_and_withdraws_the_waiting(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    put_off(services)
    notify(database, services, SEVENTH)
    pay(database, "5000")
    retry(database, host, services)
    assert services.messages == []

    notify(database, services, TWENTY_FIRST)

    (message,) = services.messages
    assert "未払額（税込）: 6,000 円" in message.text
    # The customer has not received the first one.
    assert "先日もご連絡しましたが" not in message.text


def test_reminders_go_out_again_when_they_are_allowed(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    stopped(database, host)
    tenant_stopped(database, host)
    operate(database, "allow_reminders", values={"every_month": True})
    notify(database, services, SEVENTH)
    assert services.messages == []

    operate(database, "allow_reminders")
    notify(database, services, SEVENTH + timedelta(days=1))

    assert len(services.messages) == 1


def test_stopping_and_allowing_twice_change_nothing_and_say_so(
    database: Database, host: psycopg.Connection
) -> None:
    stopped(database, host)
    again = operate(database, "stop_reminders", reason="別の理由")
    assert "すでに止めています" in outcomes(host, again)["A"]["notes"][0]
    rows = host.execute("SELECT tenant_id, reason FROM batch.reminder_stop").fetchall()
    assert rows == [("A", "分割払いの相談中")]

    operate(database, "allow_reminders")
    again = operate(database, "allow_reminders")
    assert "止めていません" in outcomes(host, again)["A"]["notes"][0]


@pytest.mark.parametrize("first", ["payment", "reminder"])
def test_a_payment_at_the_same_time_prevents_or_withdraws_the_reminder(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, first: str
) -> None:
    def record(on: psycopg.Connection) -> None:
        record_payments(
            on,
            [Payment(NUMBER, SEVENTH, Decimal(11000), "JPY", "振込", "F-1")],
            source="operation",
            today=SEVENTH,
            entered_by="test",
            execution_id="test",
        )

    def remind(on: psycopg.Connection) -> None:
        queue_reminders(on, load_terms(), SEVENTH, "test")

    steps = [record, remind] if first == "payment" else [remind, record]

    def act_elsewhere() -> None:
        with database.connect("batch_tenant") as other, tenant_transaction(other, ["A"]):
            steps[1](other)

    with tenant_transaction(connection, ["A"]):
        steps[0](connection)
        thread = threading.Thread(target=act_elsewhere)
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    assert reminders(host) == ([] if first == "payment" else [("7", "PENDING", True)])


# Tenants that have left --------------------------------------------------------------------------------------------------


def test_a_tenant_that_has_left_is_reminded_and_gets_nothing_else(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    waiting(host, "A", scheduled_at=datetime(2026, 8, 6, 23))
    host.execute("""UPDATE "MST_Tenant" SET status = 'EXPIRED'""")

    result = notify(database, services, SEVENTH)

    assert list(outcomes(host, result)) == ["A"]
    assert [message.destination for message in services.messages] == ["keiri@customer.example"]


def test_the_last_invoice_of_a_tenant_that_has_left_is_sent(
    database: Database, host: psycopg.Connection, services: StandIns, settings: Callable[..., None]
) -> None:
    settings()
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'PENDING'""")
    host.execute("DELETE FROM batch.letter_file")
    host.execute("""UPDATE "MST_Tenant" SET status = 'EXPIRED'""")

    notify(database, services, date(2026, 7, 1))

    assert [message.destination for message in services.messages] == ["keiri@customer.example"]


def test_a_credit_balance_that_covers_the_invoice_stops_its_reminder(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    pay(database)
    operate(database, "credit", reason="訂正")
    operate(database, "bill_again", reason="訂正")
    second = "INV-2026-06-002"
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT'""")
    seventh = billing_rows.invoices(host, "A", JUNE)[-1]["due_on"] + timedelta(days=7)

    result = notify(database, services, seventh)

    assert reminders(host) == []
    assert (
        f"請求書 {second} の督促を送りません。請求書 {NUMBER} に過入金 11,000 JPY があります。付け替えてください"
        in outcomes(host, result)["A"]["notes"]
    )

    values = {"paid_reference": "F-1", "paid_to": second}
    operate(database, "move_payment", seventh, reason="訂正", values=values)

    assert notify(database, services, seventh + timedelta(days=1)).status == "completed"
    assert reminders(host) == []


def test_a_credit_balance_that_is_too_small_does_not_stop_the_reminder(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    pay(database, "10999")
    operate(database, "credit", reason="訂正")
    operate(database, "bill_again", reason="訂正")
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT'""")
    seventh = billing_rows.invoices(host, "A", JUNE)[-1]["due_on"] + timedelta(days=7)

    notify(database, services, seventh)

    assert [days for days, *_ in reminders(host)] == ["7"]


# After a correction of the due date (訂正) -----------------------------------------------------------------------------------


def send_correction(database: Database) -> None:
    """Somebody else has seen the correction."""
    operate(database, "send_letter", reason="確認した")


def test_no_reminder_leaves_while_a_correction_waits(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    operate(database, "correct", values={"correction": "備考を追加", "note": "PO-1"})

    result = notify(database, services, TWENTY_FIRST)

    assert reminders(host) == []
    (note,) = [each for row in billing_rows.outcomes(host, result).values() for each in row["notes"]]
    assert "は送付を停止しているため、督促を送りません" in note
    send_correction(database)
    notify(database, services, date(2026, 8, 22))
    assert len(reminders(host)) == 1


def test_a_new_due_date_is_reminded_of_again(
    database: Database, host: psycopg.Connection, services: StandIns, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path / "store")
    run_billing(database, JUNE, store=store)
    notify(database, services, SEVENTH, store=store)
    values = {"correction": "支払期限を変更", "due_on": "2026-08-31"}
    operate(database, "correct", values=values, store=store)
    send_correction(database)
    for day in (TWENTY_FIRST, date(2026, 9, 7), date(2026, 9, 8)):
        notify(database, services, day, store=store)

    first, letter, again = services.messages
    assert "お支払期限: 2026年7月31日" in first.text
    assert "【訂正】" in letter.subject
    assert "お支払期限: 2026年8月31日" in again.text
    assert again.subject == SUBJECT
    assert [name for name, _, _ in reminders(host)] == ["7", "r2"]


def test_a_paid_invoice_gets_no_reminder_of_its_new_due_date(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    values = {"correction": "支払期限を変更", "due_on": "2026-08-31"}
    operate(database, "correct", values=values)
    send_correction(database)
    put_off(services)
    notify(database, services, date(2026, 9, 7))
    before = len(services.messages)
    host.execute("""UPDATE "HIS_TenantBilling" SET billing_status = 'PAID'""")

    make_due(host)
    notify(database, services, date(2026, 9, 7), spec=NOTIFICATION_RETRY)

    assert [name for name, _, _ in reminders(host)] == ["r2"]
    assert services.messages[before:] == []


def test_a_reminders_copies_leave_with_it_and_are_withdrawn_with_it(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    further = ["buyer@a.example", "not an address"]
    billing_rows.billing_profile(host, "A", further_emails=further, cc_emails=["boss@a.example"])
    services.refuse_recipient("boss@a.example", "450 Try again")

    result = notify(database, services, SEVENTH)

    # Each address has its own message, in no order.
    assert {each.destination for each in services.messages} == {"keiri@customer.example", "buyer@a.example"}
    assert len(services.messages) == 2
    assert services.messages[0].headers["Cc"] == "boss@a.example"
    found = outcomes(host, result)["A"]
    assert (found["details"]["overdueReminders"], found["details"]["queued"]) == (1, 3)
    assert any("'n***' が正しくないため" in note for note in found["notes"])
    assert host.execute("SELECT DISTINCT template_key FROM batch.outbox").fetchall() == [
        ("payment_reminder",)
    ]
    pay(database)
    assert [deleted for log_id, _, deleted in copies_of_reminders(host)] == [False, True]


@pytest.mark.parametrize("status", ["PAID", "Paid"])
def test_the_applications_payment_withdraws_a_waiting_copy(
    database: Database, host: psycopg.Connection, services: StandIns, status: str
) -> None:
    billing_rows.billing_profile(host, "A", cc_emails=["boss@a.example"])
    services.refuse_recipient("boss@a.example", "450 Try again")
    notify(database, services, SEVENTH)
    host.execute('UPDATE "HIS_TenantBilling" SET billing_status = %s', [status])

    retry(database, host, services)

    assert statuses(host) == {("email", "sent"): 1, ("email", "withdrawn"): 1}


def copies_of_reminders(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute(
        """
        SELECT id, send_status, is_deleted FROM "HIS_NotificationLog"
        WHERE id LIKE 'reminder-%-copy-%' ORDER BY id
        """
    ).fetchall()
