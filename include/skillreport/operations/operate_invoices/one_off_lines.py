"""Operations on one-off lines (``batch.extra_charge``): enter a line, and remove a line that no final invoice has."""

from __future__ import annotations

from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.entries import Entry
from include.skillreport.billing.ledger.extra_charges import REMOVED, remove_line
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.batch import UnitResult, Work
from include.skillreport.operations.operate_invoices import form


def enter(billing: Billing, work: Work, entered: form.ExtraLine, tenant_id: str) -> UnitResult:
    """Enter the line in the tenant's currency."""
    line = ExtraCharge(
        charged_on=entered.line_date,
        description=entered.line_text,
        quantity=entered.line_quantity,
        unit=entered.line_unit or None,
        unit_amount=entered.line_price,
        currency=billing.currency_of(work.connection, tenant_id),
        tax_category=TaxCategory(entered.line_tax),
    )
    run = work.run
    entry = Entry(run.person, run.execution_id, run.run_date, entered.again_same)
    remarks = billing.enter_line(work.connection, tenant_id, line, entry)
    if remarks == (REMOVED,):
        return UnitResult(tenant_id, {"entered": None}, 0, notes=remarks)
    return UnitResult(
        tenant_id,
        {"entered": f"{line.charged_on:%Y-%m}", "description": line.description},
        1,
        notes=remarks,
    )


def remove(billing: Billing, work: Work, entered: form.RemoveLine, tenant_id: str) -> UnitResult:
    """Remove the tenant's line, and save its content in ``batch.extra_charge_removal``. Its text may be the line's id."""
    # An approval that has read the line is over before the line goes.
    billing.lock_entries(work.connection)
    line = remove_line(
        work.connection,
        tenant_id,
        entered.line_text,
        entered.line_date,
        removed_by=work.run.person,
        execution_id=work.run.execution_id,
    )
    return UnitResult(tenant_id, {"removed": f"{line.charged_on:%Y-%m}", "description": line.description}, 1)
