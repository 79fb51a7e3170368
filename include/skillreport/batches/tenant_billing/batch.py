"""BATCH-018-02: prices, taxes and invoices last month, once per tenant, and writes the accountant's documents."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from include.skillreport.billing.billing_batch import BillingBatch
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.settlement import Instructions, Settlement
from include.skillreport.billing.outcomes import outcome_of
from include.skillreport.billing.terms import OWN_TERMS
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution.batch import NotDueError, Outcome, Request, Run, Work
from include.skillreport.core.execution.digest import Digest

_SQL = Statements(Path(__file__).parent)


class TenantBillingBatch(BillingBatch):
    """The steps of BATCH-018-02; see ``include.skillreport.core.execution.batch``."""

    def options(self, request: Request) -> dict[str, Any]:
        """``allow_incomplete``: bill from the closed days even if some days are missing.

        :raises NotDueError: a scheduled run would bill a month before the first one, for example a new installation's missed run.
        :raises ParameterError: a manual run, other than a dry run, would bill such a month.
        :raises SettingsError: the settings contain no first month, or permit billing the month of an earlier invoice again.
        """
        if not request.values.get("dry_run"):
            self._require_billed_month(request)
        self.begin_billing(request)
        allow_incomplete = bool(request.values.get("allow_incomplete"))
        return {"allow_incomplete": allow_incomplete, **self.image_options(request)}

    def _require_billed_month(self, request: Request) -> None:
        try:
            self.billing.terms.require_billed_month(request.business_date.replace(day=1))
        except BillingError as error:
            is_missed_tick = error.code == "BEFORE_FIRST_MONTH" and not request.values.get("business_date")
            is_setting = error.code == "NO_FIRST_MONTH"
            raise (NotDueError if is_missed_tick else SettingsError if is_setting else ParameterError)(
                str(error)
            ) from None

    def further_tenants(self, request: Request) -> Collection[str]:
        """Tenants that left during the month or later, and must be billed for it."""
        return self.billing.former_tenants(request.platform, request.business_date)

    def process(self, work: Work) -> list[Outcome]:
        """Price the tenants' month, finalise invoices that need no approval, write the host's rows, and queue the notifications.

        The first run after a pause keeps all invoices as drafts that need an approval.
        """
        run = work.run
        instructions = Instructions(
            issued_on=self.billing.issue_date(run.business_date, run.run_date),
            actor=run.execution_id,
            resumable=True,
            allow_incomplete=run.options["allow_incomplete"],
            hold_reason=run.deferral_reason,
            attempts=_SQL.column(work.connection, "attempts", execution_id=run.execution_id),
        )
        settled = (
            self.billing.price(work.connection, run.business_date, instructions)
            if run.dry_run
            else self.settle(work, instructions)
        )
        held = "請求書の下書きは、承認を待っています。" if run.deferral_reason is not None else ""
        return [outcome_of(each, held=held) for each in settled]

    def announces(self, run: Run) -> bool:
        """True if invoices are final: not with samples, nor in the first run after a pause, which keeps drafts."""
        return not self.billing.terms.samples and run.deferral_reason is None

    def digest(self, work: Work) -> Digest:
        """The accountant's findings, or, with a sample price list or issuer, the note that nothing is finalised."""
        samples = self.billing.terms.samples
        if not samples:
            return self._review(work)
        row = _SQL.row(
            work.connection, "count_samples", execution_id=work.run.execution_id, settlement=Settlement.SAMPLE
        )
        return Digest(
            (
                f"請求書を確定していません（{work.run.business_date:%Y-%m} 分）: {samples}が見本（sample: true）のため",
                f"・見本の下書き {row[0]} テナント（保存先の samples/{work.run.business_date:%Y-%m}/）。"
                "請求書番号、アプリの請求データ、請求先への通知、会計用ファイルは作っていません",
                f"→ {OWN_TERMS}。その後、業務日 {work.run.business_date:%Y-%m-%d} で再実行すると確定します",
            )
        )

    def _review(self, work: Work) -> Digest:
        run = work.run
        sections = self.billing.review(work.connection, run.business_date, run.execution_id)
        if not sections:
            return Digest()
        lines = [line for section in sections for line in section.lines()]
        return Digest((f"請求の確認事項（{run.business_date:%Y-%m} 分の実行）", *lines))
