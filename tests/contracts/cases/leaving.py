"""A tenant leaves: the stages, and the approval that deletes its rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyrage  # type: ignore[import-untyped]

from include.skillreport.approvals import APPROVE
from include.skillreport.approvals.requests import ApprovalAnswer, record_answer
from include.skillreport.batches.data_backup.deleted_tenants import (
    RegisterEntry,
    mark_deleted_tenants,
    write_entry,
)
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.core.operation_catalog import APPROVE_OFFBOARDING, OFFBOARD_TENANT
from include.skillreport.operations.offboard_tenant.form import FORM
from include.skillreport.schema.deletion import Rule, deletion_list
from tests.contracts.case import PERSON, Case, Form, World, entered
from tests.contracts.cases.backups import installation
from tests.contracts.state import OF_RUNS
from tests.worlds.backups import MAC_KEY
from tests.worlds.leaving_stages import unproved
from tests.worlds.leaving_tenants import (
    ACCEPTED,
    AFTER_WAIT,
    APPROVER,
    DAY,
    Leaving,
    plant_own,
    plant_tenant,
)

_KEY = str(pyrage.x25519.Identity.generate().to_public())
# The tables whose rows go with a tenant, or lose their values. The planted rows of two tables have none.
_EMPTIED = {
    f"{'public' if table.is_host else 'batch'}.{table.name}"
    for table in deletion_list()
    if table.rule is not Rule.KEEP and table.name not in ("billing_profile", "contract_change")
} - OF_RUNS.keys()
_ANSWERED = datetime(2027, 2, 1, tzinfo=UTC)


def leaving(world: World) -> Leaving:
    """The stages of the installation's tenants."""
    return Leaving(world.database, world.folder / "store")


def left(world: World) -> Form:
    """The contracts of all three tenants are over. People of A stand in rows of B and C."""
    for tenant_id in "ABC":
        plant_tenant(world.host, tenant_id, other="" if tenant_id == "A" else "A")
        plant_own(world.host, tenant_id)
        world.store.write(f"reports/{tenant_id}/2026-10/file", b"content")
    return {}


def begun(world: World) -> Form:
    left(world)
    for tenant_id in "ABC":
        _completed(leaving(world), leaving(world).begun(tenant_id))
    return {}


def exported(world: World) -> Form:
    begun(world)
    with unproved():
        for tenant_id in "ABC":
            _completed(leaving(world), leaving(world).exported(tenant_id))
    return {}


def _completed(stages: Leaving, result: Any) -> None:
    assert result.status == "completed", stages.problems(result)


def asked(world: World) -> Form:
    """Another person has approved the deletion of A."""
    exported(world)
    request = leaving(world).asked("A")
    with world.database.connect("batch_platform") as platform:
        record_answer(platform, request.request_id, ApprovalAnswer(APPROVER, _ANSWERED, {"A"}))
    return {"request": request.request_id, "answer": APPROVE, "note": ""}


def deleted(world: World) -> Form:
    exported(world)
    stages = leaving(world)
    _completed(stages, stages.answer(stages.asked("A")))
    return {}


def recorded_by_mistake(world: World) -> Form:
    """The store says of each tenant that it was deleted."""
    left(world)
    for tenant_id in "ABC":
        entry = RegisterEntry(tenant_id, "x", datetime(2026, 10, 1, tzinfo=UTC))
        write_entry(world.store, MacKeys((MAC_KEY,)), entry)
    with world.database.connect("batch_platform") as platform:
        mark_deleted_tenants(platform, world.store, MacKeys((MAC_KEY,)))
    return {}


def _stage(
    name: str,
    plant: Callable[[World], Form],
    *changes: str,
    day: date = DAY,
    is_long: bool = False,
) -> Case:
    def planted(world: World) -> Form:
        return entered(FORM, name, {"tenants": ["A"], "age_key": _KEY, **ACCEPTED, **plant(world)})

    return Case(
        OFFBOARD_TENANT,
        name,
        day,
        planted,
        frozenset(changes),
        at=datetime(day.year, day.month, day.day, 1, tzinfo=UTC),
        person=PERSON,
        installation=installation,
        is_long=is_long,
    )


CASES = (
    _stage("begin", left, "batch.offboarding"),
    _stage("export", begun, "batch.offboarding", "batch.offboarding_table", "files", is_long=True),
    _stage("ask", exported, "batch.offboarding", "batch.offboarding_table", day=AFTER_WAIT, is_long=True),
    _stage("cancel", exported, "batch.offboarding", "files", is_long=True),
    _stage("dispute", recorded_by_mistake, "batch.disputed_entry"),
    _stage("supplement", deleted, "files", day=AFTER_WAIT, is_long=True),
    Case(
        APPROVE_OFFBOARDING,
        "",
        AFTER_WAIT,
        asked,
        frozenset(
            {
                *_EMPTIED,
                "batch.approval_item",
                "batch.deleted_tenant",
                "batch.offboarding",
                "batch.offboarding_table",
                "files",
            }
        ),
        at=_ANSWERED,
        installation=installation,
        is_long=True,
    ),
)
