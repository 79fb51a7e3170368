"""The run of ``operate_contracts``: apply a user's changes, and report their effects on final invoices."""

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

# The option with the digest of the imported file, from which the run's tenants come.
_SHA256 = "sha256"


class ContractEffects(TenantBatch):
    """Reports the effects of the run's changes on each tenant's final invoices, and notifies former recipients."""

    states = frozenset({"changes", "formerRecipientsTold"})

    def __init__(self, billing: Billing) -> None:
        self._billing = billing

    def process(self, work: Work) -> list[Outcome]:
        """Compare each tenant's final invoices with the changed contract, without changing them."""
        run = work.run
        changes = applied_changes(work.connection, run.execution_id)
        if changes:
            # A settlement that read the contracts before the change holds this lock until its invoices are final, so the comparison
            # includes them. Later settlements read the changed contracts.
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
        """The operation and its values; for personal values the token; for a file the SHA-256 of its content.

        :raises ParameterError: a value cannot be used, or personal values were not entered on the board.
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
            # Several tenants can have one code, because the id replaces a missing code.
            form.require_one_tenant(request.tenants)
        return options

    def needs_nobody(self, request: Request) -> bool:
        """True if the operation is about no tenant."""
        return FORM.chosen(request.values) in (form.SetRate, form.Withdraw, form.ExportFiles)

    def further_tenants(self, request: Request) -> Collection[str]:
        """The named former tenants, because their last invoices and reminders still need recipients."""
        return named_tenants(request.platform, request.codes)

    def found_tenants(self, request: Request) -> Collection[str] | None:
        """The tenants in a file, after checking the entire file."""
        operation = FORM.chosen(request.values)
        if operation is not form.ImportFile:
            if not operation.is_personal():
                # Without this check, a form without a tenant would be for all tenants.
                FORM.entered(request.values, request.run_date)
            return None
        entered = FORM.entered(request.values, request.run_date)
        assert isinstance(entered, form.ImportFile)
        assert request.run_date is not None, "a run that is opened has its date"
        content = rows.content_of(request.files, entered)
        wanted = rows.rows_of_file(request.platform, content, entered, self._plans(), request.run_date)
        return {each.owner for each in wanted if each.kind.owner == "tenant_id"}

    def reads_files(self, run: Run) -> bool:
        """True if the operation reads or writes a file."""
        return FORM.chosen(run.options) in (form.ImportFile, form.ExportFiles)

    def change_contracts(self, work: Work) -> RunRemark | None:
        """Change the rows in one transaction. A cleared run finds its work done, and returns no note.

        :raises ParameterError: the values have expired or were used. :raises BillingError: a row cannot be changed as requested.
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
        """Compare with the dialog. :raises ParameterError: the contract has changed since the dialog showed it."""
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
        """The plans of all price list versions."""
        return {name for version in self._billing.terms.price_list.versions for name in version.plans}
