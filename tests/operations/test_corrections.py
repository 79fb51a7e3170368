"""「訂正」: a corrected document of an issued invoice, with the same number and amounts (修正した適格請求書)."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import void_invoice
from include.skillreport.billing.ledger.revisions import correct_invoice
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, find_invoice
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.settings import SETTINGS_VARIABLE
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    billing_profile,
    customer,
    everything_written,
    files,
    host_billing,
    invoice,
    invoices,
    open_operation,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.documents import pages_of
from tests.worlds.kept_rows import planted_once
from tests.worlds.own_settings import change_billing

NUMBER = "INV-2026-10-001"
FIRST = f"invoices/2026-10/{NUMBER}.pdf"
SECOND = f"invoices/2026-10/{NUMBER}-r2.pdf"
WHAT = "宛名を「青葉商事株式会社」に訂正"

# A Tuesday on which banks are open. The letter leaves on the next day.
RUN_DAY, LEAVES_ON = date(2026, 11, 10), date(2026, 11, 11)


@pytest.fixture(autouse=True)
def billed(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """October of A with two lines, due on 30 November. Its letter leaves on 2 November."""
    change_billing(monkeypatch, tmp_path, letters_on="bank_day")

    def plant() -> None:
        customer(host, "A", months=(), tenant_name="青場商事", contact_email="keiri@a.example")
        billing_profile(host, "A", department="総務部", address="東京都港区1-1")
        billing_rows.close_month(host, "A", active_users=25)
        run_billing(database, store=store)

    planted_once(__name__, database, plant, store)


def correct(
    database: Database, *codes: str, on: date = RUN_DAY, what: str = WHAT, **fields: Any
) -> RunResult:
    """The operation on A at 10:00 of a day. ``fields`` are those of the form, and ``store``."""
    options: dict[str, Any] = {"store": fields.pop("store")} if "store" in fields else {}
    return operate(
        database,
        "correct",
        *codes,
        values={"correction": what, **(fields or {"recipient_name": "青葉商事株式会社"})},
        run_at=datetime(on.year, on.month, on.day, 10, tzinfo=JAPAN),
        **options,
    )


def letters(host: psycopg.Connection) -> dict[str, bool]:
    """The ids of the letters without the invoice's id, and whether they are withdrawn."""
    rows = host.execute('SELECT id, is_deleted FROM "HIS_NotificationLog" ORDER BY id').fetchall()
    invoice_id = invoice(host, "A")["invoice_id"]
    return {name.replace(invoice_id, "A"): withdrawn for name, withdrawn in rows}


def sent(host: psycopg.Connection) -> None:
    """All letters have left."""
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT' WHERE NOT is_deleted""")


def revisions(host: psycopg.Connection) -> list[dict[str, Any]]:
    with host.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute("SELECT * FROM batch.invoice_revision ORDER BY revision").fetchall()


def pay(database: Database, store: ObjectStore) -> None:
    values = {
        "paid_on": "2026-11-05",
        "paid_amount": "13750",
        "paid_method": "銀行振込",
        "paid_reference": "F-1",
    }
    operate(
        database,
        "record_payment",
        values=values,
        store=store,
        run_at=datetime(2026, 11, 6, 10, tzinfo=JAPAN),
    )


def text_of(pdf: bytes) -> str:
    return "".join(pages_of(pdf))


def amounts(content: Mapping[str, Any]) -> Any:
    """Everything in a document but its texts."""
    texts = {"recipient", "note", "correction", "number", "issued_on", "due_on"}
    kept = {name: value for name, value in content.items() if name not in texts}
    lines = [
        {name: value for name, value in line.items() if name != "description"} for line in content["lines"]
    ]
    return kept | {"lines": lines}


# A wrong name ----------------------------------------------------------------------------------------------------------


def test_a_paid_invoice_with_a_wrong_name_gets_a_corrected_document(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    sent(host)
    pay(database, store)
    before, first = invoice(host, "A"), files(store)

    result = correct(database, store=store, recipient_name="青葉商事株式会社", note="ご注文番号 PO-118")

    assert outcomes(host, result)["A"]["details"] == {"corrected": NUMBER}
    assert invoice(host, "A") == before
    (revision,) = revisions(host)
    assert (revision["revision"], revision["reason"]) == (2, WHAT)
    assert (revision["corrected_on"], revision["leaves_on"]) == (RUN_DAY, LEAVES_ON)
    assert amounts(revision["content"]) == amounts(before["content"])
    written = files(store)
    new = {f"{FIRST[:-4]}-r2.{name}" for name in ("pdf", "json")}
    assert written.keys() - first.keys() == new
    changed = {key for key in first if written[key] != first[key]}
    assert {key for key in changed if "ageing" not in key} == {"invoices/2026-10/index.csv"}
    printed = text_of(written[SECOND])
    for text in (
        "青葉商事株式会社",
        "訂正（第 2 版、2026年11月10日）",
        WHAT,
        "ご注文番号 PO-118",
        NUMBER,
        "13,750",
    ):
        assert text in printed, printed
    assert "青場商事" in text_of(written[FIRST])
    assert host_billing(host, before["invoice_id"])["billing_status"] == "PAID"
    assert letters(host) == {"invoice-A": False, "invoice-A-r2": True}


def test_the_letter_says_what_was_corrected_and_has_the_new_document(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    sent(host)

    correct(database, store=store)

    with host.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        (letter,) = cursor.execute("""SELECT * FROM "HIS_NotificationLog" WHERE id LIKE '%-r2'""").fetchall()
        (file,) = cursor.execute(
            "SELECT * FROM batch.letter_file WHERE notification_id = %s", [letter["id"]]
        ).fetchall()
    assert "【訂正】2026年10月分 ご請求書" in letter["subject"]
    assert f"訂正の内容: {WHAT}" in letter["message_body"]
    assert "お支払いがお済みの場合、あらためてのお支払いは不要です" in letter["message_body"]
    assert letter["scheduled_at"] == datetime(2026, 11, 11, 0, 0)
    assert (file["object_key"], file["file_name"]) == (SECOND, f"invoice-{NUMBER}-r2.pdf")
    assert file["sha256"] is not None


def test_the_letter_names_what_is_left_to_pay(database: Database, host: psycopg.Connection) -> None:
    sent(host)
    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=2000"]})

    correct(database)

    rows = host.execute("""SELECT message_body FROM "HIS_NotificationLog" WHERE id LIKE '%-r2'""").fetchall()
    ((body,),) = rows
    left = invoices(host, "A")[0]["open_amount"]
    assert f"2026年11月10日の時点で、返還やご入金などを差し引いた残額は {left:,.0f} 円（税込）です。" in body


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_letter_that_has_not_left_is_replaced(
    database: Database, host: psycopg.Connection, is_stopped: bool
) -> None:
    if is_stopped:
        operate(database, "stop_letter", reason="宛名を確認する")

    correct(database, on=date(2026, 11, 2))
    assert letters(host) == {"invoice-A": True, "invoice-A-r2": True}
    operate(database, "send_letter", reason="確認した", run_at=datetime(2026, 11, 2, 11, tzinfo=JAPAN))

    assert letters(host) == {"invoice-A": True, "invoice-A-r2": False}
    assert host.execute("SELECT count(*) FROM batch.letter_stop").fetchone() == (0,)


def test_the_new_letter_is_released_stopped_and_withdrawn_by_a_void(
    database: Database, host: psycopg.Connection
) -> None:
    correct(database, on=date(2026, 11, 2))
    assert letters(host) == {"invoice-A": True, "invoice-A-r2": True}

    operate(database, "send_letter", reason="確認した", run_at=datetime(2026, 11, 3, 10, tzinfo=JAPAN))
    assert letters(host) == {"invoice-A": True, "invoice-A-r2": False}
    operate(database, "stop_letter", reason="確認する")
    assert letters(host) == {"invoice-A": True, "invoice-A-r2": True}
    operate(database, "send_letter", reason="確認した", run_at=datetime(2026, 11, 3, 10, tzinfo=JAPAN))
    assert letters(host) == {"invoice-A": True, "invoice-A-r2": False}
    operate(database, "void", reason="二重請求")
    assert letters(host) == {"invoice-A": True, "invoice-A-r2": True}


def test_a_void_is_announced_if_the_first_letter_has_left(
    database: Database, host: psycopg.Connection
) -> None:
    sent(host)
    correct(database)

    operate(database, "void", reason="二重請求")

    assert letters(host) == {"invoice-A": False, "invoice-A-r2": True, "void-A": False}
    body = host.execute(
        """SELECT message_body FROM "HIS_NotificationLog" WHERE id LIKE 'void-%'"""
    ).fetchone()
    assert body is not None
    assert body[0].startswith("青葉商事株式会社 御中")


# What can be corrected ---------------------------------------------------------------------------------------------------


def test_all_texts_can_be_corrected_and_optional_ones_removed(
    database: Database, host: psycopg.Connection
) -> None:
    sent(host)
    correct(
        database,
        recipient_name="青葉商事",
        recipient_department="-",
        recipient_postal_code="105-0001",
        recipient_address="東京都港区2-2",
        line_texts=["２＝追加利用者（10 月分）"],
        note="PO-1",
    )
    correct(database, on=date(2026, 11, 11), what="備考を削除", note="-")

    second, third = (row["content"] for row in revisions(host))
    recipient = second["recipient"]
    assert (recipient["name"], recipient["department"]) == ("青葉商事", None)
    assert (recipient["postal_code"], recipient["address"]) == ("105-0001", "東京都港区2-2")
    assert [line["description"] for line in second["lines"]][1] == "追加利用者（10 月分）"
    assert second["note"] == "PO-1"
    assert third["correction"] == {"revision": 3, "corrected_on": "2026-11-11", "text": "備考を削除"}
    assert "note" not in third
    assert third["recipient"] == recipient
    details = json.loads(host_billing(host, invoice(host, "A")["invoice_id"])["usage_details"])
    assert details[1]["description"] == "追加利用者（10 月分）"


def test_a_new_due_date_moves_reminders_and_keeps_the_first_document(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    first = files(store)[FIRST]
    billing_rows.insert(
        host,
        "overdue_reminder",
        tenant_id="A",
        invoice_id=invoice(host, "A")["invoice_id"],
        days=7,
        queued_on=date(2026, 12, 7),
        open_amount=13_750,
        execution_id="run",
    )
    host.execute(
        """
        INSERT INTO "HIS_NotificationLog"
        SELECT (jsonb_populate_record(letter, jsonb_build_object('id', replace(id, 'invoice-', 'reminder-') || '-7'))).*
        FROM "HIS_NotificationLog" AS letter
        """
    )
    host.execute("DELETE FROM batch.invoice_document")
    Path(store.location(FIRST)).unlink()

    correct(database, on=date(2026, 12, 7), store=store, what="支払期限を変更", due_on="2026-12-28")

    row = invoice(host, "A")
    assert row["due_on"] == date(2026, 12, 28)
    assert host_billing(host, row["invoice_id"])["due_date"] == datetime(2026, 12, 28)
    assert letters(host)["reminder-A-7"]
    # A killed run had not written the first document. It still has the first due date.
    assert files(store)[FIRST] == first
    assert "2026年12月28日" in text_of(files(store)[SECOND])
    with pytest.raises(psycopg.errors.RestrictViolation):
        host.execute("UPDATE batch.invoice SET due_on = '2027-01-31'")
    with pytest.raises(psycopg.errors.RestrictViolation):
        host.execute("UPDATE batch.invoice SET due_on = null")


def test_a_revision_is_neither_changed_nor_deleted(database: Database) -> None:
    correct(database)
    for statement in (
        b"UPDATE batch.invoice_revision SET reason = 'x'",
        b"DELETE FROM batch.invoice_revision",
    ):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            database.connect("batch_tenant") as connection,
            tenant_transaction(connection, ["A"]),
        ):
            connection.execute(statement)


# What is refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"recipient_name": "青場商事"}, "NOTHING_CHANGES", "指定した内容のとおりです"),
        ({"line_texts": ["9=利用料"]}, "NO_SUCH_LINE", "9 行目はありません（2 行）"),
        ({"recipient_name": "青葉\U0001f600商事"}, "UNPRINTABLE_CHARACTER", "印刷できない文字"),
        ({"due_on": "2026-11-10"}, "DUE_BEFORE_LETTER", "2026-11-11 以降にしてください"),
    ],
)
def test_a_correction_that_cannot_be_printed_or_changes_nothing_is_refused(
    database: Database, host: psycopg.Connection, fields: dict[str, Any], code: str, text: str
) -> None:
    sent(host)
    rows = everything_written(host)

    result = correct(database, **fields)

    assert outcomes(host, result)["A"]["error_code"] == code
    assert text in reasons(result)["A"]
    assert everything_written(host) == rows


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"what": "", "note": "x"}, "「訂正の内容」（correction）が必要です"),
        ({"recipient_name": ""}, "のどれかに、新しい内容を書いてください"),
        ({"line_texts": ["利用料"]}, "「行番号=内容」"),
        ({"line_texts": ["1=a", "1=b"]}, "同じ行番号が 2 回"),
        ({"recipient_name": "青葉\u200b商事"}, "見えない文字"),
        ({"due_on": "2025-11-30"}, "「支払期限」（due_on）の 2025-11-30 は使えません"),
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(
    database: Database, host: psycopg.Connection, fields: dict[str, Any], text: str
) -> None:
    result = correct(database, **fields)

    assert outcomes(host, result)["A"]["error_code"] == "ParameterError"
    assert text in reasons(result)["A"]
    assert revisions(host) == []


def test_one_correction_is_for_one_tenant(database: Database, host: psycopg.Connection) -> None:
    customer(host, "B")
    # A tenant without a code is named by its id.
    customer(host, "FIRST", tenant_code="SECOND")
    customer(host, "SECOND", tenant_code=None)
    for codes in (["A", "B"], ["SECOND"]):
        with pytest.raises(ParameterError, match="1 件だけ指定してください"):
            open_operation(database, "correct", *codes, values={"correction": WHAT, "note": "x"})


def test_a_first_letter_close_to_the_due_date_needs_one(database: Database, host: psycopg.Connection) -> None:
    refused = correct(database, on=date(2026, 11, 20))

    assert outcomes(host, refused)["A"]["error_code"] == "DUE_TOO_NEAR"
    assert letters(host) == {"invoice-A": False}
    correct(database, on=date(2026, 11, 20), recipient_name="青葉商事", due_on="2026-12-28")
    assert invoice(host, "A")["due_on"] == date(2026, 12, 28)


def test_a_credited_invoice_is_not_corrected_and_its_notes_stay(
    database: Database, host: psycopg.Connection
) -> None:
    sent(host)
    operate(database, "part_credit", reason="値引き", values={"credit_lines": ["1=1000"]})
    assert correct(database).status == "completed"
    operate(database, "credit", reason="解約")

    result = correct(database, recipient_name="若葉商事")

    assert "有効な請求書がありません" in reasons(result)["A"]
    _, part, rest = invoices(host, "A")
    assert part["content"]["recipient"]["name"] == "青場商事"
    assert rest["content"]["recipient"]["name"] == "青葉商事株式会社"
    assert "correction" not in rest["content"]


def test_sample_terms_correct_nothing(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = everything_written(host)
    monkeypatch.delenv(SETTINGS_VARIABLE)

    result = correct(database)

    assert outcomes(host, result)["A"]["error_code"] == "SAMPLE_TERMS"
    assert everything_written(host) == rows


def test_an_invoice_of_a_deleted_tenant_is_corrected(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host.execute("""DELETE FROM "MST_Tenant" WHERE tenant_id = 'A'""")

    result = correct(database, store=store, recipient_name="青葉商事", due_on="2026-12-28")

    assert result.status == "completed"
    assert SECOND in files(store)
    (revision,) = revisions(host)
    assert revision["leaves_on"] is None


# Retries and races -----------------------------------------------------------------------------------------------------------


def test_two_corrections_at_once_make_two_revisions(database: Database, host: psycopg.Connection) -> None:
    sent(host)

    def second(stored: StoredInvoice) -> None:
        with database.connect("batch_tenant") as other, tenant_transaction(other, ["A"]):
            _correct(other, stored, "b run", note="PO-1")

    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        stored = find_invoice(connection, NUMBER)
        _correct(connection, stored, "a run", name="青葉商事")
        thread = threading.Thread(target=second, args=[stored])
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    first, last = (row["content"] for row in revisions(host))
    assert (last["recipient"]["name"], last["note"]) == ("青葉商事", "PO-1")
    assert (first["correction"]["revision"], last["correction"]["revision"]) == (2, 3)


def test_a_correction_at_the_same_time_as_a_void_is_refused(
    database: Database, host: psycopg.Connection
) -> None:
    refusals: list[BillingError] = []

    def correction(stored: StoredInvoice) -> None:
        with database.connect("batch_tenant") as other, tenant_transaction(other, ["A"]):
            try:
                _correct(other, stored, "b run", note="PO-1")
            except BillingError as refusal:
                refusals.append(refusal)

    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        stored = find_invoice(connection, NUMBER)
        void_invoice(connection, load_terms(), stored, "二重請求", actor="a run")
        thread = threading.Thread(target=correction, args=[stored])
        thread.start()
        wait_for_blocked_statement(database)
    thread.join()

    assert [refusal.code for refusal in refusals] == ["ALREADY_TAKEN_BACK"]
    assert revisions(host) == []


def _correct(connection: psycopg.Connection, stored: StoredInvoice, run: str, **texts: Any) -> None:
    correct_invoice(
        connection,
        load_terms(),
        stored,
        CorrectedTexts(**texts),
        WHAT,
        corrected_on=date(2026, 11, 3),
        entered_by="花子",
        execution_id=run,
    )
