"""A run of which Airflow has no XComs any more (``airflow db clean``): the error is of the kind whose advice helps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from skill_batch.approvals import ApprovalFlow
from skill_batch.batch_flow import BatchFlow, run_of
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.execution.run_log import RecordsDeletedError
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.core.operation_catalog import APPROVE_INVOICES

STATES = {"run": {"record_answer": "success"}}
GONE: Any = {
    "ti": SimpleNamespace(
        dag_id="dag", run_id="run", xcom_pull=lambda **_: None, get_task_states=lambda **_: STATES
    )
}


@pytest.mark.parametrize(
    ("pull", "spec", "kind"),
    [
        (lambda: run_of(None), TENANT_USAGE, "rows_gone"),
        (lambda: BatchFlow(TENANT_USAGE)._process(None, None, GONE), TENANT_USAGE, "rows_gone"),  # type: ignore[arg-type]
        (
            lambda: ApprovalFlow(APPROVE_INVOICES)._record_answer(GONE),
            APPROVE_INVOICES,
            "operation_gone",
        ),
        (
            lambda: ApprovalFlow(APPROVE_INVOICES).run_request(GONE),
            APPROVE_INVOICES,
            "operation_gone",
        ),
    ],
    ids=["the run", "the shard", "the response", "the answer"],
)
def test_a_value_that_airflow_has_no_more_has_its_kind(pull: Any, spec: Any, kind: str) -> None:
    with pytest.raises(RecordsDeletedError) as caught:
        pull()
    assert kind_of(spec, caught.value).name == kind
