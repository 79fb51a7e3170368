"""The files of a run that issues documents: each tenant's, and those of all tenants."""

from __future__ import annotations

from typing import Any

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.earlier_invoices import continue_earlier_invoices
from include.skillreport.billing.ledger.settlement import Instructions, TenantSettlement
from include.skillreport.billing.service import Billing
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.batch import Request, TenantBatch, Work


class BillingBatch(TenantBatch):
    """A batch or an operation on the invoices of a month. ``business_date`` is a day of that month."""

    effects = frozenset({"payments", "dropped"})
    states = frozenset({"generatedInvoices", "heldInvoices", "totalAmount*"})

    def __init__(self, billing: Billing) -> None:
        self.billing = billing

    def image_options(self, request: Request) -> dict[str, Any]:
        """The option ``images`` of a run that issues invoices: the issuer's logo and seal, checked and kept. Empty without images.

        :raises SettingsError: an image cannot be used.
        """
        issuer = self.billing.terms.settings.issuer
        if request.values.get("dry_run") or not (issuer.logo or issuer.seal):
            return {}
        return {"images": self.billing.keep_images(request.files)}

    def begin_billing(self, request: Request) -> None:
        """Continue the numbers of earlier invoices before a run issues the first invoices of a schema.

        :raises SettingsError: the settings permit billing the month of an earlier invoice again.
        """
        terms = self.billing.terms
        if request.values.get("dry_run") or terms.samples:
            return
        try:
            continue_earlier_invoices(request.platform, terms.settings, request.open_store())
        except BillingError as error:
            raise SettingsError(str(error)) from None

    def settle(self, work: Work, instructions: Instructions) -> list[TenantSettlement]:
        """Finalise the month's invoices of the transaction's tenants, with the images of the run's ``image_options``."""
        run = work.run
        images = run.options.get("images", {})
        return self.billing.settle(work.connection, run.business_date, instructions, images)

    def write_files(self, work: Work, tenant_id: str) -> None:
        """Write the missing documents of the tenant's month."""
        self.billing.write_documents(work.connection, tenant_id, work.run.business_date, work.files)

    def finish(self, work: Work) -> None:
        """Write the files of all tenants."""
        self.write_month(work)

    def write_month(self, work: Work) -> None:
        """Write the index of the month's documents and the accountant's files, which contain all tenants."""
        self.billing.write_accounting_files(
            work.connection,
            work.run.business_date,
            run_date=work.run.run_date,
            execution_id=work.run.execution_id,
            store=work.files,
        )
