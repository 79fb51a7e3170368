"""The person who gets an alert may do what it advises, with the roles of docs/install/rights.md (FAB auth manager)."""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager

from include.skillreport.core.catalog import FAMILIES, TENANT_USAGE
from include.skillreport.core.failure_kinds import FailureKind, failure_kinds, kind_of
from include.skillreport.core.operation_catalog import APPROVALS, OPERATE_NOTIFICATIONS, OPERATIONS, RUN_SPECS
from include.skillreport.core.run_spec import BatchSpec, OperationSpec, RunSpec
from local_stack.stack import PROJECT
from tests.fab_installation import commands_of

OPERATOR = "BatchOperator"
RUNS, INSTANCES, ANSWERS = DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.HITL_DETAIL
DAGS = {spec.dag_id for spec in RUN_SPECS.values()} | {family.dag_id for family in FAMILIES}


@cache
def roles() -> dict[str, set[tuple[str, str]]]:
    """The permissions of each role, as the page's commands give them."""
    found: dict[str, set[tuple[str, str]]] = {}
    for command in commands_of(PROJECT / "docs" / "install" / "rights.md", "bash"):
        if command[:2] == ["roles", "add-perms"]:
            words: dict[str, list[str]] = {"": []}
            for word in command[2:]:
                if word.startswith("-"):
                    words[word] = []
                else:
                    words[list(words)[-1]].append(word)
            for role in words[""]:
                found.setdefault(role, set()).update(product(words["-a"], words["-r"]))
    return found


def may(role: str, method: Any, entity: DagAccessEntity, dag_id: str) -> bool:
    user: Any = SimpleNamespace(perms=roles()[role])
    manager: Any = FabAuthManager
    return bool(
        manager().is_authorized_dag(
            method=method, access_entity=entity, details=DagDetails(id=dag_id), user=user
        )
    )


def recipients(spec: RunSpec) -> list[str]:
    """The roles of the people whom an alert about ``spec`` reaches: of a batch the operators, of an operation those who may start it."""
    if isinstance(spec, BatchSpec):
        return [OPERATOR]
    return [role for role in roles() if may(role, "POST", RUNS, spec.dag_id)]


def kinds() -> list[tuple[RunSpec, FailureKind]]:
    return [
        (spec, kind_of(spec, kind.name))
        for spec in RUN_SPECS.values()
        for kind in failure_kinds()
        if not kind.of or spec.id in kind.of
    ]


def started(spec: RunSpec, kind: FailureKind) -> set[str]:
    """The DAGs that the advice says to run: by its button, and by its sentence."""
    named = set(re.findall(r"DAG ([a-z_0-9]+)", kind.remedy())) & DAGS
    if kind.page == "messages":
        named.add(OPERATE_NOTIFICATIONS.dag_id)
    if kind.page == "batch":
        assert isinstance(spec, OperationSpec)
        named.add(spec.batch.dag_id)
    return named | ({spec.dag_id} if kind.page == "trigger" else set())


@pytest.mark.parametrize("spec", RUN_SPECS.values(), ids=lambda spec: spec.id)
def test_who_gets_an_alert_may_follow_its_advice(spec: RunSpec) -> None:
    people = recipients(spec)
    assert people
    for about, kind in kinds():
        if about is not spec:
            continue
        for role in people:
            if kind.clear:
                assert may(role, "PUT", INSTANCES, spec.dag_id), (role, kind.name)
            for dag_id in started(spec, kind):
                # "told" says who else acts.
                acting = [role] if "経理" not in kind.told else [role, "BatchAccountant"]
                assert any(may(each, "POST", RUNS, dag_id) for each in acting), (role, kind.name, dag_id)
    if approval := APPROVALS.get(spec.id):
        assert [role for role in roles() if may(role, "PUT", ANSWERS, approval.dag_id)]


def test_an_operator_closes_the_days_of_an_advice() -> None:
    assert (
        "運用担当が、挙げられた日を業務日にして BATCH-018-01"
        in kind_of(RUN_SPECS["OPERATE-INVOICES"], "usage_open").remedy()
    )
    assert may(OPERATOR, "POST", RUNS, TENANT_USAGE.dag_id)


@pytest.mark.parametrize("spec", OPERATIONS, ids=lambda spec: spec.id)
def test_nobody_who_enters_for_a_second_person_may_clear(spec: OperationSpec) -> None:
    """The roles whose entries another person approves may not clear, so no entry is done again in their name."""
    for role in ("BatchAccountant", "BatchOffboarding"):
        assert not may(role, "PUT", INSTANCES, spec.dag_id)
