"""Settles a month: prices each tenant's invoice, saves it as a draft, and finalises it.

Each function runs in the caller's transaction, in the context of its tenants (``tenant_transaction``). The database guarantees one
live invoice per tenant and month, numbers without a gap, and unchanging final invoices. So two concurrent runs produce one set of
invoices.

With a sample price list or issuer, only drafts are written, without numbers, application rows and e-mails.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import psycopg

from include.skillreport.billing.accounts import BillingAccount, load_accounts, why_not_billable
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.ledger.contacts import BillingContact, load_contacts
from include.skillreport.billing.ledger.correction import (
    announce_voids,
    never_closed_error,
    not_billable_any_more_error,
    not_closed_error,
    not_voided_error,
    reason_problems,
    require_reason,
    stays_closed_error,
    void_invoices,
)
from include.skillreport.billing.ledger.drafts import InvoiceDraft, make_draft, save_drafts
from include.skillreport.billing.ledger.extra_charges import approve_lines
from include.skillreport.billing.ledger.finalization import FinalDocument, finalize, write_host_rows
from include.skillreport.billing.ledger.letters import queue_letters, withdraw_letters
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.due_dates import PaymentTerms, due_date, leaving_day
from include.skillreport.billing.state import Act, invoice_label, require
from include.skillreport.billing.terms import Terms


class Settlement(StrEnum):
    """The result of a tenant's month."""

    PRICED = "priced"
    FINALIZED = "finalized"
    ALREADY_FINALIZED = "already finalized"
    NOTHING_TO_PAY = "nothing to pay"
    NOT_BILLABLE = "not billable"
    HELD = "held"
    SAMPLE = "sample"
    CLOSED = "closed"
    FAILED = "failed"


@dataclass(frozen=True)
class Instructions:
    """An operator's options. ``approved``: codes or ids of tenants whose held draft may be finalised unchanged. ``approved_by`` approves
    them; None: the ``actor``. The approval covers waiting lines ``entered_before``; None: all.

    ``recalculate`` voids final, unpaid invoices and issues new ones. ``bills_again`` bills months whose invoice was voided or credited
    in full; otherwise they stay closed. ``reason`` says why, in both cases. ``actor`` is the run or the user. ``hold_reason`` says why
    each draft needs an approval. ``resumable``: a retry of the run does not issue again what this actor issued. ``attempts``: the earlier
    executions of the actor, if its run was opened again. ``is_trial``: nothing is written, so a month before the first one may be priced,
    too.
    """

    issued_on: date
    actor: str
    resumable: bool = False
    is_trial: bool = False
    allow_incomplete: bool = False
    recalculate: bool = False
    bills_again: bool = False
    reason: str = ""
    approved: Collection[str] = ()
    approved_by: str | None = None
    entered_before: datetime | None = None
    hold_reason: str | None = None
    attempts: Collection[str] = ()

    @property
    def approver(self) -> str:
        """The user who approves held drafts."""
        return self.approved_by or self.actor


@dataclass(frozen=True)
class TenantSettlement:
    """The result of one tenant's month. ``reason`` and ``code`` say why it was held or failed. ``notes`` include the invoice's warnings.

    ``attention`` is a warning for the accountant in the run's report, although the tenant did not fail. ``billed_days`` is the number
    of usage days that an earlier attempt of this run billed; otherwise ``inputs`` has them.
    """

    tenant_id: str
    settlement: Settlement
    invoice: Invoice | None = None
    inputs: BillingInputs | None = None
    number: str | None = None
    total: Decimal | None = None
    currency: str | None = None
    reason: str | None = None
    code: str | None = None
    notes: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()
    billed_days: int = 0

    @property
    def records(self) -> int:
        """The number of usage days that the run billed."""
        return len(self.inputs.usage_days) if self.inputs else self.billed_days


def price_tenants(
    connection: psycopg.Connection, period: Period, terms: Terms, instructions: Instructions
) -> list[TenantSettlement]:
    """Price the month of the transaction's tenants without writing."""
    instructions = replace(instructions, is_trial=True)
    priced = []
    for account in load_accounts(connection, period):
        outcome = _closed(account, instructions) or _draft(account, period, terms, instructions)
        if isinstance(outcome, InvoiceDraft):
            outcome = TenantSettlement(
                account.tenant_id,
                Settlement.PRICED,
                outcome.invoice,
                outcome.inputs,
                total=outcome.invoice.total,
                currency=outcome.invoice.currency,
                notes=(
                    *outcome.problems,
                    *outcome.remarks,
                    *_already_issued(account),
                    *outcome.sample_notes,
                ),
            )
        priced.append(outcome)
    return priced


def settle_tenants(
    connection: psycopg.Connection, period: Period, terms: Terms, instructions: Instructions
) -> list[TenantSettlement]:
    """Price, save and finalise the month of the transaction's tenants. Returns a settlement per tenant, ordered by tenant id.

    A final month does not change. If a tenant fails, its settlement says why, and the other tenants are settled.
    :raises BillingError: a month is to be billed again without a reason.
    """
    if instructions.recalculate or instructions.bills_again:
        require_reason(instructions.reason)
    settlements: dict[str, TenantSettlement] = {}
    contacts = load_contacts(connection)
    drafts: list[InvoiceDraft] = []
    obsolete: list[str] = []
    for account in load_accounts(connection, period):
        outcome = _outcome(account, period, terms, instructions)
        if isinstance(outcome, InvoiceDraft):
            drafts.append(outcome)
            continue
        settlements[account.tenant_id] = outcome
        if outcome.settlement is Settlement.NOT_BILLABLE and account.live:
            obsolete.append(account.live.invoice_id)

    voided, unsent, failures = _void_replaced(connection, drafts, contacts, instructions)
    settlements |= failures
    drafts = [
        draft.replacing(draft.account.received)
        if draft.account.live and draft.account.live.invoice_id in unsent
        else draft
        for draft in drafts
        if draft.account.tenant_id not in failures
    ]
    void_invoices(connection, obsolete, "請求対象の契約がなくなったため", instructions.actor)

    settled, invoice_ids = _settle_drafts(connection, period, terms, drafts, contacts, instructions)
    settlements |= settled
    write_host_rows(connection, [*voided, *obsolete, *(() if terms.samples else invoice_ids)])
    silenced = {
        draft.account.tenant_id for draft in drafts if draft.account.issued and not draft.invoice.total
    }
    return [
        _with_letter_problem(settlements[tenant_id], contacts[tenant_id], is_void_due=tenant_id in silenced)
        for tenant_id in sorted(settlements)
    ]


def _settle_drafts(
    connection: psycopg.Connection,
    period: Period,
    terms: Terms,
    drafts: Sequence[InvoiceDraft],
    contacts: Mapping[str, BillingContact],
    instructions: Instructions,
) -> tuple[dict[str, TenantSettlement], list[str]]:
    """Save the drafts, finalise those without an obstacle, and queue their e-mails. Returns settlements by tenant, and invoice ids."""
    invoice_ids = save_drafts(
        connection, period, drafts, instructions.actor, again_reason=instructions.reason or None
    )
    ready = {
        invoice_ids[draft.account.tenant_id]: draft
        for draft in drafts
        if draft.account.tenant_id in invoice_ids and _obstacle(draft, period) is None
    }
    issued_on = instructions.issued_on
    leaves_on = leaving_day(terms.settings, issued_on)
    usual = PaymentTerms(terms.settings.due_months)
    documents = {
        invoice_id: FinalDocument(
            draft.account.tenant_id,
            issued_on,
            leaves_on if draft.invoice.total and not contacts[draft.account.tenant_id].problem else None,
            due_date(terms.settings, draft.account.payment_terms or usual, period, leaves_on),
            instructions.approver if draft.needs_approver else None,
        )
        for invoice_id, draft in ready.items()
    }
    numbers = finalize(connection, terms, documents)
    approved = (draft for draft in ready.values() if draft.needs_approver)
    lines = [line for draft in approved for line in draft.inputs.extra_charges]
    approve_lines(connection, lines, instructions.approver)
    finalized = {
        invoice_id: draft.invoice.finalized(numbers[invoice_id], issued_on, documents[invoice_id].due_on)
        for invoice_id, draft in ready.items()
        if draft.invoice.total
    }
    queue_letters(connection, terms, finalized, contacts, leaves_on)
    settlements = {
        draft.account.tenant_id: _settlement_of(
            draft, period, invoice_ids.get(draft.account.tenant_id), numbers
        )
        for draft in drafts
    }
    return settlements, list(invoice_ids.values())


def _with_letter_problem(
    settlement: TenantSettlement, contact: BillingContact, *, is_void_due: bool
) -> TenantSettlement:
    is_due = settlement.settlement is Settlement.FINALIZED or (
        is_void_due and settlement.settlement is Settlement.NOTHING_TO_PAY
    )
    if not is_due or contact.remark is None:
        return settlement
    return replace(settlement, attention=(*settlement.attention, contact.remark))


def _outcome(
    account: BillingAccount, period: Period, terms: Terms, instructions: Instructions
) -> InvoiceDraft | TenantSettlement:
    outcome = (
        _already_settled(account, terms, instructions)
        or _closed(account, instructions)
        or _draft(account, period, terms, instructions)
    )
    if account.issued is None:
        return outcome
    if isinstance(outcome, InvoiceDraft):
        # An issued invoice is voided only if the new one can be issued.
        return _obstacle(outcome, period) or outcome
    if outcome.settlement is Settlement.NOT_BILLABLE:
        return _failed(account.tenant_id, not_billable_any_more_error(account.issued.state.number))
    return outcome


def _void_replaced(
    connection: psycopg.Connection,
    drafts: Sequence[InvoiceDraft],
    contacts: Mapping[str, BillingContact],
    instructions: Instructions,
) -> tuple[set[str], set[str], dict[str, TenantSettlement]]:
    """Void the issued invoices that drafts replace. Returns the voided ids, the ids of those that the customer never received, and a
    failure per tenant whose invoice was not voided.

    The e-mail about a new invoice names the replaced one; there is none for a total of 0.
    """
    replaced = {draft.account.tenant_id: draft.account.issued for draft in drafts if draft.account.issued}
    zero_totals = {draft.account.tenant_id for draft in drafts if not draft.invoice.total}
    unreplaced = {tenant_id: replaced[tenant_id].invoice_id for tenant_id in zero_totals & replaced.keys()}
    problems = reason_problems(connection, unreplaced, instructions.reason)
    failures = {tenant_id: _failed(tenant_id, problem) for tenant_id, problem in problems.items()}
    for tenant_id in problems:
        del replaced[tenant_id]
    invoice_ids = [issued.invoice_id for issued in replaced.values()]
    voided = void_invoices(connection, invoice_ids, instructions.reason, instructions.actor)
    announce_voids(connection, voided.intersection(unreplaced.values()), contacts, instructions.reason)
    unsent = withdraw_letters(connection, voided.difference(unreplaced.values()))
    failures |= {
        tenant_id: _failed(tenant_id, not_voided_error(connection, issued.state.number))
        for tenant_id, issued in replaced.items()
        if issued.invoice_id not in voided
    }
    return voided, unsent, failures


def _already_issued(account: BillingAccount) -> tuple[str, ...]:
    if account.issued is None:
        return ()
    return (f"{invoice_label(account.issued.state.number)}は確定済みで、この計算では変わりません",)


def _already_settled(
    account: BillingAccount, terms: Terms, instructions: Instructions
) -> TenantSettlement | None:
    issued = account.issued
    if issued is None:
        return None
    if instructions.resumable and issued.execution_id in (instructions.actor, *instructions.attempts):
        # An earlier attempt of this run has issued it.
        return TenantSettlement(
            account.tenant_id,
            Settlement.FINALIZED if issued.state.number else Settlement.NOTHING_TO_PAY,
            number=issued.state.number,
            total=issued.state.total,
            currency=issued.currency,
            notes=issued.remarks,
            billed_days=issued.usage_days,
        )
    if instructions.bills_again:
        return _failed(account.tenant_id, not_closed_error(issued.state.number))
    if not instructions.recalculate:
        return TenantSettlement(
            account.tenant_id,
            Settlement.ALREADY_FINALIZED,
            number=issued.state.number,
            notes=(
                f"{invoice_label(issued.state.number)}は確定済みのため、そのままです"
                "（計算し直すには DAG operate_invoices の「取消して再発行」）",
            ),
        )
    try:
        terms.require_no_sample()
        require(Act.REISSUE, issued.state)
    except BillingError as error:
        return _failed(account.tenant_id, error)
    return None


def _closed(account: BillingAccount, instructions: Instructions) -> TenantSettlement | None:
    """The settlement of a closed month; None if the month is open, or ``bills_again`` opens it.

    A month is closed if its invoice was voided, or credited in full, because the customer does not owe it. A user who wants an invoice
    now gets a failure. A run opens a month only once.
    """
    has_billed = instructions.resumable and instructions.actor in account.former_runs
    if instructions.bills_again and not has_billed:
        return None if account.taken_back else _failed(account.tenant_id, never_closed_error())
    if account.taken_back is None or (account.live and not instructions.bills_again):
        return None
    error = stays_closed_error(account.taken_back.number)
    if instructions.recalculate or account.is_among(instructions.approved):
        return _failed(account.tenant_id, error)
    return TenantSettlement(
        account.tenant_id, Settlement.CLOSED, number=account.taken_back.number, attention=(str(error),)
    )


def _draft(
    account: BillingAccount, period: Period, terms: Terms, instructions: Instructions
) -> InvoiceDraft | TenantSettlement:
    try:
        if account.issued is None and not instructions.is_trial:
            terms.require_billed_month(period.start)
        draft = make_draft(
            account,
            period,
            terms,
            allow_incomplete=instructions.allow_incomplete,
            approved=instructions.approved,
            approver=instructions.approver,
            entered_before=instructions.entered_before,
            hold_reason=instructions.hold_reason,
        )
    except BillingError as error:
        return _failed(account.tenant_id, error)
    if draft:
        return draft
    why = why_not_billable(account, period)
    return TenantSettlement(
        account.tenant_id,
        Settlement.NOT_BILLABLE,
        notes=(why.note,),
        attention=(why.note,) if why.needs_attention else (),
    )


def _obstacle(draft: InvoiceDraft, period: Period) -> TenantSettlement | None:
    account = draft.account
    if draft.sample_notes:
        return TenantSettlement(
            account.tenant_id,
            Settlement.SAMPLE,
            draft.invoice,
            draft.inputs,
            total=draft.invoice.total,
            currency=draft.invoice.currency,
            notes=(*draft.problems, *draft.remarks, *draft.sample_notes),
        )
    if draft.refusal is not None:
        return _failed(account.tenant_id, draft.refusal)
    if draft.hold is None or draft.approved:
        return None
    return TenantSettlement(
        account.tenant_id,
        Settlement.HELD,
        draft.invoice,
        draft.inputs,
        number=account.issued.state.number if account.issued else None,
        code="APPROVAL_NEEDED",
        reason=f"{draft.hold}。内容を確認し、正しければ DAG operate_invoices を対象月 {period.start}、"
        f"テナントコード '{account.tenant_code}'、操作"
        + ("「取消して再発行」と「大きな変動を認める」" if account.issued else "「保留中の請求の承認」")
        + "で実行してください。",
        notes=draft.remarks,
    )


def _settlement_of(
    draft: InvoiceDraft, period: Period, invoice_id: str | None, numbers: Mapping[str, str | None]
) -> TenantSettlement:
    tenant_id = draft.account.tenant_id
    if invoice_id is None:
        # Another run has finalised the month since this run read it.
        return TenantSettlement(
            tenant_id,
            Settlement.ALREADY_FINALIZED,
            notes=("同時に動いた別の実行が確定したため、そのままです",),
        )
    return _obstacle(draft, period) or TenantSettlement(
        tenant_id,
        Settlement.FINALIZED if draft.invoice.total else Settlement.NOTHING_TO_PAY,
        draft.invoice,
        draft.inputs,
        number=numbers[invoice_id],
        total=draft.invoice.total,
        currency=draft.invoice.currency,
        notes=draft.remarks,
    )


def _failed(tenant_id: str, error: BillingError) -> TenantSettlement:
    return TenantSettlement(tenant_id, Settlement.FAILED, reason=str(error), code=error.code)
