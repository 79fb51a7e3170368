"""Credit notes for a part of an invoice, as the accountant enters them."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.accounting_rows import rows
from tests.worlds.billing_letters import sent
from tests.worlds.billing_rows import (
    customer,
    everything_written,
    files,
    host_billing,
    invoices,
    operate,
    outcomes,
    reasons,
    run_billing,
    states,
)
from tests.worlds.kept_rows import planted_once


@pytest.fixture(autouse=True)
def billed(database: Database, host: psycopg.Connection) -> None:
    """A's October: base fee ¥10,000 and five users at ¥500."""

    def plant() -> None:
        customer(host, "A", months=())
        billing_rows.close_month(host, "A", active_users=25)
        run_billing(database)

    planted_once(__name__, database, plant)


def part_credit(
    database: Database, *lines: str, store: ObjectStore | None = None, codes: tuple[str, ...] = ()
) -> RunResult:
    values = {"credit_lines": list(lines)}
    return operate(database, "part_credit", *codes, reason="障害のため", values=values, store=store)


def test_a_part_of_a_line_is_credited_and_the_invoice_stays(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    result = part_credit(database, "1=1005", "2=2x", store=store)

    assert outcomes(host, result)["A"]["details"] == {"credited": "CRN-2026-10-001"}
    original, credit = invoices(host, "A")
    assert (original["status"], original["credited"], original["credited_total"]) == (
        "finalized",
        False,
        Decimal(2205),
    )
    assert (credit["total"], credit["credit_reason"]) == (Decimal(-2205), "障害のため")
    content = credit["content"]
    assert [(line["credited_position"], line["amount"]) for line in content["lines"]] == [
        (1, "-1005"),
        (2, "-1000"),
    ]
    assert (content["tax"], content["reason"], content["original_issued_on"]) == (
        "-200",
        "障害のため",
        "2026-11-01",
    )
    row = host_billing(host, original["invoice_id"])
    assert (row["billing_status"], row["notes"]) == (
        "INVOICED",
        "返還請求書 CRN-2026-10-001（2026-11-01、2205 JPY）で一部を返還済み",
    )
    assert "invoices/2026-10/CRN-2026-10-001.pdf" in files(store)


def test_partial_credits_and_the_rest_credit_all_with_its_tax(
    database: Database, host: psycopg.Connection
) -> None:
    sent(host)
    part_credit(database, "1=1005")
    part_credit(database, "1=1")
    part_credit(database, "2=1x")
    result = operate(database, "credit", reason="解約")

    assert outcomes(host, result)["A"]["details"] == {"credited": "CRN-2026-10-004"}
    original, *credits = invoices(host, "A")
    assert original["credited"] is True
    assert sum(row["total"] for row in credits) == -original["total"]
    assert sum(Decimal(row["content"]["tax"]) for row in credits) == -Decimal(original["content"]["tax"])
    operate(database, "bill_again", reason="訂正")
    assert invoices(host, "A")[-1]["content"]["replaces"] == {
        "number": "INV-2026-10-001",
        "issued_on": "2026-11-01",
    }


@pytest.mark.parametrize("line", ["1=10001", "1=0", "3=1", "1=2x", "2=6x"])
def test_a_part_that_is_not_there_changes_nothing(
    database: Database, host: psycopg.Connection, line: str
) -> None:
    rows = everything_written(host)

    result = part_credit(database, line)

    assert "請求書 INV-2026-10-001 " in reasons(result)["A"]
    assert everything_written(host) == rows


@pytest.mark.parametrize(
    ("lines", "reason"),
    [(["2=3000"], "0 以下のため発行できません"), (["1=10000"], "減額（マイナス）の行も指定するか")],
)
def test_a_deduction_is_credited_with_the_lines_that_it_reduces(
    database: Database, host: psycopg.Connection, lines: list[str], reason: str
) -> None:
    """B owes ¥10,000 and its tax of ¥1,000, less ¥3,000 out of scope."""
    customer(host, "B")
    billing_rows.insert(
        host,
        "extra_charge",
        extra_charge_id="advance",
        tenant_id="B",
        charged_on=date(2026, 10, 5),
        description="前受金の充当",
        unit_amount=-3000,
        currency="JPY",
        tax_category="out_of_scope",
        entered_by="経理",
    )
    run_billing(database)
    rows = everything_written(host)

    values = {"credit_lines": lines}
    result = operate(database, "part_credit", "B", reason="障害のため", values=values)

    assert reason in reasons(result)["B"]
    assert everything_written(host) == rows


@pytest.mark.parametrize("line", ["1", "1=-5", "一=5", "1=5y", "=5", "1=1,5", "1=1e3", "1=1000000000000000"])
def test_a_part_that_cannot_be_read_is_refused_before_anything_happens(database: Database, line: str) -> None:
    with pytest.raises(ParameterError, match="credit_lines"):
        part_credit(database, line)


def test_parts_belong_to_one_invoice(database: Database, host: psycopg.Connection) -> None:
    customer(host, "B")
    with pytest.raises(ParameterError, match="1 件だけ"):
        part_credit(database, "1=1", codes=("A", "B"))


@pytest.mark.parametrize("operation", ["void", "reissue"])
def test_an_invoice_with_a_credit_note_is_neither_voided_nor_reissued(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    part_credit(database, "1=1000")

    result = operate(database, operation, reason="訂正")

    assert "一部返還済みのため取り消せません" in reasons(result)["A"]
    assert states(host) == [("finalized", "INV-2026-10-001"), ("finalized", "CRN-2026-10-001")]


def test_the_database_refuses_credit_notes_that_exceed_the_invoice(host: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="invoice_credits_within_total"):
        host.execute("UPDATE batch.invoice SET credited_total = total + 1")


def test_credits_of_a_foreign_invoice_cancel_its_yen_in_accounting(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "B", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 30), "150.33")
    run_billing(database, store=store)
    for line in ("1=33.33", "1=33.37", "1=11.11"):
        part_credit(database, line, codes=("B",))
    operate(database, "credit", "B", reason="解約", store=store)

    accounts: Counter[str] = Counter()
    for row in (*rows(store, "2026-10", "journal"), *rows(store, "2026-11", "journal")):
        if row["取引先コード"] == invoices(host, "B")[0]["content"]["tenant_code"]:
            accounts[row["借方勘定科目"]] += int(row["借方金額"])
            accounts[row["貸方勘定科目"]] -= int(row["貸方金額"])
    assert accounts == {"売掛金": 0, "売上高": 0, "仮受消費税": 0}
