"""Operations on one-off lines (``batch.extra_charge``): enter a line, and remove a line that no final invoice has."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.extra_charges import remove_line
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.service import Billing
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Request, UnitResult, Work
from include.skillreport.operations.form_values import day_of, number_of, text_of

# If the day of a line is further away, it is a typing error.
_LONGEST_AHEAD = timedelta(days=365)


def entered_options(request: Request) -> dict[str, Any]:
    """The one-off line to enter as JSON values, without its currency. :raises ParameterError: a field cannot be used."""
    values = request.values
    quantity = number_of(values, "line_quantity", default="1")
    if quantity <= 0:
        raise ParameterError(
            "「数量」（line_quantity）は 0 より大きくしてください。減額は単価を負の数にします。"
        )
    unit_amount = number_of(values, "line_price")
    if not unit_amount:
        raise ParameterError("「単価」（line_price）が 0 です。0 以外の金額を指定してください。")
    charged_on = day_of(values, "line_date")
    assert request.run_date is not None, "a run that is opened has its date"
    latest = request.run_date + _LONGEST_AHEAD
    if charged_on > latest:
        raise ParameterError(
            f"「利用日」（line_date）の {charged_on} は先すぎます。{latest} までの日を指定してください。"
        )
    return {
        "charged_on": charged_on.isoformat(),
        "description": text_of(values, "line_text"),
        "quantity": f"{quantity:f}",
        "unit": text_of(values, "line_unit") or None,
        "unit_amount": f"{unit_amount:f}",
        "tax_category": TaxCategory(values.get("line_tax") or "standard").value,
    }


def removed_options(request: Request) -> dict[str, Any]:
    """The line to remove: its text or its id, and its day if there are several. :raises ParameterError: the day cannot be read."""
    has_day = bool(str(request.values.get("line_date") or "").strip())
    return {
        "named": text_of(request.values, "line_text"),
        "charged_on": day_of(request.values, "line_date").isoformat() if has_day else None,
    }


def enter(billing: Billing, work: Work, tenant_id: str, person: str) -> UnitResult:
    """Enter the line in the tenant's currency."""
    currency = billing.currency_of(work.connection, tenant_id)
    line = ExtraCharge.model_validate({**work.run.options["line"], "currency": currency})
    billing.enter_line(
        work.connection, tenant_id, line, entered_by=person, execution_id=work.run.execution_id
    )
    return UnitResult(tenant_id, {"entered": f"{line.charged_on:%Y-%m}", "description": line.description}, 1)


def remove(work: Work, tenant_id: str, person: str) -> UnitResult:
    """Remove the tenant's line, and save its content in ``batch.extra_charge_removal``."""
    options = work.run.options["line"]
    line = remove_line(
        work.connection,
        tenant_id,
        options["named"],
        date.fromisoformat(options["charged_on"]) if options["charged_on"] else None,
        removed_by=person,
        execution_id=work.run.execution_id,
    )
    return UnitResult(tenant_id, {"removed": f"{line.charged_on:%Y-%m}", "description": line.description}, 1)
