"""Applies contract changes that a second user has approved, if the rows have not changed since their entry."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from include.skillreport.approvals.requests import Result, items_of, lock_item, record_result
from include.skillreport.billing.ledger.contract_changes import (
    apply_waiting,
    codes_of_tenants,
    expire,
    lock_contracts,
    tenants_of_changes,
)
from include.skillreport.billing.second_person import Approver
from include.skillreport.core.execution.batch import Request, RunRemark, Work
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.operations.answers import SUPERSEDED, AppliesAnswer, approved_tenants
from include.skillreport.operations.operate_contracts.batch import ContractEffects

CHANGE_REFUSED = "CONTRACT_CHANGE_REFUSED"


class ContractApproval(AppliesAnswer, ContractEffects):
    """The approved changes of a request. An import is applied as a whole."""

    def found_tenants(self, request: Request) -> Collection[str]:
        """The ids of the tenants of the approved changes. :raises ParameterError: the request does not list a code."""
        items = self._items(request)
        approved = approved_tenants(items, str(request.values["answer"]), request.codes)
        changes = [item.item_id for item in items if item.tenant_id in approved]
        return tenants_of_changes(request.platform, changes)

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """The listed tenants that the application has since deleted."""
        known = codes_of_tenants(request.platform)
        return [
            Tenant(item.tenant_id, item.tenant_code, item.tenant_name)
            for item in self._items(request)
            if item.tenant_id not in (item.item_id, *known)
        ]

    def apply_changes(self, work: Work) -> RunRemark | None:
        """Apply the approved changes in one transaction. Impossible changes are reported, and the others applied."""
        run, platform = work.run, work.connection
        request_id = run.options["request"]
        applied, problems = 0, []
        invoices: list[str] = []
        approver, setting = None, self._billing.terms.settings.second_person
        expire(platform)
        with platform.transaction():
            lock_contracts(platform)
            for each in items_of(platform, request_id):
                item = lock_item(platform, request_id, each.tenant_id, each.item_id)
                if item is None or item.answer != "approve" or item.answered_by is None:
                    continue
                if item.result == Result.APPROVED:
                    continue  # before the run was cleared
                # A request has one answer, so all items have the same user.
                approver = approver or Approver(item.answered_by, setting, list(run.options["confirmed"]))
                problem: str | None = SUPERSEDED
                if not item.superseded_by:
                    problem, with_former_rate = apply_waiting(
                        platform, each.item_id, approver, run.execution_id, each.tenant_code
                    )
                    invoices += with_former_rate
                result = Result.OUT_OF_DATE if problem else Result.APPROVED
                named = (each.tenant_id, each.item_id, result, problem, run.execution_id)
                record_result(platform, request_id, *named)
                if problem:
                    problems.append(f"{each.tenant_code}（{each.item_id}）: {problem}。")
                else:
                    applied += 1
        kept = {"invoicesWithFormerRate": invoices} if invoices else {}
        return RunRemark(
            {"applied": applied, **kept},
            "".join(problems) or None,
            CHANGE_REFUSED,
            in_each_run=True,
            effects=["applied"],
        )
