"""Applies held directory changes that a user has approved, if the directory has not changed since the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from include.skillreport.approvals.requests import (
    OUT_OF_DATE,
    LockedItem,
    Result,
    absent_links,
    items_of,
    lock_item,
    plan_fingerprint,
    record_result,
)
from include.skillreport.batches.external_sync.batch import ExternalSyncBatch, unit_of
from include.skillreport.batches.external_sync.listing import ListedDirectory
from include.skillreport.batches.external_sync.plan import EntryKind
from include.skillreport.batches.external_sync.safety_limits import EndingLimit, limits_of
from include.skillreport.batches.external_sync.sync import (
    HELD,
    PLANNED,
    SKIPPED,
    SavedPlan,
    load_plan,
    plan_directory,
    skip_directory,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.batch import Request, Run, UnitFailure, UnitResult, Work
from include.skillreport.operations.answers import APPLIED, SUPERSEDED, AppliesAnswer


class _Ending(NamedTuple):
    """The entry that an approval permits, and the rule for it."""

    kind: EntryKind
    rule: str


_ENDINGS = {
    EndingLimit.LINKS: _Ending(
        EntryKind.DEACTIVATE, "連携を解除するのは、2 日続けて名簿にないアカウントだけです"
    ),
    EndingLimit.CHANNELS: _Ending(
        EntryKind.CHANNEL_VANISHED, "通知設定を無効にするのは、2 日続けて一覧にないチャンネルだけです"
    ),
}

_CHANGED = "この承認依頼を出した後に、名簿か連携が変わっています"


class DirectoryApproval(AppliesAnswer, ExternalSyncBatch):
    """BATCH-019-03 for the listed directories of the approved tenants, without the approved limits."""

    def options(self, request: Request) -> dict[str, Any]:
        """The options of ``AppliesAnswer``. Only ``plan_unit`` decides if many links may end."""
        return AppliesAnswer.options(self, request)

    def parts(self, request: Request) -> Mapping[str, Sequence[str]]:
        """The listed directories of each tenant."""
        parts: dict[str, list[str]] = {}
        for item in items_of(request.platform, str(request.values["request"])):
            parts.setdefault(item.tenant_id, []).append(item.item_id)
        return parts

    def plan_unit(self, connection: psycopg.Connection, unit: ListedDirectory, run: Run) -> None:
        """Plan with all limits first. If that plan is held and equals the requested one, plan without the request's limits."""
        with tenant_transaction(connection, [unit.tenant_id]):
            item = _locked_item(connection, run, unit.tenant_id)
            known = absent_links(connection, unit.tenant_id, unit.provider)
        if item.result == Result.APPROVED:
            return
        plan = plan_directory(connection, unit, self._settings)
        if item.superseded_by:
            skip_directory(connection, unit, SUPERSEDED)
        elif plan.status != HELD or _fingerprint(plan, known) != item.fingerprint:
            skip_directory(connection, unit, _CHANGED)
        else:
            plan_directory(connection, unit, self._settings, lifted=limits_of(plan.reason))

    def process(self, work: Work) -> list[UnitResult | UnitFailure]:
        """Apply each tenant's plan, and record the result."""
        outcomes: list[UnitResult | UnitFailure] = []
        for tenant_id in work.tenant_ids:
            item = _locked_item(work.connection, work.run, tenant_id)
            plan = load_plan(work.connection, unit_of(work.run, tenant_id))
            if plan is None and item.result == Result.APPROVED:
                outcomes.append(UnitResult(tenant_id, {}, 0, notes=(APPLIED,)))
                continue
            outcome = self._decide(work, tenant_id, item, plan)
            outcomes.append(outcome)
            if item.result == Result.APPROVED:
                continue  # before the run was cleared
            result = Result.APPROVED
            if isinstance(outcome, UnitFailure):
                result = Result.OUT_OF_DATE if outcome.code == OUT_OF_DATE else Result.FAILED
            record_result(
                work.connection,
                work.run.options["request"],
                tenant_id,
                work.run.part,
                result,
                outcome.message if isinstance(outcome, UnitFailure) else None,
                work.run.execution_id,
            )
        return outcomes

    def _decide(
        self, work: Work, tenant_id: str, item: LockedItem, plan: SavedPlan | None
    ) -> UnitResult | UnitFailure:
        if plan is not None and plan.status == SKIPPED:
            return UnitFailure(tenant_id, OUT_OF_DATE, f"承認できません: {plan.reason}", recoverable=False)
        if plan is not None and plan.status == PLANNED and (reason := _too_early(item, plan)):
            return UnitFailure(tenant_id, "TOO_EARLY", reason, recoverable=False)
        return self._apply(work.connection, work.run, tenant_id)


def _too_early(item: LockedItem, plan: SavedPlan) -> str:
    """Why the plan lacks approved endings, because all those accounts or channels were present until today; otherwise empty."""
    approved, done = limits_of(item.reason), {entry.kind for entry in plan.entries}
    return "。".join(
        _ENDINGS[limit].rule
        for limit in EndingLimit
        if limit in approved and _ENDINGS[limit].kind not in done
    )


def _locked_item(connection: psycopg.Connection, run: Run, tenant_id: str) -> LockedItem:
    """The item of the run's directory, locked in the caller's transaction."""
    item = lock_item(connection, run.options["request"], tenant_id, run.part)
    assert item is not None, "the parts of a run are its items"
    return item


def _fingerprint(plan: SavedPlan, known: set[str]) -> str:
    """The fingerprint of the plan, before its absences are saved."""
    absent = {entry.subject_id for entry in plan.entries if entry.kind is EntryKind.ABSENT}
    returned = {entry.subject_id for entry in plan.entries if entry.kind is EntryKind.RETURNED}
    return plan_fingerprint(plan.reason, (known | absent) - returned)
