"""Accountants' operations on invoices: the steps of their run. The actions do the work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from include.skillreport.billing.actions.action import Action, Desk, TenantAction
from include.skillreport.billing.actions.entered import entry_options, take_entered
from include.skillreport.billing.billing_batch import BillingBatch
from include.skillreport.billing.ledger.contract_changes import named_tenants
from include.skillreport.billing.ledger.payments import former_invoiced_tenants, vanished_payers
from include.skillreport.billing.periods import Period
from include.skillreport.core.execution.batch import Outcome, Request, Run, Work
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.operations.operate_invoices.form import FORM
from include.skillreport.operations.shown import ChecksShown


class InvoiceOperations(ChecksShown, BillingBatch):
    """One action on the month's invoice of each named tenant. ``business_date`` is a day of that month."""

    own_form = FORM

    def options(self, request: Request) -> dict[str, Any]:
        """The action and its values, or the token of the values entered on the board, and the action's own options."""
        action = _chosen(request.values)
        if action.is_personal():
            assert issubclass(action, TenantAction), "personal values are about a tenant"
            options = entry_options(action, request, f"ボードの請求書のページの「{action.title}」")
            for named in (request.codes, request.tenant_ids):
                action.require_few(named)
            return options
        entered = _entered(request.values, request)
        if not action.issues:
            return entered.options(request)
        self.begin_billing(request)
        return entered.options(request) | self.image_options(request)

    def changed(self, work: Work, *, again: bool = False) -> Mapping[str, str]:
        """Compare the month's invoices while no settlement, approval or entry can change them."""
        if again and not _chosen(work.run.options).is_read_only:
            self.billing.lock_entries(work.connection)
        return super().changed(work, again=again)

    def needs_nobody(self, request: Request) -> bool:
        """True if the action works on the files of all tenants."""
        return _chosen(request.values).needs_nobody

    def further_tenants(self, request: Request) -> Collection[str]:
        """Former tenants that must pay for the month, or that have an issued invoice to work on.

        For an action without a month, the named former tenants.
        """
        action, month = _chosen(request.values), request.business_date
        if not action.of_month:
            return named_tenants(request.platform, request.codes)
        leaving = self.billing.former_tenants(request.platform, month)
        if action.takes_former:
            return leaving | set(former_invoiced_tenants(request.platform, Period.month_of(month)))
        return leaving

    def found_tenants(self, request: Request) -> Collection[str] | None:
        """The tenants in the action's file."""
        if not _chosen(request.values).reads_files:
            return None
        return _entered(request.values).found_tenants(self.billing, request)

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """For work on an issued invoice, the deleted tenants that may still pay an invoice."""
        if not _chosen(request.values).takes_former:
            return ()
        return [Tenant(*each) for each in vanished_payers(request.platform)]

    def reads_files(self, run: Run) -> bool:
        return _chosen(run.options).reads_files

    def process(self, work: Work) -> list[Outcome]:
        """Do the action for each tenant. If its invoice does not allow the action, the tenant fails."""
        return _action(work).do_all(self._desk(work))

    def write_files(self, work: Work, tenant_id: str) -> None:
        """Write the documents of the tenant's month, unless the action issues none."""
        action = _chosen(work.run.options)
        if action.writes_documents and not action.is_read_only:
            super().write_files(work, tenant_id)

    def finish(self, work: Work) -> None:
        """Close the month, or write the files of all tenants if the action may have changed them."""
        if not _chosen(work.run.options).is_read_only:
            _action(work).finish(self._desk(work))

    def _desk(self, work: Work) -> Desk:
        return Desk(self, work, partial(take_entered, FORM, work))


def _chosen(values: Mapping[str, Any]) -> type[Action]:
    action = FORM.chosen(values)
    assert issubclass(action, Action)
    return action


def _entered(values: Mapping[str, Any], request: Request | None = None) -> Action:
    entered = FORM.entered(values, request.run_date if request else None)
    assert isinstance(entered, Action)
    return entered


def _action(work: Work) -> Action:
    """The run's action with its values. With personal values, it takes them itself (``Desk.take``)."""
    chosen = _chosen(work.run.options)
    return chosen.model_construct() if chosen.is_personal() else _entered(work.run.options)
