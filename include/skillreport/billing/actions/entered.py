"""Personal values of an operation. Users enter them on the board, and the run's conf has a token (``ENTRY``) in their place.

Viewers of Airflow can read a run's conf, options and results.
"""

from __future__ import annotations

from typing import Any

from include.skillreport.billing.ledger.entered_values import take_values
from include.skillreport.core.entered import SHOWN
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Request, Work
from include.skillreport.core.form import ENTRY, Operation, OperationForm, is_empty

IN_CONF = ("operation", "tenants", "business_date", "dry_run", SHOWN)


def entry_options(operation: type[Operation], request: Request, where: str) -> dict[str, Any]:
    """The options of a run with personal values: operation, tenants and token. ``where``: the place to enter the values.

    :raises ParameterError: the conf has no token, or personal values, or no tenant.
    """
    values = request.values
    named = [name for name in operation.fields() if name not in IN_CONF and not is_empty(values.get(name))]
    if is_empty(values.get(ENTRY)) or named:
        raise ParameterError(
            f"操作「{operation.title}」は個人の情報を含むので、Airflow のフォームでは入力できません。{where}から入力してください。"
        )
    if not request.codes:
        # Otherwise a form without a tenant would apply to all tenants.
        raise ParameterError(
            f"操作「{operation.title}」には「テナントコード」（tenants）が必要です。指定してください。"
        )
    return {"operation": operation.name, ENTRY: str(values[ENTRY]), "tenants": list(request.codes)}


def take_entered(form: OperationForm, work: Work) -> Operation | None:
    """The run's operation with its values, which the transaction deletes; None if a cleared run has already used them.

    :raises ParameterError: they have expired, belong to another run or user, or are invalid on the run's day.
    """
    run = work.run
    operation = form.chosen(run.options)
    found = take_values(
        work.connection,
        run.options[ENTRY],
        dag_id=form.spec.dag_id,
        operation=operation.name,
        person=run.person,
        execution_id=run.execution_id,
    )
    if found is None:
        raise ParameterError(
            "入力の控え（entry）が、15 分の期限を過ぎたか、使用済みか、ほかの人のものです。ボードでもう一度入力してください。"
        )
    if found.values is None:
        return None
    named = {"operation": operation.name, "tenants": run.options["tenants"]}
    return form.entered({**found.values, **named}, run.run_date)
