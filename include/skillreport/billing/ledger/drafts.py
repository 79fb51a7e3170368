"""Drafts: a tenant's invoice of the month before it is finalised, and the obstacles to finalising."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from pydantic_core import to_json

from include.skillreport.billing.accounts import BillingAccount, inputs_of, load_accounts
from include.skillreport.billing.approval import (
    OneOffLine,
    base_fees,
    change_reason,
    first_invoice_reason,
    one_off_reason,
    recurring_subtotal,
    unplaced_reason,
    waiting_reason,
    yen_reason,
)
from include.skillreport.billing.documents.invoice import DocumentReference, Invoice
from include.skillreport.billing.documents.issuable import require_issuable
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs, canonical_json, digest_of
from include.skillreport.billing.money import EXACT, YEN, round_to_minor_unit
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.calculation import no_exchange_rate, price, price_signed
from include.skillreport.billing.pricing.whole_month import whole_month
from include.skillreport.billing.second_person import WaitingEntry, approval_refusal, approval_words
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


@dataclass(frozen=True)
class InvoiceDraft:
    """A priced month. ``hold``: why it waits for an approval. ``refusal``: why it cannot be finalised unchanged."""

    account: BillingAccount
    inputs: BillingInputs
    invoice: Invoice
    hold: str | None
    approved: bool
    refusal: BillingError | None
    sample_notes: tuple[str, ...]

    @property
    def needs_approver(self) -> bool:
        """True if it needs an approval: it is held, or the stored draft was held for a past reason."""
        live = self.account.live
        return bool(self.hold or (self.approved and live and live.hold_reason))

    @property
    def remarks(self) -> tuple[str, ...]:
        """The warnings about the invoice and the account."""
        return (*self.invoice.remarks, *self.account.remarks)

    @property
    def problems(self) -> tuple[str, ...]:
        """The obstacles to finalising, except sample terms."""
        return tuple(str(problem) for problem in (self.hold, self.refusal) if problem)

    def replacing(self, reference: DocumentReference | None) -> InvoiceDraft:
        """The draft of an invoice that replaces another one, or none."""
        named = {"replaces": reference}
        return replace(
            self, inputs=self.inputs.model_copy(update=named), invoice=self.invoice.model_copy(update=named)
        )


def make_draft(
    account: BillingAccount,
    period: Period,
    terms: Terms,
    *,
    allow_incomplete: bool,
    approved: Collection[str],
    approver: str,
    entered_before: datetime | None = None,
    hold_reason: str | None = None,
) -> InvoiceDraft | None:
    """The tenant's draft, or None if nothing is billable. ``approved`` are codes or ids of tenants that ``approver`` approves, with
    waiting lines ``entered_before``; None: all lines. ``hold_reason``: why the run holds every draft.

    :raises BillingError: the month cannot be priced, its exchange rate waits for an approval, the approver entered one of its
        waiting lines, or it is too late.
    """
    inputs = inputs_of(
        account,
        period,
        terms.price_list.version_for(period.start),
        terms.settings,
        allow_incomplete=allow_incomplete,
    )
    if inputs is None:
        return None
    _require_no_waiting_rate(account, inputs, terms)
    invoice = price(inputs)
    reasons = _reasons(account, inputs, invoice, terms)
    hold = "。".join((*([hold_reason] if hold_reason else []), *reasons)) or None
    is_approved = account.is_among(approved)
    stored_hash = account.live.input_hash if account.live and account.live.state.status == "draft" else None
    if hold and is_approved and stored_hash not in (None, inputs.digest()):
        # The approval is for the stored draft. It does not cover a draft with other inputs.
        is_approved, hold = False, f"保留中の下書きから計算が変わりました。{hold}"
    if is_approved:
        _require_other_approver(account, terms, approver, entered_before)
    return InvoiceDraft(
        account,
        inputs,
        invoice.with_images(terms.images),
        hold=hold,
        approved=is_approved,
        refusal=_problem(inputs, invoice, terms.settings.issuer.corporate),
        sample_notes=terms.sample_notes,
    )


def _reasons(account: BillingAccount, inputs: BillingInputs, invoice: Invoice, terms: Terms) -> list[str]:
    settings, currency, recurring = terms.settings, invoice.currency, recurring_subtotal(invoice)
    percent, lines = settings.approval_percent, _unapproved(account, inputs)
    # An invoice with only one-off lines is not compared.
    previous = account.previous if inputs.parts else None
    rate = inputs.exchange_rate
    is_first = settings.approve_first and account.is_first and bool(inputs.parts)
    reasons = (
        change_reason(invoice.total, recurring, currency, previous, percent),
        yen_reason(recurring, rate.yen_per_unit if rate else None, currency, previous, percent),
        _first_reason(inputs, percent) if is_first else None,
        one_off_reason(lines, recurring, currency, percent),
        waiting_reason(lines, settings.second_person),
        unplaced_reason(account.unplaced, terms.identity),
    )
    return [reason for reason in reasons if reason]


def _first_reason(inputs: BillingInputs, percent: Decimal) -> str | None:
    entire = whole_month(inputs)
    invoice = price_signed(entire)
    return first_invoice_reason(
        *(recurring_subtotal(invoice), base_fees(invoice), inputs.currency, percent),
        is_part=entire.parts != inputs.parts,
    )


def _require_no_waiting_rate(account: BillingAccount, inputs: BillingInputs, terms: Terms) -> None:
    waits_on, rate = account.waiting_rate_on, inputs.exchange_rate
    if waits_on and (rate is None or waits_on >= rate.rate_date):
        raise BillingError(
            "RATE_WAITS",
            f"{inputs.currency} の {waits_on} の円換算レートが、{approval_words(terms.settings.second_person)}を待っています。"
            "ボードの「契約の変更」で確かめ、承認するか取り下げてから、この DAG を同じ業務日で実行してください",
        )


def _unapproved(account: BillingAccount, inputs: BillingInputs) -> list[OneOffLine]:
    """The unapproved one-off lines: entered ones, and carried differences.

    ``change_reason`` compares no one-off line. Without their limit, a carried difference of any size would be billed.
    """
    return [
        OneOffLine(
            line.charged_on,
            line.description,
            round_to_minor_unit(
                EXACT.multiply(line.quantity, line.unit_amount), line.currency, inputs.rounding
            ),
            row["entered_by"],
            row["waits"],
        )
        for line, row in zip(inputs.extra_charges, account.extra_charges, strict=True)
        if row["approved_by"] is None
    ]


def _require_other_approver(
    account: BillingAccount, terms: Terms, approver: str, entered_before: datetime | None
) -> None:
    for row in account.extra_charges:
        if not row["waits"] or row["approved_by"] is not None:
            continue
        entry = WaitingEntry(
            "line",
            f"{row['charged_on']} の個別明細「{row['description']}」",
            [row["entered_by"]],
            datetime.fromisoformat(row["entered_at"]),
        )
        if error := approval_refusal(entry, approver, terms.settings.second_person, entered_before):
            raise error


def save_drafts(
    connection: psycopg.Connection,
    period: Period,
    drafts: Sequence[InvoiceDraft],
    execution_id: str,
    *,
    again_reason: str | None,
) -> dict[str, str]:
    """Save drafts. Returns invoice ids by tenant, without tenants whose month another run has finalised.

    ``again_reason``: why the month is billed again after a void or a full credit; None: it is not, or a draft has the reason.
    """
    if not drafts:
        return {}
    rows = _SQL.execute(
        connection,
        "save_drafts",
        period_start=period.start,
        period_end=period.end,
        execution_id=execution_id,
        again_reason=again_reason,
        # One JSON value, because quoting these texts as array elements takes longer than the pricing.
        drafts=Jsonb([_draft_row(draft) for draft in drafts], dumps=to_json),
    )
    return dict(rows.fetchall())


def _draft_row(draft: InvoiceDraft) -> dict[str, Any]:
    inputs = draft.inputs.frozen()
    return {
        "tenant_id": draft.account.tenant_id,
        "currency": draft.invoice.currency,
        "total": str(draft.invoice.total),
        "content": draft.invoice.model_dump(mode="json"),
        "inputs": inputs,
        "input_hash": digest_of(canonical_json(inputs)),
        "hold_reason": draft.hold,
    }


def renew_hold_reasons(
    connection: psycopg.Connection,
    period: Period,
    terms: Terms,
    tenant_ids: Collection[str],
    *,
    allow_incomplete: bool,
) -> None:
    """Renew the hold reasons of these tenants' drafts after some of their lines were approved. Skips drafts with other inputs."""
    for account in load_accounts(connection, period):
        if account.tenant_id not in tenant_ids:
            continue
        draft = make_draft(
            account, period, terms, allow_incomplete=allow_incomplete, approved=(), approver=""
        )
        if draft:
            _SQL.execute(
                connection,
                "renew_hold_reason",
                tenant_id=account.tenant_id,
                period_start=period.start,
                input_hash=draft.inputs.digest(),
                hold_reason=draft.hold,
            )


def _problem(inputs: BillingInputs, invoice: Invoice, corporate_issuer: bool) -> BillingError | None:
    """Why the invoice cannot be finalised. An invoice with a total of 0 is not sent and need not be qualified.

    Without an exchange rate, an invoice in another currency cannot be booked, even without tax.
    """
    if invoice.total == 0:
        return None
    try:
        if inputs.currency != YEN and inputs.exchange_rate is None:
            raise no_exchange_rate(inputs)
        require_issuable(invoice, corporate_issuer=corporate_issuer)
    except BillingError as error:
        return error
    return None
