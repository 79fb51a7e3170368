"""Operations on the month's invoice of a tenant: explain, void, credit and correct it, and carry its difference."""

from __future__ import annotations

from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.ledger.correction import already_done
from include.skillreport.billing.ledger.letters import load_contacts
from include.skillreport.billing.ledger.revisions import already_corrected
from include.skillreport.billing.ledger.stored_invoice import invoice_of_month
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing import explanation
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.batch import UnitResult, Work
from include.skillreport.operations.operate_invoices import form


def explain(_: Billing, work: Work, __: form.Explain, tenant_id: str) -> UnitResult:
    """Log the calculation of the invoice."""
    stored = invoice_of_month(work.connection, tenant_id, Period.month_of(work.run.business_date))
    report = tuple(explanation.explain(stored.invoice, stored.inputs))
    return UnitResult(tenant_id, {"invoice_number": stored.invoice.number}, 0, report=report)


def void(billing: Billing, work: Work, entered: form.Void, tenant_id: str) -> UnitResult:
    """Void the unpaid invoice. A second attempt of the run changes nothing."""
    run, period = work.run, Period.month_of(work.run.business_date)
    done = already_done(work.connection, tenant_id, period, run.execution_id, credit=False)
    if not done:
        stored = invoice_of_month(work.connection, tenant_id, period)
        billing.void(work.connection, stored, entered.reason, actor=run.execution_id)
        done = [stored.invoice.number]
    return _document(work, tenant_id, "voided", done[0])


def credit(
    billing: Billing, work: Work, entered: form.Credit | form.PartCredit, tenant_id: str
) -> UnitResult:
    """Issue a credit note about the invoice, or about parts of it. A second attempt of the run changes nothing."""
    run, period = work.run, Period.month_of(work.run.business_date)
    done = already_done(work.connection, tenant_id, period, run.execution_id, credit=True)
    if not done:
        note = billing.credit(
            work.connection,
            invoice_of_month(work.connection, tenant_id, period),
            entered.reason,
            issued_on=billing.issue_date(run.business_date, run.run_date),
            actor=run.execution_id,
            parts=[_part(line) for line in entered.credit_lines]
            if isinstance(entered, form.PartCredit)
            else None,
        )
        done = [note.number]
    return _document(work, tenant_id, "credited", done[0])


def correct(billing: Billing, work: Work, entered: form.Correct, tenant_id: str) -> UnitResult:
    """Make a corrected document of the invoice. A second attempt of the run changes nothing."""
    run, period = work.run, Period.month_of(work.run.business_date)
    done = already_corrected(work.connection, tenant_id, period, run.execution_id)
    if not done:
        stored = invoice_of_month(work.connection, tenant_id, period)
        billing.correct(
            work.connection,
            stored,
            CorrectedTexts(
                name=entered.recipient_name,
                department=entered.recipient_department,
                postal_code=entered.recipient_postal_code,
                address=entered.recipient_address,
                lines={line.position: line.text for line in entered.line_texts},
                note=entered.note,
                due_on=entered.due_on,
            ),
            entered.correction,
            corrected_on=run.run_date,
            entered_by=run.person,
            execution_id=run.execution_id,
        )
        done = [str(stored.invoice.number)]
    return _document(work, tenant_id, "corrected", done[0])


def carry(billing: Billing, work: Work, _: form.Carry, tenant_id: str) -> UnitResult:
    """Enter the difference of a month that was closed again as lines of the next open month."""
    run = work.run
    lines = billing.carry_difference(
        work.connection, tenant_id, run.business_date, entered_by=run.person, execution_id=run.execution_id
    )
    return UnitResult(
        tenant_id,
        {"carried_to": f"{lines[0].charged_on:%Y-%m}"},
        len(lines),
        notes=tuple(
            f"{line.charged_on:%Y-%m} の請求に「{line.description}」{line.unit_amount:+,f} {line.currency} を載せます"
            for line in lines
        ),
    )


def _document(work: Work, tenant_id: str, verb: str, number: str | None) -> UnitResult:
    """The result about a numbered document. Its note says why the customer receives no letter about it."""
    problem = load_contacts(work.connection)[tenant_id].problem
    return UnitResult(tenant_id, {verb: number}, 0, notes=(problem,) if problem and number else ())


def _part(line: form.CreditLine) -> CreditedPart:
    if line.is_quantity:
        return CreditedPart(line.position, quantity=line.number)
    return CreditedPart(line.position, amount=line.number)
