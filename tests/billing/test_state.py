"""What an invoice permits: each refusal, and that nobody else decides it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.billing.receivables.adjustment import AdjustmentKind
from include.skillreport.billing.state import (
    Act,
    InvoiceState,
    refusal,
    refusal_of_credit,
    refusal_of_take_back,
)
from local_stack.stack import PROJECT

OPEN = InvoiceState(
    kind="invoice",
    status="finalized",
    number="INV-2026-10-001",
    total=Decimal(11_000),
    credited=False,
    credited_total=Decimal(0),
    paid_total=Decimal(0),
    fee_total=Decimal(0),
    written_off_total=Decimal(0),
    open_amount=Decimal(11_000),
    is_paid=False,
    is_carried=False,
    is_stopped=False,
    corrected_by=(),
)
DRAFT = replace(OPEN, status="draft", number=None)
VOID = replace(OPEN, status="void")
CREDITED = replace(OPEN, credited=True, credited_total=Decimal(11_000), open_amount=Decimal(0))
CREDIT_NOTE = replace(
    OPEN, kind="credit", number="CRN-2026-10-001", total=Decimal(-100), open_amount=Decimal(-100)
)
PART_CREDITED = replace(OPEN, credited_total=Decimal(1000), open_amount=Decimal(10_000))
CARRIED = replace(OPEN, is_carried=True)
PART_PAID = replace(OPEN, paid_total=Decimal(5000), open_amount=Decimal(6000), is_paid=True)
OVERPAID = replace(OPEN, paid_total=Decimal(12_000), open_amount=Decimal(-1000), is_paid=True)
PAID_IN_APPLICATION = replace(OPEN, is_paid=True)
WITH_FEE = replace(PART_PAID, fee_total=Decimal(440), open_amount=Decimal(5560))
WRITTEN_OFF = replace(OPEN, written_off_total=Decimal(11_000), open_amount=Decimal(0))
STOPPED = replace(OPEN, is_stopped=True)
CORRECTED = replace(STOPPED, corrected_by=("佐藤",))


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        (OPEN, {"fee_difference": "NOT_PAID", "record_refund": "NOT_OVERPAID", "take_back_adjustment": "NOTHING_TO_TAKE_BACK"}),
        (
            DRAFT,
            {
                "correct": "NOT_CORRECTABLE",
                "credit": "NOT_CREDITABLE",
                "part_credit": "NOT_CREDITABLE",
                "fee_difference": "NOT_ADJUSTABLE",
                "write_off": "NOT_ADJUSTABLE",
                "take_back_adjustment": "NOT_ADJUSTABLE",
                "record_refund": "NOT_OVERPAID",
            },
        ),
        (VOID, dict.fromkeys(set(Act) - {Act.RECORD_REFUND}, "ALREADY_TAKEN_BACK") | {"record_refund": "NOT_OVERPAID"}),
        (CREDITED, dict.fromkeys(set(Act) - {Act.RECORD_REFUND}, "ALREADY_TAKEN_BACK") | {"record_refund": "NOT_OVERPAID"}),
        (
            CREDIT_NOTE,
            {
                "void": "IS_A_CREDIT",
                "reissue": "IS_A_CREDIT",
                "correct": "NOT_CORRECTABLE",
                "credit": "NOT_CREDITABLE",
                "part_credit": "NOT_CREDITABLE",
                "fee_difference": "NOT_ADJUSTABLE",
                "write_off": "NOT_ADJUSTABLE",
                "take_back_adjustment": "NOT_ADJUSTABLE",
                "record_refund": "NOT_OVERPAID",
            },
        ),
    ],
    ids=["open", "draft", "void", "credited", "credit note"],
)  # fmt: skip
def test_an_act_is_refused_by_what_the_document_is(state: InvoiceState, refused: dict[str, str]) -> None:
    found = {act: error.code for act in Act if (error := refusal(act, state))}
    assert found == refused


@pytest.mark.parametrize(
    ("state", "act", "code"),
    [
        (PART_CREDITED, Act.VOID, "HAS_CREDITS"),
        (CARRIED, Act.VOID, "DIFFERENCE_CARRIED"),
        (WITH_FEE, Act.VOID, "ADJUSTED"),
        (WRITTEN_OFF, Act.VOID, "ADJUSTED"),
        (PART_PAID, Act.VOID, "ALREADY_PAID"),
        (PAID_IN_APPLICATION, Act.VOID, "ALREADY_PAID"),
        (WITH_FEE, Act.REISSUE, "ADJUSTED"),
        (CARRIED, Act.CREDIT, "DIFFERENCE_CARRIED"),
        (CARRIED, Act.PART_CREDIT, None),
        (WITH_FEE, Act.CREDIT, "ADJUSTED"),
        (WITH_FEE, Act.PART_CREDIT, None),
        (WRITTEN_OFF, Act.PART_CREDIT, "ADJUSTED"),
        (STOPPED, Act.PART_CREDIT, None),
        (STOPPED, Act.CREDIT, None),
        (PART_PAID, Act.FEE_DIFFERENCE, None),
        (PAID_IN_APPLICATION, Act.WRITE_OFF, "NOTHING_OPEN"),
        (WRITTEN_OFF, Act.WRITE_OFF, "NOTHING_OPEN"),
        (OVERPAID, Act.RECORD_REFUND, None),
        (replace(CREDITED, open_amount=Decimal(-1)), Act.RECORD_REFUND, None),
        (WRITTEN_OFF, Act.TAKE_BACK_ADJUSTMENT, None),
    ],
)
def test_an_act_is_refused_by_what_has_happened(state: InvoiceState, act: Act, code: str | None) -> None:
    error = refusal(act, state)
    assert (error and error.code) == code


def test_who_has_corrected_an_invoice_does_not_send_it() -> None:
    error = refusal(Act.SEND_LETTER, CORRECTED, "佐藤")
    assert error is not None
    assert error.code == "OWN_ENTRY"
    assert refusal(Act.SEND_LETTER, CORRECTED, "鈴木") is None
    assert "請求額を入力" in str(refusal(Act.SEND_LETTER, CORRECTED, "佐藤", "none"))


@pytest.mark.parametrize(
    ("credited_total", "code"), [(10_560, None), (10_561, "ADJUSTED"), (11_000, "ADJUSTED")]
)
def test_a_fee_leaves_room_for_credit_notes_up_to_the_rest(credited_total: int, code: str | None) -> None:
    error = refusal_of_credit(WITH_FEE, Decimal(credited_total))
    assert (error and error.code) == code


def test_all_that_is_left_of_a_stopped_invoice_may_be_credited() -> None:
    parts = [refusal_of_credit(STOPPED, Decimal(total)) for total in (10_999, 11_000)]
    assert [error and error.code for error in parts] == ["LETTER_STOPPED", None]


@pytest.mark.parametrize(
    ("state", "kind"), [(WITH_FEE, AdjustmentKind.WRITE_OFF), (WRITTEN_OFF, AdjustmentKind.FEE)]
)
def test_only_what_is_recorded_is_taken_back(state: InvoiceState, kind: AdjustmentKind) -> None:
    error = refusal_of_take_back(state, kind)
    assert error is not None
    assert f"{kind.label}はありません" in str(error)


# Where a module reads what an invoice is for another question, by module and name.
_OTHER_QUESTIONS = {
    ("billing/accounting/document_index.py", "credited"): "the word for its state in the index",
    ("billing/foreseen.py", "is_stopped"): "the word for the sending of its letter",
    ("billing/foreseen.py", "corrected_by"): "the word for the sending of its letter",
    ("billing/ledger/contract_effects.py", "credited_total"): "the words about what was credited",
    ("billing/ledger/payments.py", "paid_total"): "whether the money of a payment was refunded",
    ("billing/ledger/recoveries.py", "fee_total"): "whether the fee was taken back before its payment",
    ("billing/ledger/overdue_letters.py", "open_amount"): "whether other money of the tenant covers it",
    (
        "billing/ledger/overdue_letters.py",
        "is_stopped",
    ): "no letter was sent of which a reminder could remind",
    ("billing/ledger/transfer_payments.py", "open_amount"): "whether it is as when the transfer was matched",
    ("plugins/skill_batch/board/pages/invoices.py", "is_stopped"): "whether a button has a use",
    ("plugins/skill_batch/board/pages/invoices.py", "corrected_by"): "whether a button has a use",
}
_MONEY = {
    "credited_total",
    "fee_total",
    "written_off_total",
    "paid_total",
    "is_carried",
    "is_paid",
    "credited",
    "open_amount",
    "is_stopped",
    "corrected_by",
}


def _decisions(tree: ast.AST) -> Iterator[ast.expr]:
    """What a module decides on: the tests of its branches, and the operands of its comparisons and boolean operators."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield node.test
        elif isinstance(node, ast.BoolOp | ast.Compare):
            yield node
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node.operand
        elif isinstance(node, ast.comprehension):
            yield from node.ifs


def _names(node: ast.AST) -> set[str]:
    """The attributes and keys that the expression reads."""
    found: set[Any] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute):
            found.add(each.attr)
        elif isinstance(each, ast.Subscript) and isinstance(each.slice, ast.Constant):
            found.add(each.slice.value)
    return found


def test_no_other_module_decides_what_an_invoice_permits() -> None:
    assert {field.name for field in fields(InvoiceState)} >= _MONEY
    found = []
    for folder in ("include", "plugins", "dags"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            name = str(path.relative_to(PROJECT))
            if name.endswith("billing/state.py"):
                continue
            names = set().union(*map(_names, _decisions(ast.parse(path.read_text())))) & _MONEY
            found += [(name, each) for each in sorted(names)]
    assert {
        (name.partition("skillreport/")[2] or name, each) for name, each in found
    } == _OTHER_QUESTIONS.keys()
