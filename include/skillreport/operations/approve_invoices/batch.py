"""Finalises held invoices that a user has approved, if they have not changed since the request."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg

from include.skillreport.approvals.requests import (
    OUT_OF_DATE,
    LockedItem,
    Result,
    item_ids,
    lock_item,
    record_result,
)
from include.skillreport.billing.actions.action import failure
from include.skillreport.billing.billing_batch import BillingBatch
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.entries import approver_of_month, confirmations
from include.skillreport.billing.ledger.settlement import Instructions, Settlement, TenantSettlement
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, lock_by_id
from include.skillreport.billing.outcomes import outcome_of
from include.skillreport.billing.periods import Period
from include.skillreport.billing.second_person import Approver
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.batch import Outcome, Request, UnitFailure, UnitResult, Work
from include.skillreport.operations.answers import SUPERSEDED, AppliesAnswer


class InvoiceApproval(AppliesAnswer, BillingBatch):
    """One listed invoice of each approved tenant. ``business_date`` is a day of its month."""

    def options(self, request: Request) -> dict[str, Any]:
        """``request`` and ``note``, the confirmations of own lines by tenant (``confirmations``), and the issuer's images."""
        options = super().options(request)
        month = Period.month_of(request.business_date)
        confirmed = confirmations(request.platform, options["request"], month, options["confirmed"])
        return options | {"confirmed": confirmed} | self.image_options(request)

    def process(self, work: Work) -> list[Outcome]:
        """Finalise each tenant's invoice. If it has changed since the request, the tenant fails."""
        outcomes = []
        # Lock order: before the drafts, so that no line is removed during its approval.
        self.billing.lock_entries(work.connection)
        for tenant_id in work.tenant_ids:
            with tenant_transaction(work.connection, [tenant_id]):
                outcomes.append(self._approve(work, tenant_id))
        # The nested transactions have changed the context.
        with tenant_transaction(work.connection, work.tenant_ids):
            return outcomes

    def _approve(self, work: Work, tenant_id: str) -> Outcome:
        request_id = work.run.options["request"]
        (item_id,) = item_ids(work.connection, request_id, tenant_id)
        item = lock_item(work.connection, request_id, tenant_id, item_id)
        assert item is not None, "the item was listed in this transaction"
        outcome = self._outcome(work, tenant_id, item)
        if item.result == Result.APPROVED:
            return outcome  # before the run was cleared
        if isinstance(outcome, UnitResult):
            result, text = Result.APPROVED, None
        else:
            result = Result.OUT_OF_DATE if outcome.code == OUT_OF_DATE else Result.FAILED
            text = outcome.message
        record_result(work.connection, request_id, tenant_id, item_id, result, text, work.run.execution_id)
        return outcome

    def _outcome(self, work: Work, tenant_id: str, item: LockedItem) -> Outcome:
        live = lock_by_id(work.connection, item.item_id)
        problem = _change(item, live)
        if problem:
            return _out_of_date(tenant_id, problem)
        # An invoice issued by an earlier attempt is not issued again.
        actor = live.execution_id if live and item.result == Result.APPROVED else work.run.execution_id
        assert item.answered_by is not None, "the answer was recorded before the run was opened"
        confirmed = work.run.options["confirmed"].get(tenant_id, {"typed": []})
        approver = Approver(
            item.answered_by,
            self.billing.terms.settings.second_person,
            **confirmed | {"typed": list(confirmed["typed"])},
        )
        try:
            name = approver_of_month(
                work.connection, approver, tenant_id, Period.month_of(work.run.business_date), only_lines=True
            )
        except BillingError as error:
            return failure(tenant_id, error)
        settlement = self._settle(work, item, actor, name)
        if settlement is None or settlement.settlement in (
            Settlement.HELD,
            Settlement.ALREADY_FINALIZED,
            Settlement.NOT_BILLABLE,
        ):
            return _out_of_date(
                tenant_id, "この承認依頼を出した後に、使用量や料金などの計算の根拠が変わっています"
            )
        return outcome_of(settlement)

    def _settle(self, work: Work, item: LockedItem, actor: str, approver: str) -> TenantSettlement | None:
        """The settlement of the only tenant by the run ``actor``. None, with nothing written: the month would get another invoice."""
        run = work.run
        instructions = Instructions(
            issued_on=self.billing.issue_date(run.business_date, run.run_date),
            actor=actor,
            resumable=True,
            allow_incomplete=bool(item.figures["allow_incomplete"]),
            approved=work.tenant_ids,
            approved_by=approver,
        )
        settled: list[TenantSettlement] = []
        with work.connection.transaction() as attempt:
            settled = self.settle(work, instructions)
            issued = lock_by_id(work.connection, item.item_id)
            # Without a hold reason, an invoice with other figures would be finalised without approval.
            if issued is None or (issued.state.status != "draft" and not _is_as_shown(item, issued)):
                settled = []
                raise psycopg.Rollback(attempt)
        return settled[0] if settled else None


def _change(item: LockedItem, live: StoredInvoice | None) -> str | None:
    """Why the answer does not apply to the live invoice; None if it does."""
    if item.superseded_by:
        return SUPERSEDED
    if live is None or live.state.status == "void":
        return "この請求書は取り消されています"
    if live.state.status != "draft":
        # An earlier attempt may have finalised it.
        return None if item.result == Result.APPROVED else "この請求書はすでに確定しています"
    if not _is_as_shown(item, live):
        return "この承認依頼を出した後に、請求が計算し直されています"
    return None


def _is_as_shown(item: LockedItem, live: StoredInvoice) -> bool:
    return live.input_hash == item.fingerprint and live.state.total == Decimal(item.figures["total"])


def _out_of_date(tenant_id: str, problem: str) -> UnitFailure:
    return UnitFailure(tenant_id, OUT_OF_DATE, f"承認できません: {problem}", recoverable=False)
