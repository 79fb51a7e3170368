"""What a person writes for the customer of an English invoice is in English."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_letters import body, sent
from tests.worlds.billing_rows import (
    customer,
    invoices,
    operate,
    reasons,
    run_billing,
    states,
)

LINE = {"line_date": "2026-11-10", "line_text": "Set-up", "line_price": "5000"}


@pytest.fixture(autouse=True)
def billed(database: Database, host: psycopg.Connection) -> None:
    """October of A, whose invoices are in English, and of B, whose are in Japanese."""
    customer(host, "A")
    customer(host, "B")
    billing_rows.billing_profile(host, "A", language="en", recipient_name="株式会社アオバ")
    run_billing(database)
    sent(host)


@pytest.mark.parametrize(
    ("operation", "values"),
    [("void", {}), ("credit", {}), ("part_credit", {"credit_lines": ["1=100"]})],
)
def test_a_customers_reason_on_an_english_invoice_is_in_english(
    database: Database, host: psycopg.Connection, operation: str, values: dict[str, Any]
) -> None:
    refused = operate(database, operation, reason="二重に請求したため", values=values)

    assert reasons(refused)["A"] == (
        "「理由」（reason）に日本語の文字があります。理由は記録に残り、取引先への書類かメールにも書かれます。"
        "請求書 INV-2026-10-001 は英語なので、英語で書いてください。"
    )
    assert states(host) == [("finalized", "INV-2026-10-001")]

    operate(database, operation, reason="Charged twice", values=values)

    assert "Reason: Charged twice" in body(host, "for invoice" if operation != "void" else "is cancelled")


@pytest.mark.parametrize("text", ["返金", "ﾍﾝｷﾝ", "カ", "Charged twice。", "１００ EUR", "𠮷野"])
def test_kana_kanji_and_wide_signs_are_japanese(database: Database, text: str) -> None:
    assert "日本語の文字" in reasons(operate(database, "void", reason=text))["A"]


def test_a_reason_may_have_the_letters_of_any_other_language(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "void", reason="Grünwald's “second” order – 100 € too much…")

    assert states(host) == [("void", "INV-2026-10-001")]


def test_the_customers_of_japanese_invoices_are_not_concerned(
    database: Database, host: psycopg.Connection
) -> None:
    result = operate(database, "void", "A", "B", reason="二重に請求したため")

    assert list(reasons(result)) == ["A"]
    assert states(host, "B") == [("void", "INV-2026-10-002")]


def test_a_reason_that_stays_inside_may_be_in_japanese(database: Database, host: psycopg.Connection) -> None:
    operate(database, "reissue", reason="単価の訂正")

    assert states(host) == [("void", "INV-2026-10-001"), ("finalized", "INV-2026-10-003")]

    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'PENDING'""")
    operate(database, "stop_letter", reason="確認のため")

    assert invoices(host, "A")[1]["status"] == "finalized"


def test_the_reason_of_a_reissue_over_nothing_goes_to_the_customer(
    database: Database, host: psycopg.Connection
) -> None:
    billing_rows.discount(host, "A", value=100)

    refused = operate(database, "reissue", reason="値引きの漏れ", values={"accept_change": True})

    assert "「理由」（reason）に日本語の文字があります" in reasons(refused)["A"]
    assert states(host) == [("finalized", "INV-2026-10-001")]

    operate(database, "reissue", reason="Discount forgotten", values={"accept_change": True})

    assert "Reason: Discount forgotten" in body(host, "is cancelled")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"correction": "備考を追加", "note": "PO-1"}, "「訂正の内容」（correction）"),
        ({"correction": "Note added", "note": "注文番号 PO-1"}, "「備考」（note）"),
        ({"correction": "Text corrected", "line_texts": ["1=基本料金"]}, "「明細の内容」（line_texts）"),
    ],
)
def test_the_texts_of_a_corrected_english_invoice_are_in_english(
    database: Database, values: dict[str, Any], field: str
) -> None:
    refused = reasons(operate(database, "correct", values=values))["A"]

    assert refused.startswith(f"{field}に日本語の文字があります。")
    assert "英語で書いてください" in refused


def test_a_customers_own_name_keeps_its_characters(database: Database, host: psycopg.Connection) -> None:
    operate(database, "correct", values={"correction": "Name corrected", "recipient_name": "株式会社青葉"})

    assert body(host, "Corrected invoice").startswith("Dear 株式会社青葉,")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"line_text": "初期設定"}, "「内容」（line_text）"),
        ({"line_unit": "時間"}, "「単位」（line_unit）"),
    ],
)
def test_a_line_of_an_english_invoice_is_in_english(
    database: Database, host: psycopg.Connection, values: dict[str, Any], field: str
) -> None:
    refused = reasons(operate(database, "extra_line", values=LINE | values))["A"]

    assert refused.startswith(f"{field}に日本語の文字があります。")

    operate(database, "extra_line", values=LINE)
    operate(database, "extra_line", "B", values=LINE | values)

    found = host.execute("SELECT tenant_id FROM batch.extra_charge ORDER BY 1").fetchall()
    assert found == [("A",), ("B",)]
