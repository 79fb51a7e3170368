"""Each form refuses fields that its chosen operation does not use, and requires the fields that it needs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form import Operation, OperationForm
from include.skillreport.core.operation_catalog import (
    APPROVALS,
    OPERATIONS,
)
from include.skillreport.operations.forms import FORMS
from tests.worlds.board_entries import example_values

INVOICES = FORMS["operate_invoices"]

# The ways in which a field can be empty, by the input of the dialog.
EMPTY: dict[str, list[Any]] = {
    "choice": [None, "", " 　"],
    "date": [None, "", " 　"],
    "month": [None, "", " 　"],
    "flag": [None, False],
    "lines": [None, [], ["", " 　"]],
    "text": [None, "", " 　"],
}


def operations() -> list[Any]:
    """Every operation with its form."""
    return [
        pytest.param(form, operation, id=f"{name} {operation.name}")
        for name, form in FORMS.items()
        for operation in form.operations
    ]


def fields(
    form: OperationForm, operation: type[Operation], *, used: bool | None = None, needed: bool | None = None
) -> list[str]:
    """The names of the form's fields, as far as the operation uses or needs them."""
    return [
        name
        for name in form.fields
        if used in (None, name in operation.fields())
        and needed in (None, name in operation.fields(required=True))
    ]


def needed_values(operation: type[Operation]) -> dict[str, Any]:
    """The form with the least that the operation needs."""
    return example_values(operation, required=True)


def test_every_operation_that_is_no_approval_has_a_form() -> None:
    assert [*FORMS] == [spec.dag_id for spec in OPERATIONS if spec not in APPROVALS.values()]


@pytest.mark.parametrize(("form", "operation"), operations())
def test_an_operation_is_chosen_with_its_needed_and_optional_fields(
    form: OperationForm, operation: type[Operation]
) -> None:
    for entered_values in (needed_values(operation), example_values(operation)):
        entered = form.entered(entered_values)
        assert type(entered) is operation
        # The run's options and the conf of the board's run are JSON values.
        assert form.entered(entered.values()) == entered
    assert set(example_values(operation)) == {"operation", *operation.fields()}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_field_has_the_same_description_in_all_operations(form: OperationForm) -> None:
    for operation in form.operations:
        for name, field in operation.fields().items():
            assert field is form.fields[name]


@pytest.mark.parametrize(("form", "operation"), operations())
def test_a_field_that_an_operation_needs_is_asked_for_by_name(
    form: OperationForm, operation: type[Operation]
) -> None:
    for field in fields(form, operation, needed=True):
        complaint = f"操作「{operation.title}」には「{form.fields[field].title}」（{field}）が必要です。"
        without = needed_values(operation)
        del without[field]
        for given in (without, *({**without, field: blank} for blank in EMPTY[form.fields[field].input])):
            with pytest.raises(ParameterError, match=re.escape(complaint)):
                form.entered(given)


@pytest.mark.parametrize(("form", "operation"), operations())
def test_a_field_of_another_operation_is_refused_with_its_users(
    form: OperationForm, operation: type[Operation]
) -> None:
    for field in fields(form, operation, used=False):
        with pytest.raises(ParameterError) as refused:
            form.entered(needed_values(operation) | {field: form.fields[field].example})

        text = str(refused.value)
        assert f"「{form.fields[field].title}」（{field}）は操作「{operation.title}」では使いません。" in text
        users = [each.title for each in form.operations if field in each.fields()]
        assert users
        assert all(f"「{user}」" in text for user in users)


@pytest.mark.parametrize(("form", "operation"), operations())
def test_a_blank_field_is_no_value(form: OperationForm, operation: type[Operation]) -> None:
    least = needed_values(operation)
    for field in fields(form, operation, needed=False):
        for blank in EMPTY[form.fields[field].input]:
            assert form.entered(least | {field: blank}) == form.entered(least), field


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_unknown_operation_is_refused_with_those_that_there_are(form: OperationForm) -> None:
    names = "、".join(operation.name for operation in form.operations)
    with pytest.raises(ParameterError, match=f"「操作」（operation）'erase' は使えません。{names} のどれか"):
        form.entered({"operation": "erase"})


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_without_an_operation_the_first_one_is_chosen(form: OperationForm) -> None:
    first = form.operations[0]
    given = needed_values(first)

    for empty in (None, ""):
        assert type(form.entered(given | {"operation": empty})) is first
    del given["operation"]
    assert type(form.entered(given)) is first


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_operation_that_only_reads_is_the_default(form: OperationForm) -> None:
    read_only = [operation for operation in form.operations if operation.is_read_only]

    assert not read_only or read_only[0] is form.operations[0]
    assert all(operation.label == f"{operation.title}（読み取りのみ）" for operation in read_only)


def test_a_field_of_the_frame_is_no_field_of_an_operation() -> None:
    given = {"operation": "explain", "tenants": ["A"], "business_date": "2026-10-01", "dry_run": True}
    assert INVOICES.entered(given).values() == {"operation": "explain", "tenants": ["A"]}


def test_the_board_asks_for_a_tenant_where_none_means_all() -> None:
    notifications = FORMS["operate_notifications"]
    values = {"operation": "reopen", "reason": "設定を直したため"}
    assert notifications.entered(values).values() == values
    with pytest.raises(ParameterError, match="「テナントコード」（tenants）が必要です"):
        notifications.entered(values, on_board=True)
