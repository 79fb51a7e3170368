"""The run of ``operate_contracts``: change what a person has entered, and say what it means for the invoices that are final."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import psycopg

from include.skillreport.billing.actions.entered import entry_options, take_entered
from include.skillreport.billing.contract_kinds import ContractApproval
from include.skillreport.billing.ledger.contract_changes import (
    Author,
    change_contracts,
    expire,
    has_done,
    lock_contracts,
    named_tenants,
)
from include.skillreport.billing.ledger.contract_effects import (
    InvoiceComparison,
    applied_changes,
    tell_former_recipients,
)
from include.skillreport.billing.ledger.entries import withdraw_entries
from include.skillreport.billing.service import Billing
from include.skillreport.core.entered import SHOWN
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import (
    Outcome,
    Request,
    Run,
    RunRemark,
    TenantBatch,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.run_log import tenants_of_run
from include.skillreport.core.form import Operation
from include.skillreport.operations.operate_contracts import form, rows
from include.skillreport.operations.operate_contracts.form import FORM
from include.skillreport.operations.shown import ChecksShown

_STEP = "change_contracts"

# The option with the digest of the imported file: the tenants of the run are those of this content.
_SHA256 = "sha256"


class ContractEffects(TenantBatch):
    """Says for each tenant what the changes of the run mean for its final invoices, and tells the former recipients."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing

    def process(self, work: Work) -> list[Outcome]:
        """Compare each tenant's final invoices with the changed contract. No invoice changes."""
        run = work.run
        changes = applied_changes(work.connection, run.execution_id)
        if changes:
            # A settlement that has read the contracts before the change holds this lock until its invoices are final. So the comparison
            # waits for them, and a settlement that begins later reads the changed contracts.
            self._billing.lock_entries(work.connection)
        comparison = InvoiceComparison(work.connection, self._billing.terms, run.run_date)
        outcomes: list[Outcome] = []
        for tenant_id in work.tenant_ids:
            own = changes.get(tenant_id, [])
            letters = tell_former_recipients(work.connection, own, self._billing.terms.settings)
            remarks = comparison.remarks(tenant_id, own) if own else []
            details = {"changes": len(own), "formerRecipientsTold": letters}
            outcomes.append(UnitResult(tenant_id, details, len(own), notes=tuple(remarks)))
        return outcomes


class ContractOperations(ChecksShown, ContractEffects):
    """One operation of a form, or the rows of a file."""

    own_form = FORM

    def options(self, request: Request) -> dict[str, Any]:
        """The operation and its values; of one with personal values the token; of a file the SHA-256 of its content.

        :raises ParameterError: a value cannot be used, or personal values are not entered on the board.
        """
        operation = FORM.chosen(request.values)
        if not operation.is_personal():
            entered = FORM.entered(request.values, request.run_date)
            if not isinstance(entered, form.ImportFile):
                return entered.values()
            content = rows.content_of(request.files, entered)
            return {**entered.values(), _SHA256: hashlib.sha256(content).hexdigest()}
        options = entry_options(operation, request, "ボードのテナントのページの「契約」")
        if operation is form.SetProfile:
            # One code can name several tenants: a tenant without a code is named by its id.
            form.require_one_tenant(request.tenants)
        return options

    def needs_nobody(self, request: Request) -> bool:
        """Whether the operation is about no tenant."""
        return FORM.chosen(request.values) in (form.SetRate, form.Withdraw, form.ExportFiles)

    def further_tenants(self, request: Request) -> Collection[str]:
        """The named tenants that have left: their last invoices and their reminders still go to somebody."""
        return named_tenants(request.platform, request.codes)

    def found_tenants(self, request: Request) -> Collection[str] | None:
        """The tenants in a file. The whole file is checked first."""
        operation = FORM.chosen(request.values)
        if operation is not form.ImportFile:
            if not operation.is_personal():
                # Without this check, a form without a tenant would be for all of them.
                FORM.entered(request.values, request.run_date)
            return None
        entered = FORM.entered(request.values, request.run_date)
        assert isinstance(entered, form.ImportFile)
        assert request.run_date is not None, "a run that is opened has its date"
        content = rows.content_of(request.files, entered)
        wanted = rows.rows_of_file(request.platform, content, entered, self._plans(), request.run_date)
        return {each.owner for each in wanted if each.kind.owner == "tenant_id"}

    def reads_files(self, run: Run) -> bool:
        """Whether the operation reads or writes a file."""
        return FORM.chosen(run.options) in (form.ImportFile, form.ExportFiles)

    def change_contracts(self, work: Work) -> RunRemark | None:
        """Change the rows in one transaction. A cleared run finds its work done, and returns without a remark.

        :raises ParameterError: the values are expired or used. :raises BillingError: a row cannot be changed as wanted.
        """
        run, platform = work.run, work.connection
        author = Author(run.person, run.execution_id, run.options.get("imported_file"))
        if not run.dry_run:
            expire(platform)
            if has_done(platform, run.execution_id, _STEP):
                return None
        details: dict[str, Any] = {}
        with platform.transaction() as attempt:
            lock_contracts(platform)
            is_personal = FORM.chosen(run.options).is_personal()
            entered = take_entered(FORM, work) if is_personal else FORM.entered(run.options)
            if entered is None:
                return None
            if SHOWN in run.options:
                self._require_shown(work)
            details = self._change(work, entered, author)
            if run.dry_run:
                raise psycopg.Rollback(attempt)
        return RunRemark(details)

    def _require_shown(self, work: Work) -> None:
        """:raises ParameterError: somebody has changed the contract since the dialog showed it."""
        changed = self.changed(replace(work, tenant_ids=tenants_of_run(work.connection, work.run)))
        if changed:
            raise ParameterError("".join(changed.values()))

    def _change(self, work: Work, entered: Operation, author: Author) -> dict[str, Any]:
        platform = work.connection
        if isinstance(entered, form.ExportFiles):
            return {"exported": {} if work.run.dry_run else rows.export(platform, work.files)}
        if isinstance(entered, form.Withdraw):
            by = (author.execution_id, author.person)
            withdrawn = withdraw_entries(platform, "contract", entered.changes, entered.reason, *by)
            if unknown := {*entered.changes} - {row["change_id"] for row in withdrawn}:
                named = "、".join(each[:40] for each in sorted(unknown)[:5])
                raise ParameterError(
                    f"変更 {named} は、承認を待っていません。ボードの履歴で確かめてください。"
                )
            return {"withdrawn": len(entered.changes)}
        if isinstance(entered, form.ImportFile):
            content = rows.same_content(work.files, entered, work.run.options[_SHA256])
            wanted = rows.rows_of_file(platform, content, entered, self._plans(), work.run.run_date)
        else:
            owners = (
                [entered.currency]
                if isinstance(entered, form.SetRate)
                else tenants_of_run(platform, work.run)
            )
            wanted = rows.wanted_rows(entered, owners)
            for each in wanted:
                rows.require_known_plan(each, self._plans())
        terms = ContractApproval.of(self._billing.terms.settings)
        recorded = change_contracts(platform, wanted, terms, author)
        kept = {"invoicesWithFormerRate": list(recorded.invoices)} if recorded.invoices else {}
        return {"applied": recorded.applied, "waiting": recorded.waiting, **kept}

    def _plans(self) -> set[str]:
        """The plans of all versions of the price list."""
        return {name for version in self._billing.terms.price_list.versions for name in version.plans}
