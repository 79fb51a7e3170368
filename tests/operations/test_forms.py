"""Each form refuses fields that its chosen operation does not use, and requires the fields that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.operations.forms import (
    INVOICES,
    NOTIFICATIONS,
    RESTORE,
    UNDO,
    Operation,
    OperationForm,
)

FORMS = {"invoices": INVOICES, "notifications": NOTIFICATIONS, "restore": RESTORE, "undo": UNDO}

# A value of each field as the form gives it, and the ways in which the field can be empty.
FILLED: dict[str, Any] = {
    "accept_change": True,
    "accounting_month": "2026-10-01",
    "addresses": ["a@example.jp"],
    "allow_incomplete": True,
    "backup": "BKP_20261101_001",
    "credit_lines": ["1=100"],
    "every_month": True,
    "execution": "BATCH-018-05_x",
    "line_date": "2026-10-31",
    "line_price": "5000",
    "line_quantity": "2",
    "line_tax": "standard",
    "line_text": "作業費",
    "line_unit": "時間",
    "messages": ["m1"],
    "paid_amount": "11000",
    "paid_invoice": "INV-2026-10-001",
    "paid_method": "銀行振込",
    "paid_on": "2026-11-30",
    "paid_reference": "F-1",
    "paid_to": "INV-2026-10-002",
    "payment_file": "2026-11.csv",
    "reason": "訂正",
    "target": "copy",
    "tenants": ["A"],
}
EMPTY: dict[str, list[Any]] = {
    "accept_change": [None, False],
    "accounting_month": [None, "", " 　"],
    "addresses": [None, [], ["", " 　"]],
    "allow_incomplete": [None, False],
    "backup": [None, "", " 　"],
    "credit_lines": [None, [], ["", " 　"]],
    "every_month": [None, False],
    "execution": [None, "", " 　"],
    "line_date": [None, "", " 　"],
    "line_price": [None, "", " 　"],
    "line_quantity": [None, "", " 　"],
    "line_tax": [None, "", " 　"],
    "line_text": [None, "", " 　"],
    "line_unit": [None, "", " 　"],
    "messages": [None, [], ["", " 　"]],
    "paid_amount": [None, "", " 　"],
    "paid_invoice": [None, "", " 　"],
    "paid_method": [None, "", " 　"],
    "paid_on": [None, "", " 　"],
    "paid_reference": [None, "", " 　"],
    "paid_to": [None, "", " 　"],
    "payment_file": [None, "", " 　"],
    "reason": [None, "", " 　"],
    "target": [None, "", " 　"],
    "tenants": [None, [], ["", " 　"]],
}


def operations() -> list[Any]:
    """Every operation with its form."""
    return [
        pytest.param(form, operation, id=f"{name} {operation.name}")
        for name, form in FORMS.items()
        for operation in form.operations
    ]


def fields(*, used: bool | None = None, needed: bool | None = None) -> Iterator[Any]:
    """Every field of every operation, as far as the operation uses or needs it."""
    for name, form in FORMS.items():
        for operation in form.operations:
            for field in form.titles:
                is_needed = field in operation.needs
                is_used = is_needed or field in operation.takes
                if used in (None, is_used) and needed in (None, is_needed):
                    yield pytest.param(form, operation, field, id=f"{name} {operation.name} {field}")


def needed_values(operation: Operation) -> dict[str, Any]:
    """The form with the least that the operation needs."""
    return {"operation": operation.name} | {field: FILLED[field] for field in operation.needs}


@pytest.mark.parametrize(("form", "operation"), operations())
def test_an_operation_is_chosen_with_its_needed_and_optional_fields(
    form: OperationForm, operation: Operation
) -> None:
    least = needed_values(operation)

    assert form.chosen(least) is operation
    assert form.chosen(least | {field: FILLED[field] for field in operation.takes}) is operation


@pytest.mark.parametrize(("form", "operation", "field"), fields(needed=True))
def test_a_field_that_an_operation_needs_is_asked_for_by_name(
    form: OperationForm, operation: Operation, field: str
) -> None:
    complaint = f"操作「{operation.title}」には「{form.titles[field]}」（{field}）が必要です。"
    for blank in EMPTY[field]:
        with pytest.raises(ParameterError, match=re.escape(complaint)):
            form.chosen(needed_values(operation) | {field: blank})
    values = needed_values(operation)
    del values[field]
    with pytest.raises(ParameterError, match=re.escape(complaint)):
        form.chosen(values)


@pytest.mark.parametrize(("form", "operation", "field"), fields(used=False))
def test_a_field_of_another_operation_is_refused_with_its_users(
    form: OperationForm, operation: Operation, field: str
) -> None:
    with pytest.raises(ParameterError) as refused:
        form.chosen(needed_values(operation) | {field: FILLED[field]})

    text = str(refused.value)
    assert f"「{form.titles[field]}」（{field}）は操作「{operation.title}」では使いません。" in text
    users = [each.title for each in form.operations if field in (*each.needs, *each.takes)]
    assert users
    assert all(f"「{user}」" in text for user in users)


@pytest.mark.parametrize(("form", "operation", "field"), fields(needed=False))
def test_a_blank_field_is_no_value(form: OperationForm, operation: Operation, field: str) -> None:
    for blank in EMPTY[field]:
        assert form.chosen(needed_values(operation) | {field: blank}) is operation


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_unknown_operation_is_refused_with_those_that_there_are(form: OperationForm) -> None:
    names = "、".join(operation.name for operation in form.operations)
    with pytest.raises(ParameterError, match=f"「操作」（operation）'erase' は使えません。{names} のどれか"):
        form.chosen({"operation": "erase"})


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_without_an_operation_the_first_one_is_chosen(form: OperationForm) -> None:
    first = form.operations[0]
    values = needed_values(first)

    for empty in (None, ""):
        assert form.chosen(values | {"operation": empty}) is first
    del values["operation"]
    assert form.chosen(values) is first


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_operation_that_only_reads_is_the_default(form: OperationForm) -> None:
    read_only = [operation for operation in form.operations if operation.is_read_only]

    assert not read_only or read_only[0] is form.operations[0]
    assert all(operation.label == f"{operation.title}（読み取りのみ）" for operation in read_only)


def test_a_field_of_the_frame_is_no_field_of_an_operation() -> None:
    values = {"operation": "explain", "tenants": ["A"], "business_date": "2026-10-01", "dry_run": True}
    assert INVOICES.chosen(values).name == "explain"
