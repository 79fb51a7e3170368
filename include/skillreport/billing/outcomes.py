"""The outcome of a settled month."""

from __future__ import annotations

from datetime import date
from typing import Any

from include.skillreport.billing.ledger.settlement import Settlement, TenantSettlement
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.explanation import explain
from include.skillreport.core.execution.batch import Outcome, UnitFailure, UnitResult


def outcome_of(settlement: TenantSettlement, *, held: str = "") -> Outcome:
    """The outcome for the execution log. A held invoice is a failure, because an operator must approve it, unless the run says ``held``
    about it: then it has done all that it may do alone.
    """
    if held and settlement.settlement is Settlement.HELD:
        return UnitResult(
            settlement.tenant_id,
            {"settlement": settlement.settlement, "heldInvoices": 1}
            | ({"invoice_number": settlement.number} if settlement.number else {}),
            records=settlement.records,
            notes=(f"{held}{settlement.reason}", *settlement.notes),
        )
    if settlement.settlement in (Settlement.FAILED, Settlement.HELD):
        assert settlement.code is not None
        assert settlement.reason is not None
        return UnitFailure(
            settlement.tenant_id,
            settlement.code,
            settlement.reason,
            recoverable=False,
            notes=settlement.notes,
        )
    details: dict[str, Any] = {"settlement": settlement.settlement}
    if settlement.number:
        details["invoice_number"] = settlement.number
    if settlement.settlement is Settlement.FINALIZED:
        details["generatedInvoices"] = 1
    if settlement.total is not None:
        # A JSON number, because the run adds up its totals. A float holds 15 digits, enough for an invoice.
        details[f"totalAmount{settlement.currency}"] = float(settlement.total)
    if settlement.attention:
        details["attention"] = list(settlement.attention)
    report: tuple[str, ...] = ()
    if settlement.settlement is Settlement.PRICED and settlement.invoice and settlement.inputs:
        report = tuple(explain(settlement.invoice, settlement.inputs))
    return UnitResult(
        settlement.tenant_id,
        details,
        records=settlement.records,
        notes=tuple(dict.fromkeys((*settlement.notes, *settlement.attention))),
        report=report,
    )


def issue_date(month: date, run_date: date) -> date:
    """The date of a document: the day of the run, but not before its month is over."""
    return max(run_date, Period.month_of(month).next_day)
