"""The pages about changed invoices: paid in the application, held for two reasons, overpaid, of a deleted tenant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from skill_batch.board.choosing import REFUSALS
from skill_batch.board.pages.documents import Criteria, find_documents
from skill_batch.board.pages.invoice import InvoicePage, load_invoice
from skill_batch.board.pages.invoices import load_month, possible_actions
from skill_batch.board.pages.receivables import ReceivableFilters, load_receivables
from skill_batch.board.pages.tenant import load_tenant
from tests.board.conftest import Board
from tests.worlds.billing_rows import FIRST_OF_NOVEMBER, MONTH, insert

REASON = "印刷できない文字があります"


@pytest.fixture
def changed(host: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A transaction that is rolled back. ``as_board`` ends the changes."""
    with host.transaction(force_rollback=True):
        yield host


def as_board(host: psycopg.Connection) -> psycopg.Connection:
    """The same transaction as the board may read it."""
    host.execute("SET LOCAL ROLE batch_board")
    return host


def page_of(host: psycopg.Connection, invoice_id: str) -> InvoicePage:
    page = load_invoice(host, invoice_id, FIRST_OF_NOVEMBER)
    assert page is not None
    return page


@pytest.mark.slow("needs many rows")
def test_the_month_says_as_much_unpaid_as_the_receivables(
    changed: psycopg.Connection, ids: dict[str, str]
) -> None:
    changed.execute("UPDATE batch.invoice SET paid_total = 20000 WHERE invoice_id = %s", [ids["EVIL"]])
    changed.execute("UPDATE batch.invoice SET paid_total = 500 WHERE invoice_id = %s", [ids["CREDIT"]])
    changed.execute(
        """UPDATE "HIS_TenantBilling" SET billing_status = 'PAID' WHERE id = %s""", [ids["STOPPED"]]
    )
    reader = as_board(changed)
    states = load_month(reader, MONTH, MONTH).states
    rows, _ = zip(*load_receivables(reader, ReceivableFilters(), MONTH).listed, strict=True)
    for currency in ("JPY", "USD"):
        amounts = [
            row["open_amount"] for row in rows if row["currency"] == currency and row["period_start"] == MONTH
        ]
        of_currency = [row for row in states if row["currency"] == currency]
        unpaid = sum(row["unpaid"] or 0 for row in of_currency)
        owed_back = sum(row["owed_back"] or 0 for row in of_currency)
        assert unpaid == sum(amount for amount in amounts if amount > 0)
        assert owed_back == -sum(amount for amount in amounts if amount < 0)
    assert {row["state"]: row["owed_back"] for row in states if row["owed_back"]} == {
        "finalized": Decimal(9_000),
        "credited": Decimal(500),
    }


def test_an_invoice_that_is_paid_in_the_application_is_not_open(
    changed: psycopg.Connection, ids: dict[str, str]
) -> None:
    changed.execute(
        """UPDATE "HIS_TenantBilling" SET billing_status = 'PAID' WHERE id = %s""", [ids["STOPPED"]]
    )
    reader = as_board(changed)
    page = page_of(reader, ids["STOPPED"])
    assert page.receivable == 0
    assert page.row["is_paid"]
    assert "record_payment" not in possible_actions(page.row)
    (listed,) = [row for row in load_month(reader, MONTH, MONTH).documents if row["tenant_id"] == "STOPPED"]
    assert possible_actions(listed) == possible_actions(page.row)


def test_only_an_issued_invoice_is_what_the_month_before_is_compared_with(
    changed: psycopg.Connection,
) -> None:
    changed.execute("ALTER TABLE batch.invoice DISABLE TRIGGER USER")
    changed.execute(
        """
        UPDATE batch.invoice SET status = 'draft', number = null, issued_on = null, finalized_at = null, due_on = null,
            accrued_on = null, booked_on = null
        WHERE tenant_id = 'A' AND period_start = '2026-09-01'
        """
    )
    held = {each.row["tenant_id"]: each for each in load_month(as_board(changed), MONTH, MONTH).held}
    assert held["A"].row["previous_total"] is None
    assert held["A"].change is None
    assert held["B"].row["previous_total"] == 11_000


def test_a_held_draft_is_compared_with_the_last_month_of_a_plan(
    changed: psycopg.Connection,
) -> None:
    changed.execute("ALTER TABLE batch.invoice DISABLE TRIGGER USER")
    september = "AND period_start = '2026-09-01'"
    changed.execute(
        f"""
        UPDATE batch.invoice SET period_start = '2026-08-01', period_end = '2026-08-31'
        WHERE tenant_id = 'A' {september}
        """.encode()
    )
    changed.execute(
        f"UPDATE batch.invoice SET inputs = jsonb_set(inputs, '{{parts}}', '[]') WHERE tenant_id = 'B' {september}".encode()
    )
    held = {each.row["tenant_id"]: each for each in load_month(as_board(changed), MONTH, MONTH).held}
    assert held["A"].row["previous_total"] == 11_000
    assert held["B"].row["previous_total"] is None


def test_a_held_draft_that_cannot_be_finalised_says_both_reasons(
    host: psycopg.Connection, board: Board, ids: dict[str, str]
) -> None:
    outcome = """
        UPDATE batch.tenant_outcome SET error_code = %s, error_message = %s
        WHERE tenant_id = 'B' AND execution_id = (SELECT execution_id FROM batch.invoice WHERE invoice_id = %s)
        RETURNING (SELECT o.error_message FROM batch.tenant_outcome AS o
            WHERE o.tenant_id = 'B' AND o.execution_id = tenant_outcome.execution_id)
    """
    row = host.execute(outcome, ["UNPRINTABLE", REASON, ids["B"]]).fetchone()
    assert row is not None
    try:
        held_section = board.get("/invoices?month=2026-10").text.split("保留中の請求")[1].split("</table>")[0]
        assert REASON in held_section
        assert held_section.count("operate_invoices/approve?") == 1
        assert 'value="B"' not in held_section
        listed = board.get("/invoices?month=2026-10&state=held").text.split("請求の一覧")[1]
        assert listed.count("operate_invoices/approve?") == 1
        assert REASON in listed
        page = board.get(f"/invoices/{ids['B']}").text
        assert REASON in page
        assert "保留の理由" in page
        assert "operate_invoices/approve?" not in page
    finally:
        host.execute(outcome, ["APPROVAL_NEEDED", row[0], ids["B"]])
    assert REASON not in board.get(f"/invoices/{ids['B']}").text
    assert "確定できない理由" not in board.get(f"/invoices/{ids['B']}").text


def test_a_zero_invoice_is_final_and_has_no_letter(changed: psycopg.Connection, ids: dict[str, str]) -> None:
    changed.execute("ALTER TABLE batch.invoice DISABLE TRIGGER USER")
    changed.execute(
        "UPDATE batch.invoice SET total = 0, number = null, due_on = null WHERE invoice_id = %s",
        [ids["STOPPED"]],
    )
    states = {
        row["invoice_id"]: row["state"] for row in load_month(as_board(changed), MONTH, MONTH).documents
    }
    assert states[ids["STOPPED"]] == "zero"
    assert states[ids["PART"]] == states[ids["PAID"]] == "finalized"


def test_an_overpaid_invoice_offers_a_refund_also_if_it_is_credited(
    changed: psycopg.Connection, ids: dict[str, str]
) -> None:
    changed.execute(
        "UPDATE batch.invoice SET paid_total = 20000 WHERE invoice_id = any(%s)",
        [[ids["EVIL"], ids["CREDIT"]]],
    )
    reader = as_board(changed)
    assert possible_actions(page_of(reader, ids["EVIL"]).row) == [
        "explain",
        "record_refund",
        "correct",
        "part_credit",
        "credit",
        "stop_letter",
        "send_letter",
    ]
    assert possible_actions(page_of(reader, ids["CREDIT"]).row) == ["record_refund", "bill_again"]


def test_the_buttons_of_payments_name_the_payment_and_its_invoice(
    host: psycopg.Connection, board: Board, ids: dict[str, str]
) -> None:
    paid = "UPDATE batch.invoice SET paid_total = paid_total + %s WHERE invoice_id = %s"
    page = board.get(f"/invoices/{ids['PARTLY']}").text
    for operation, label in (("reverse_payment", "入金の取り消し"), ("move_payment", "入金の付け替え")):
        assert f"operate_invoices/{operation}?tenants=PARTLY&amp;business_date=2026-10-01" in page
        assert label in page
    assert "paid_reference=F-PARTLY&amp;paid_invoice=INV-" in page
    refund = {
        "kind": "refund",
        "paid_on": MONTH,
        "amount": 400,
        "yen": 400,
        "currency": "JPY",
        "method": "銀行振込",
    }
    refund |= {"reason": "過入金", "entered_by": "経理", "execution_id": "run", "source": "operation"}
    about = {"payment_id": "refund", "tenant_id": "PARTLY", "invoice_id": ids["PARTLY"], "reference": "R-1"}
    insert(host, "payment", **refund, **about)
    host.execute(paid, [-400, ids["PARTLY"]])
    try:
        page = board.get(f"/invoices/{ids['PARTLY']}").text
        assert "返金の取り消し" in page
        assert "入金の取り消し" not in page
        assert "入金の付け替え" not in page
    finally:
        host.execute(paid, [400, ids["PARTLY"]])
        host.execute("DELETE FROM batch.payment WHERE payment_id = 'refund'")


def test_reminders_are_stopped_and_allowed_only_for_a_live_invoice(
    host: psycopg.Connection, board: Board, ids: dict[str, str]
) -> None:
    codes = ("VOID", "CREDIT", "STOPPED")
    for code in codes:
        insert(host, "reminder_stop", stop_id=code, tenant_id=code, reason="全件停止", entered_by="経理")
    host.execute("UPDATE batch.invoice SET paid_total = 500 WHERE invoice_id = %s", [ids["CREDIT"]])
    try:
        for code in codes:
            text = board.get(f"/invoices/{ids[code]}").text
            assert "全件停止" in text
            assert ("_reminders?" in text) == (code == "STOPPED"), code
        row = board.get("/receivables?counterparty=CREDIT").text.split("<tbody>")[-1]
        assert "record_refund?" in row
        assert "_reminders?" not in row
    finally:
        host.execute("DELETE FROM batch.reminder_stop WHERE stop_id = any(%s)", [list(codes)])
        host.execute("UPDATE batch.invoice SET paid_total = 0 WHERE invoice_id = %s", [ids["CREDIT"]])


def test_a_tenant_that_is_gone_keeps_its_code_and_is_not_priced(
    changed: psycopg.Connection, ids: dict[str, str]
) -> None:
    changed.execute("ALTER TABLE batch.invoice DISABLE TRIGGER ALL")
    changed.execute("""UPDATE batch.invoice SET tenant_id = 'gone-id' WHERE tenant_id = 'PARTLY'""")
    # The letter waits.
    changed.execute("DELETE FROM batch.outbox")
    reader = as_board(changed)
    page = page_of(reader, ids["PARTLY"])
    assert (page.row["tenant_code"], page.row["chosen_as"], page.row["is_vanished"]) == (
        "PARTLY",
        "gone-id",
        True,
    )
    assert possible_actions(page.row) == [
        "record_payment",
        "correct",
        "part_credit",
        "credit",
        "stop_letter",
        "fee_difference",
        "write_off",
    ]
    (listed,) = [row for row in load_month(reader, MONTH, MONTH).documents if row["tenant_id"] == "gone-id"]
    assert possible_actions(listed) == [
        "record_payment",
        "correct",
        "part_credit",
        "credit",
        "stop_letter",
        "fee_difference",
        "write_off",
    ]
    (found,) = find_documents(reader, Criteria(counterparty="PARTLY")).documents
    ((owed, _),) = load_receivables(reader, ReceivableFilters(counterparty="PARTLY"), MONTH).listed
    for row in (listed, found, owed):
        assert row["tenant_code"] == "PARTLY"
    assert owed["chosen_as"] == "gone-id"


def test_no_reminder_stops_by_a_code_that_a_deleted_customer_has_too(
    changed: psycopg.Connection,
) -> None:
    changed.execute("ALTER TABLE batch.invoice DISABLE TRIGGER ALL")
    changed.execute("UPDATE batch.invoice SET tenant_id = 'gone-id' WHERE tenant_id = 'PARTLY'")
    page = load_tenant(as_board(changed), "PARTLY", lambda _: True, datetime(2026, 11, 2, tzinfo=UTC))
    assert page is not None
    assert page.chosen_as == "PARTLY"
    assert page.customer.usable_as is None
    assert page.customer.refusal in REFUSALS


def test_the_board_reads_no_address_of_a_recipient(reader: psycopg.Connection, ids: dict[str, str]) -> None:
    page = page_of(reader, ids["PAID"])
    assert page.document.recipient.name == "PAID 商事"
    assert "keiri@customer.example" not in str(page.row)


def test_the_pages_offer_what_is_of_no_single_invoice(board: Board) -> None:
    expected = {
        "/invoices?month=2026-10": (
            'extra_line"',
            'remove_line"',
            "carry?business_date=2026-10-01",
        ),
        "/accounting": ("hand_over",),
    }
    for path, operations in expected.items():
        user, viewer = board.as_role("user").get(path).text, board.as_role("viewer").get(path).text
        for operation in operations:
            assert f"/operations/operate_invoices/{operation}" in user, operation
        assert "/operations/" not in viewer
