"""The batch that reads the services' directories, and the approval of what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta

from include.skillreport.approvals import APPROVE
from include.skillreport.approvals.requests import ApprovalAnswer, items_of, record_answer
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.core.catalog import EXTERNAL_SYNC
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import APPROVE_DIRECTORY_CHANGES
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.operations.answers import approved_tenants
from include.skillreport.operations.approve_directory_changes.batch import DirectoryApproval
from local_stack.stand_ins import StandInDirectory
from tests.contracts.case import Case, Form, World, refusing
from tests.contracts.cases.tenants import NAMED
from tests.worlds import directory_rows, host_rows
from tests.worlds.approval_rows import ACCOUNTANT, asked
from tests.worlds.directory_rows import DAY, HASTY, LATER, NEXT

# The code before that of a tenant's first employee: codes are unique.
_FIRST = {"A": 0, "B": 10, "C": 20}
_AT = datetime.combine(LATER, time(9), JAPAN)


def show(world: World, numbers: Iterable[int]) -> None:
    """Each tenant's Slack has the accounts of these of its employees."""
    for tenant_id, first in _FIRST.items():
        directory = StandInDirectory()
        directory.fill([directory_rows.member(first + number, tenant_id) for number in numbers], 200)
        world.services.show_directory("slack", f"xoxb-{tenant_id}", directory)


def linked(world: World) -> Form:
    """Five accounts of each tenant are linked. Then a sixth came, and one went."""
    for tenant_id, first in _FIRST.items():
        host_rows.tenant(world.host, tenant_id)
        directory_rows.employees(world.host, range(first + 1, first + 7), tenant_id)
        directory_rows.slack(world.host, world.services, tenant_id, f"xoxb-{tenant_id}")
    show(world, range(1, 6))
    directory_rows.run_sync(world.database, world.services)
    show(world, range(2, 7))
    return NAMED


def vanished(world: World) -> Form:
    """All linked accounts are gone, what the next run holds, and a person approves it for A and B."""
    linked(world)
    show(world, [9])
    request = asked(world.database, directory_rows.run_sync(world.database, world.services, NEXT))
    with world.database.connect("batch_platform") as platform:
        approved = approved_tenants(items_of(platform, request.request_id), APPROVE, ["A", "B"])
        record_answer(platform, request.request_id, ApprovalAnswer(ACCOUNTANT, _AT, approved, ""))
    return {"request": request.request_id, "answer": APPROVE, "note": "", **NAMED}


def _approval() -> DirectoryApproval:
    return DirectoryApproval(ExternalSyncSettings.load(), NotificationSettings.load(), HASTY)


CASES = (
    Case(
        EXTERNAL_SYNC,
        "",
        DAY + timedelta(days=1),
        linked,
        frozenset(
            {
                "batch.account_link",
                "batch.directory_account",
                "batch.directory_change",
                "batch.directory_sync",
            }
        ),
        prepare=lambda world: show(world, range(2, 7)),
        create_batch=lambda world: directory_rows.batch,  # noqa: ARG005
        break_tenant=refusing("batch.directory_account"),
    ),
    Case(
        APPROVE_DIRECTORY_CHANGES,
        "",
        NEXT,
        vanished,
        frozenset(
            {
                "batch.account_link",
                "batch.approval_item",
                "batch.directory_account",
                "batch.directory_change",
                "batch.directory_sync",
            }
        ),
        at=_AT,
        prepare=lambda world: show(world, [9]),
        create_batch=lambda world: _approval,  # noqa: ARG005
        break_tenant=refusing("batch.directory_account"),
    ),
)
