"""The customer's letters: about each invoice, credit note, void and replacement, but none about an invoice that was never announced."""

from __future__ import annotations

import csv
from typing import Any

import psycopg
import pytest

from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_letters import body, sent
from tests.worlds.billing_rows import (
    close_month,
    customer,
    details,
    invoice,
    invoices,
    open_billing,
    operate,
    outcomes,
    process,
    run_billing,
)

pytestmark = pytest.mark.usefixtures("billed")


def letters(host: psycopg.Connection, tenant_id: str = "A") -> list[tuple[str, bool]]:
    """Subject, without the issuer, and whether it was withdrawn; the oldest first."""
    rows = host.execute(
        """
        SELECT subject, is_deleted FROM "HIS_NotificationLog"
        WHERE tenant_id = %s
        ORDER BY created_at, subject
        """,
        [tenant_id],
    ).fetchall()
    return [(subject.partition("】")[2] or subject, withdrawn) for subject, withdrawn in rows]


def letter_files(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute(
        "SELECT file_name, object_key, is_attached FROM batch.letter_file ORDER BY object_key"
    ).fetchall()


INVOICE = "2026年10月分 ご請求書 INV-2026-10-001"
VOID = "請求書 INV-2026-10-001 取消のお知らせ"
CREDIT = "ご返金・値引きのお知らせ（適格返還請求書 CRN-2026-10-001）"


def test_the_letter_names_number_amount_and_due_date(host: psycopg.Connection) -> None:
    text = body(host, INVOICE)
    for expected in (
        "請求書番号: INV-2026-10-001",
        "ご請求金額（税込）: 11,000 円",
        "お支払期限: 2026年11月30日",
    ):
        assert expected in text


def test_an_unsent_letter_is_withdrawn_with_its_void_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "void", reason="訂正")

    assert letters(host) == [(INVOICE, True)]


def test_a_void_is_announced_to_who_has_heard_of_the_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    sent(host)

    operate(database, "void", reason="二重請求のため")

    assert letters(host) == [(INVOICE, False), (VOID, False)]
    text = body(host, VOID)
    assert "お支払いは不要です" in text
    assert "理由: 二重請求のため" in text


@pytest.mark.parametrize("status", ["sending", "ambiguous", "sent", "dead"])
def test_a_message_that_may_have_arrived_counts_as_received(
    database: Database, host: psycopg.Connection, status: str
) -> None:
    letter_id = f"invoice-{invoice(host, 'A')['invoice_id']}"
    _queue_message(host, letter_id, status)

    operate(database, "void", reason="訂正")

    assert letters(host) == [(INVOICE, False), (VOID, False)]


@pytest.mark.parametrize("shown", ["PENDING", "RETRY"])
@pytest.mark.parametrize("status", ["pending", "retry"])
def test_a_message_that_waits_in_the_outbox_is_withdrawn(
    database: Database, host: psycopg.Connection, status: str, shown: str
) -> None:
    """``shown`` is the application's status: RETRY as soon as an attempt has failed."""
    _queue_message(host, f"invoice-{invoice(host, 'A')['invoice_id']}", status)
    host.execute('UPDATE "HIS_NotificationLog" SET send_status = %s', [shown])

    operate(database, "void", reason="訂正")

    assert letters(host) == [(INVOICE, True)]


def test_a_reissue_says_which_invoice_it_replaces(database: Database, host: psycopg.Connection) -> None:
    sent(host)

    operate(database, "reissue", reason="訂正")

    assert letters(host) == [(INVOICE, False), ("2026年10月分 ご請求書 INV-2026-10-002", False)]
    assert "この請求書は、請求書 INV-2026-10-001（2026年11月1日 発行）に代わるものです" in body(
        host, "INV-2026-10-002"
    )
    old, new = invoices(host, "A")
    assert new["content"]["replaces"] == {
        "number": old["number"],
        "issued_on": old["issued_on"].isoformat(),
    }


@pytest.mark.parametrize("operations", [["reissue"], ["void", "bill_again"]])
def test_a_second_new_invoice_names_the_last_sent_one(
    database: Database, host: psycopg.Connection, store: ObjectStore, operations: list[str]
) -> None:
    """The second invoice was withdrawn before it was sent. The customer has the first one."""
    sent(host)
    for operation in ("reissue", *operations):
        assert operate(database, operation, reason="訂正", store=store).status == "completed"

    new = invoices(host, "A")[-1]
    assert new["number"] == "INV-2026-10-003"
    assert new["content"]["replaces"]["number"] == "INV-2026-10-001"
    assert new["content"]["replaces"] == new["inputs"]["replaces"]
    assert "請求書 INV-2026-10-001（2026年11月1日 発行）に代わるものです" in body(host, "INV-2026-10-003")
    index = csv.DictReader(store.read("invoices/2026-10/index.csv").decode("utf-8-sig").splitlines())
    assert [row["差し替えた請求書番号"] for row in index] == ["", "INV-2026-10-001", "INV-2026-10-001"]


def test_the_void_of_an_unsent_replacement_is_about_the_sent_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    sent(host)
    operate(database, "reissue", reason="訂正")

    operate(database, "void", reason="請求の誤り")

    assert letters(host) == [
        (INVOICE, False),
        ("2026年10月分 ご請求書 INV-2026-10-002", True),
        (VOID, False),
    ]


def test_a_reissue_over_nothing_is_announced_as_a_void(database: Database, host: psycopg.Connection) -> None:
    sent(host)
    billing_rows.discount(host, "A", value=100)

    operate(database, "reissue", reason="値引きの漏れ", values={"accept_change": True})

    assert letters(host) == [(INVOICE, False), (VOID, False)]


def test_a_credit_note_has_its_letter_with_the_reason(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    sent(host)

    operate(database, "credit", reason="解約のため", store=store)

    assert letters(host) == [(INVOICE, False), (CREDIT, False)]
    text = body(host, CREDIT)
    assert "対象の請求書: INV-2026-10-001（2026年11月1日 発行）" in text
    assert "返還金額（税込）: 11,000 円" in text
    assert "理由: 解約のため" in text
    assert "引き続き有効" not in text
    assert "INV-2026-10-001 のお支払いは不要です。お支払いがお済みの場合は、返還の方法を" in text
    assert letter_files(host)[0] == (
        "credit-note-CRN-2026-10-001.pdf",
        "invoices/2026-10/CRN-2026-10-001.pdf",
        True,
    )


def test_a_partial_credit_leaves_the_letter_of_the_invoice(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=100"]})

    assert letters(host) == [(INVOICE, False), (CREDIT, False)]
    assert "請求書 INV-2026-10-001 は引き続き有効です" in body(host, CREDIT)
    assert "残額 10,890 円（税込）をお支払いください（お支払期限: 2026年11月30日）" in body(host, CREDIT)


def test_a_void_is_announced_when_the_row_of_its_letter_is_gone(
    database: Database, host: psycopg.Connection
) -> None:
    host.execute('DELETE FROM "HIS_NotificationLog"')

    operate(database, "void", reason="二重請求のため")

    assert letters(host) == [(VOID, False)]


def test_a_credit_note_says_that_its_invoice_was_not_sent(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "credit", reason="解約のため")

    assert letters(host) == [(INVOICE, True), (CREDIT, False)]
    assert "請求書 INV-2026-10-001 はこの適格返還請求書で全額を打ち消したため、お送りしていません" in body(
        host, CREDIT
    )


def test_a_reissue_of_zero_without_address_reports_the_missing_letter(
    database: Database, host: psycopg.Connection
) -> None:
    sent(host)
    host.execute('UPDATE "MST_Tenant" SET contact_email = NULL, admin_email = NULL')
    billing_rows.discount(host, "A", value=100)

    result = operate(database, "reissue", reason="値引きの漏れ", values={"accept_change": True})

    assert "メールアドレスがないため" in outcomes(host, result)["A"]["details"]["attention"][0]


def test_a_retry_reports_again_that_no_letter_is_sent(database: Database, host: psycopg.Connection) -> None:
    customer(host, "B", contact_email=None)
    run = open_billing(database)
    process(database, run, ["B"])

    report = process(database, run, ["B"])

    assert "メールアドレスがないため" in details(report)["attention"][0]


def test_a_letter_goes_to_the_present_address(database: Database, host: psycopg.Connection) -> None:
    sent(host)
    billing_rows.billing_profile(host, "A", email="new@customer.example")

    operate(database, "void", reason="訂正")

    addresses = host.execute(
        'SELECT recipient_address FROM "HIS_NotificationLog" ORDER BY created_at'
    ).fetchall()
    assert addresses == [("keiri@customer.example",), ("new@customer.example",)]


@pytest.mark.parametrize("operation", ["void", "credit"])
def test_without_an_address_the_operation_reports_that_no_letter_is_sent(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    sent(host)
    host.execute('UPDATE "MST_Tenant" SET contact_email = NULL, admin_email = NULL')

    result = operate(database, operation, reason="訂正")

    assert "請求先のメールアドレスがないため、通知していません" in outcomes(host, result)["A"]["notes"][0]
    assert letters(host) == [(INVOICE, False)]


def test_an_address_that_is_none_is_a_remark_and_no_letter(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "B", contact_email="keiri＠b")

    result = run_billing(database)

    assert "メールアドレス 'keiri＠b' が正しくない" in outcomes(host, result)["B"]["notes"][0]
    assert letters(host, "B") == []


# The PDF ---------------------------------------------------------------------------------------------------------------


def test_the_pdf_is_attached_once_it_is_written(host: psycopg.Connection, store: ObjectStore) -> None:
    key = "invoices/2026-10/INV-2026-10-001.pdf"
    assert letter_files(host) == [("invoice-INV-2026-10-001.pdf", key, True)]
    (size,) = host.execute("SELECT bytes FROM batch.letter_file").fetchone() or ()
    assert size == len(store.read(key))


def test_before_the_pdf_is_written_the_letter_has_no_file_yet(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "B")
    run_billing(database)

    assert (
        "invoice-INV-2026-10-002.pdf",
        "invoices/2026-10/INV-2026-10-002.pdf",
        None,
    ) in letter_files(host)


def test_a_tenant_may_get_no_file_or_a_note_where_to_ask(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "B")
    billing_rows.billing_profile(host, "B", pdf_delivery="none")

    run_billing(database, store=store)

    assert "下記までお問い合わせください" in body(host, "INV-2026-10-002")
    assert [name for name, *_ in letter_files(host)] == ["invoice-INV-2026-10-001.pdf"]


def test_letters_in_english_for_a_tenant_that_reads_english(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "B", months=())
    close_month(host, "B")
    billing_rows.billing_profile(host, "B", language="en", recipient_name="Bonn GmbH")

    run_billing(database)

    text = body(host, "Invoice INV-2026-10-002 for October 2026")
    assert text.startswith("Dear Bonn GmbH,\n\nWe have issued your invoice for October 2026.")
    assert "Due date: 30 November 2026" in text


def _queue_message(host: psycopg.Connection, letter_id: str, status: str) -> None:
    """BATCH-019-01 has taken the letter up; its row of the application is not renewed yet."""
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, host_log_id, status, due_at,
            next_attempt_at, lease_owner, lease_until, finished_at, created_by
        )
        VALUES (
            'm', 'A', 'host:' || %(id)s, 'email', 'keiri@customer.example', 's', 'b', %(id)s, %(status)s, now(), now(),
            CASE WHEN %(status)s = 'sending' THEN 'worker' END, CASE WHEN %(status)s = 'sending' THEN now() END,
            CASE WHEN %(status)s IN ('sent', 'dead') THEN now() END, 'test'
        )
        """,
        {"id": letter_id, "status": status},
    )
