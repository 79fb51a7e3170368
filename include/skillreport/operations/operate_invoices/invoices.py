"""Operations on the month's invoice of a tenant: explain, void, credit and correct it, approve and drop credits, and carry a difference."""

from __future__ import annotations

from dataclasses import replace

from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.contacts import load_contacts
from include.skillreport.billing.ledger.correction import already_voided
from include.skillreport.billing.ledger.entries import credit_text
from include.skillreport.billing.ledger.revisions import already_corrected
from include.skillreport.billing.ledger.stored_invoice import invoice_of_month
from include.skillreport.billing.ledger.waiting_credits import (
    credits_of_run,
    drop_credits,
    entered_credit,
    waiting_people,
)
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing import explanation
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.batch import UnitResult, Work
from include.skillreport.operations.entries import take_entered
from include.skillreport.operations.operate_invoices import form
from include.skillreport.operations.operate_invoices.fields import CreditLine
from include.skillreport.operations.operate_invoices.form import FORM

_WAITS = "訂正は確認待ちです。ほかの人が「発送する」を使うまで、訂正の通知も督促も送りません"


def explain(_: Billing, work: Work, __: form.Explain, tenant_id: str) -> UnitResult:
    """Log the calculation of the invoice."""
    stored = invoice_of_month(work.connection, tenant_id, Period.month_of(work.run.business_date))
    report = tuple(explanation.explain(stored.invoice, stored.inputs))
    return UnitResult(tenant_id, {"invoice_number": stored.invoice.number}, 0, report=report)


def void(billing: Billing, work: Work, entered: form.Void, tenant_id: str) -> UnitResult:
    """Void the unpaid invoice. A second attempt of the run changes nothing."""
    run, period = work.run, Period.month_of(work.run.business_date)
    done = already_voided(work.connection, tenant_id, period, run.execution_id)
    if not done:
        stored = invoice_of_month(work.connection, tenant_id, period)
        billing.void(work.connection, stored, entered.reason, actor=run.execution_id)
        done = [stored.invoice.number]
    return _document(work, tenant_id, "voided", done[0])


def credit(
    billing: Billing, work: Work, entered: form.Credit | form.PartCredit, tenant_id: str
) -> UnitResult:
    """Issue a credit note about the invoice, or about parts of it, or let it wait. A second attempt of the run changes nothing."""
    run, period = work.run, Period.month_of(work.run.business_date)
    billing.lock_entries(work.connection)
    if entered_credit(work.connection, tenant_id, period, run.execution_id) is None:
        billing.credit(
            work.connection,
            invoice_of_month(work.connection, tenant_id, period),
            entered.reason,
            issued_on=billing.issue_date(run.business_date, run.run_date),
            actor=run.execution_id,
            entered_by=run.person,
            parts=[_part(line) for line in entered.credit_lines]
            if isinstance(entered, form.PartCredit)
            else None,
            again_same=isinstance(entered, form.PartCredit) and entered.again_same,
        )
    done = entered_credit(work.connection, tenant_id, period, run.execution_id)
    assert done is not None, "the credit was entered in this transaction"
    if done.status == "draft":
        return UnitResult(tenant_id, {"waits": "credit"}, 1, notes=(str(done.hold_reason),))
    if done.status == "void":
        return UnitResult(tenant_id, {"credited": None}, 0, notes=("承認待ちの返還は、取り下げ済みです",))
    return _document(work, tenant_id, "credited", done.number)


def approve_credits(billing: Billing, work: Work, tenant_id: str) -> UnitResult | None:
    """Issue the waiting credit notes about the month's invoice. None: there is none, and an earlier attempt has issued none.

    :raises BillingError: this person has entered them, somebody has entered one after this run was opened, or the invoice has changed.
    """
    run, period = work.run, Period.month_of(work.run.business_date)
    try:
        stored = invoice_of_month(work.connection, tenant_id, period)
    except BillingError:  # an earlier attempt may have issued the credit note that has closed the month
        stored = None
    issued = _approved_credits(work, tenant_id, period)
    # What an earlier attempt has issued is all that the person saw.
    if stored and not issued and waiting_people(work.connection, stored):
        billing.approve_credits(
            work.connection,
            stored,
            issued_on=billing.issue_date(run.business_date, run.run_date),
            approver=run.person,
            execution_id=run.execution_id,
        )
        issued = _approved_credits(work, tenant_id, period)
    if not issued:
        return None
    waiting = "、".join(waiting_people(work.connection, stored)) if stored else ""
    notes = (f"{waiting} が登録した返還は、ほかの人の承認を待っています",) if waiting else ()
    remark = load_contacts(work.connection)[tenant_id].remark
    return UnitResult(
        tenant_id, {"credited": "、".join(issued)}, 0, notes=(*notes, *((remark,) if remark else ()))
    )


def _approved_credits(work: Work, tenant_id: str, period: Period) -> list[str]:
    found = credits_of_run(work.connection, tenant_id, period, work.run.execution_id)
    return [row["number"] for row in found if row["number"]]


def drop(_: Billing, work: Work, entered: form.DropCredit, tenant_id: str) -> UnitResult:
    """Drop the waiting credit notes about the month's invoice. A second attempt of the run changes nothing."""
    run, period = work.run, Period.month_of(work.run.business_date)
    dropped = [
        credit_text(row) for row in credits_of_run(work.connection, tenant_id, period, run.execution_id)
    ] or drop_credits(
        work.connection,
        invoice_of_month(work.connection, tenant_id, period),
        entered.reason,
        actor=run.execution_id,
    )
    return UnitResult(
        tenant_id,
        {"dropped": len(dropped)},
        len(dropped),
        notes=tuple(f"承認待ちの返還{text}を取り下げました" for text in dropped),
    )


def correct(billing: Billing, work: Work, _: None, tenant_id: str) -> UnitResult:
    """Take what the person has entered, and make a corrected document of the invoice. A second attempt of the run changes nothing."""
    run, period = work.run, Period.month_of(work.run.business_date)
    done = already_corrected(work.connection, tenant_id, period, run.execution_id)
    if not done:
        # A correction that is refused leaves the values for another attempt, as long as they are usable.
        with work.connection.transaction():
            entered = take_entered(FORM, work)
            assert isinstance(entered, form.Correct), "a run that has used its values has made a correction"
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
    result = _document(work, tenant_id, "corrected", done[0])
    return replace(result, notes=(*result.notes, _WAITS))


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
    remark = load_contacts(work.connection)[tenant_id].remark
    return UnitResult(tenant_id, {verb: number}, 0, notes=(remark,) if remark and number else ())


def _part(line: CreditLine) -> CreditedPart:
    if line.is_quantity:
        return CreditedPart(line.position, quantity=line.number)
    return CreditedPart(line.position, amount=line.number)
