"""Runs about contracts that are cleared as a whole, and approvals of some of the changes that wait."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
import pytest

from include.skillreport.approvals.requests import (
    ApprovalAnswer,
    RequestKind,
    ask_by_hand,
    find_held,
    items_of,
    record_answer,
)
from include.skillreport.core.execution.cleared_operations import OperationClearedError
from include.skillreport.core.execution.flow import RunRequest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.shard_work import UnitsFailedError
from include.skillreport.core.operation_catalog import (
    APPROVE_CONTRACTS,
    OPERATE_CONTRACTS,
)
from include.skillreport.core.run_plan import plan_of
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.operations.approve_contracts import create_batch as approval
from include.skillreport.operations.operate_contracts import create_batch
from local_stack.batch_runs import LOCAL, LocalInstallation
from local_stack.local_run import LocalRun
from tests.conftest import Database
from tests.worlds.approval_rows import APPROVE, asked, items
from tests.worlds.billing_rows import customer
from tests.worlds.contract_entries import (
    AT,
    AUTHOR,
    FORMER,
    NEW,
    PROFILES,
    SECOND,
    decide,
    discounts,
    enter,
    load,
    profile,
    set_profile,
)


def cleared(
    database: Database,
    spec: RunSpec,
    batch: Any,
    run_id: str,
    person: str = AUTHOR,
    is_lost: bool = False,
    is_retry: bool = False,
    **values: Any,
) -> str:
    """A run of Airflow with this id; a second call is a clear of the whole run, or a retry. ``is_lost``: it ends before the mapped task."""
    with database.working() as (platform, connection):
        local = LocalInstallation(platform, connection, moment=AT)
        request = RunRequest(spec.dag_id, run_id, AT, {"dry_run": False, **values}, triggered_by=person)
        tries = {step.id: TaskKey(step.id) for step in plan_of(spec)} if is_retry else {}
        run = LocalRun(spec, request, local, lambda: batch, tries=tries)
        for task in run.tasks():
            if task.step == spec.mapped_task and is_lost:
                break
            with suppress(UnitsFailedError):
                run.do(task)
    return run.run.execution_id


@pytest.mark.usefixtures("tenants")
def test_a_cleared_older_run_leaves_the_newer_value(database: Database, host: psycopg.Connection) -> None:
    conf: dict[str, Any] = {
        "operation": "set_discount",
        "discount_name": "年間契約割引",
        "discount_kind": "percentage",
        "valid_from": "2026-11-01",
        "reason": "契約書",
        "tenants": ["A"],
    }
    cleared(database, OPERATE_CONTRACTS, create_batch(LOCAL), "first", value="10", **conf)
    cleared(database, OPERATE_CONTRACTS, create_batch(LOCAL), "second", value="20", person="buchou", **conf)
    with pytest.raises(OperationClearedError):
        cleared(database, OPERATE_CONTRACTS, create_batch(LOCAL), "first", value="10", **conf)

    assert discounts(host) == [("A", "年間契約割引", 20, "2026-11-01", None)]


@pytest.mark.usefixtures("tenants")
def test_a_cleared_approval_keeps_its_result_and_tells_the_former(
    database: Database, host: psycopg.Connection
) -> None:
    request = asked(database, set_profile(database, email=NEW))
    with database.connect("batch_platform") as platform:
        listed = {each.tenant_id for each in items_of(platform, request.request_id)}
        record_answer(platform, request.request_id, ApprovalAnswer(SECOND, AT, listed))
    values: dict[str, Any] = {"request": request.request_id, "answer": APPROVE, "note": "", "tenants": []}
    # The worker was lost after the step, and somebody clears the whole run.
    cleared(database, APPROVE_CONTRACTS, approval(LOCAL), "asked", steps=1, person=SECOND, **values)
    cleared(database, APPROVE_CONTRACTS, approval(LOCAL), "asked", person=SECOND, **values)

    (item,) = items(host, request).values()
    told = host.execute("""SELECT recipient_address FROM "HIS_NotificationLog" """).fetchall()
    assert (profile(host)["email"], item["result"], told) == (NEW, "approved", [(FORMER,)])


@pytest.mark.usefixtures("tenants")
def test_a_cleared_entry_still_asks_for_the_second_person(database: Database) -> None:
    token = enter(database, "set_profile", {"reason": "契約書", "email": NEW})
    conf: dict[str, Any] = {"operation": "set_profile", "entry": token, "tenants": ["A"]}
    cleared(database, OPERATE_CONTRACTS, create_batch(LOCAL), "lost", is_lost=True, **conf)
    execution_id = cleared(database, OPERATE_CONTRACTS, create_batch(LOCAL), "lost", is_retry=True, **conf)

    with database.connect("batch_platform") as platform:
        assert len(find_held(platform, RequestKind.CONTRACTS, AT.date(), execution_id=execution_id)) == 1


@pytest.mark.usefixtures("tenants")
def test_a_file_named_like_a_tenant_is_not_approved_with_it(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    line = "B,,,,,,evil@attacker.example,,,,,,,,,,"
    load(database, store, "profile", PROFILES + line, name="A")
    set_profile(database, email=NEW)
    with database.connect("batch_platform") as platform:
        held = find_held(platform, RequestKind.CONTRACTS, AT.date())
        request = ask_by_hand(platform, APPROVE_CONTRACTS, AT.date(), held, run_id="by hand", person=SECOND)
    decide(database, request, APPROVE, "A")

    assert profile(host)["email"] == NEW
    assert "email" not in profile(host, "B")


def test_a_tenant_that_left_still_gets_its_recipient(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A", status="EXPIRED")
    set_profile(database, department="経理部")
    assert profile(host)["department"] == "経理部"
