"""The life of invoices in the database: draft, finalized, sent, void; and credits.

Everything runs inside the transaction whose context is the tenants' (``tenant_transaction``). The database keeps what must never
fail: one live invoice per tenant and month (a unique key), gapless numbers given at finalising, finalised invoices that never
change (a trigger). Two runs at once therefore end with one set of invoices, whichever comes first.

With a sample of a price list or an issuer there are drafts and nothing else: no number, no row for the host, no letter, and what is
finalised stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.billing.accounts import BillingAccount, LiveInvoice, inputs_of, load_accounts
from include.billing.approval import hold_reason
from include.billing.documents import require_printable
from include.billing.errors import BillingError
from include.billing.invoice import Invoice, InvoiceKind
from include.billing.periods import Period
from include.billing.pricing import BillingInputs, price
from include.billing.qualified_invoice import require_qualified
from include.billing.terms import Terms
from include.database import read_sql
from include.messaging.notices import sending_time

_HERE = Path(__file__).parent


class Settlement(StrEnum):
    """How a tenant's month ended."""

    PRICED = "priced"
    FINALIZED = "finalized"
    ALREADY_FINALIZED = "already finalized"
    NOTHING_TO_PAY = "nothing to pay"
    NOT_BILLABLE = "not billable"
    HELD = "held"
    SAMPLE = "sample"
    FAILED = "failed"


@dataclass(frozen=True)
class Instructions:
    """What an operator may ask for. ``approved`` are codes (or ids) of tenants whose held invoice may be finalised, as it was held.

    ``recalculate`` voids invoices that are finalised, but never paid ones, and issues them anew; ``reason`` says why. ``actor`` is the
    run, or the person, that does it. A run may be retried (``resumable``): what it has issued it does not issue again.
    """

    issued_on: date
    actor: str
    resumable: bool = False
    allow_incomplete: bool = False
    recalculate: bool = False
    reason: str = ""
    approved: Collection[str] = ()


@dataclass(frozen=True)
class TenantSettlement:
    """One tenant's month: how it ended, the invoice where there is one, and the reason where a person should know it."""

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


@dataclass(frozen=True)
class StoredInvoice:
    """An invoice as it stands in the database."""

    invoice_id: str
    tenant_id: str
    status: str
    is_paid: bool
    credited: bool
    input_hash: str
    invoice: Invoice
    inputs: BillingInputs


@dataclass
class _Draft:
    account: BillingAccount
    inputs: BillingInputs
    invoice: Invoice
    hold: str | None
    approved: bool
    refusal: BillingError | None
    sample_notes: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps it from being finalised by itself."""
        return tuple(str(problem) for problem in (self.hold, self.refusal) if problem)


def price_tenants(
    connection: psycopg.Connection, period: Period, terms: Terms, instructions: Instructions
) -> list[TenantSettlement]:
    """Price the month of the transaction's tenants and write nothing."""
    priced = []
    for account in load_accounts(connection, period):
        outcome = _draft(account, period, terms, instructions)
        if isinstance(outcome, _Draft):
            outcome = TenantSettlement(
                account.tenant_id,
                Settlement.PRICED,
                outcome.invoice,
                outcome.inputs,
                total=outcome.invoice.total,
                currency=outcome.invoice.currency,
                notes=(*outcome.problems, *_already_issued(account), *outcome.sample_notes),
            )
        priced.append(outcome)
    return priced


def settle_tenants(
    connection: psycopg.Connection, period: Period, terms: Terms, instructions: Instructions
) -> list[TenantSettlement]:
    """Price, save and finalise the month of the transaction's tenants; one settlement per tenant, in the order of their ids.

    A finalised month is left as it is. A failure of one tenant is its settlement, and the others go on.
    :raises BillingError: a recalculation is asked for without a reason.
    """
    if instructions.recalculate:
        _require_reason(instructions.reason)
    settlements: dict[str, TenantSettlement] = {}
    drafts: list[_Draft] = []
    obsolete: list[str] = []
    for account in load_accounts(connection, period):
        outcome = _already_settled(account, terms, instructions) or _draft(
            account, period, terms, instructions
        )
        issued = account.issued
        if isinstance(outcome, _Draft) and issued:
            # What was issued stands until something better can be issued in its place.
            outcome = _obstacle(outcome, period) or outcome
        if isinstance(outcome, _Draft):
            drafts.append(outcome)
            continue
        if outcome.settlement is Settlement.NOT_BILLABLE and account.live:
            if issued:
                outcome = _failed(account.tenant_id, _not_billable_any_more(issued))
            else:
                obsolete.append(account.live.invoice_id)
        settlements[account.tenant_id] = outcome

    replaced = [draft.account.issued.invoice_id for draft in drafts if draft.account.issued]
    voided = _void(connection, replaced, instructions.reason, instructions.actor)
    for draft in [draft for draft in drafts if draft.account.issued]:
        assert draft.account.issued is not None
        if draft.account.issued.invoice_id not in voided:
            drafts.remove(draft)
            error = _not_voided(connection, draft.account.issued.number)
            settlements[draft.account.tenant_id] = _failed(draft.account.tenant_id, error)
    _void(connection, obsolete, "請求対象の契約がなくなったため", instructions.actor)

    invoice_ids = _save_drafts(connection, period, drafts, instructions.actor)
    ready = [
        draft
        for draft in drafts
        if draft.account.tenant_id in invoice_ids and _obstacle(draft, period) is None
    ]
    numbers = _finalize(
        connection,
        terms,
        [invoice_ids[draft.account.tenant_id] for draft in ready],
        issued_on=instructions.issued_on,
        due_on=due_date(period, instructions.issued_on, terms.settings.due_months),
        approved_by={
            invoice_ids[draft.account.tenant_id]: instructions.actor for draft in ready if draft.hold
        },
    )
    for draft in drafts:
        settlements[draft.account.tenant_id] = _settlement_of(
            draft, period, invoice_ids.get(draft.account.tenant_id), numbers
        )
    _write_host_rows(connection, [*voided, *obsolete, *(() if terms.samples else invoice_ids.values())])
    _queue_notifications(
        connection,
        [
            (invoice_ids[draft.account.tenant_id], settlements[draft.account.tenant_id])
            for draft in ready
            if settlements[draft.account.tenant_id].settlement is Settlement.FINALIZED
        ],
        instructions.issued_on,
    )
    return [settlements[tenant_id] for tenant_id in sorted(settlements)]


def find_invoice(connection: psycopg.Connection, number: str) -> StoredInvoice:
    """The invoice or credit of that number. :raises BillingError: the transaction's tenants have none."""
    stored = _find(connection, number=number)
    if stored is None:
        raise BillingError("NO_SUCH_INVOICE", f"請求書 {number} は存在しません")
    return stored


def invoice_of_month(connection: psycopg.Connection, tenant_id: str, period: Period) -> StoredInvoice:
    """The live invoice of the tenant's month, a draft too. :raises BillingError: there is none."""
    stored = _find(connection, tenant_id=tenant_id, period_start=period.start)
    if stored is None:
        raise BillingError("NO_SUCH_INVOICE", f"{period.start:%Y-%m} の有効な請求書がありません")
    return stored


def _find(connection: psycopg.Connection, **key: object) -> StoredInvoice | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            read_sql(_HERE, "find_invoice"),
            {"number": None, "tenant_id": None, "period_start": None} | key,
        ).fetchone()
    if row is None:
        return None
    return StoredInvoice(
        invoice_id=row["invoice_id"],
        tenant_id=row["tenant_id"],
        status=row["status"],
        is_paid=row["is_paid"],
        credited=row["credited"],
        input_hash=row["input_hash"],
        invoice=stored_document(row),
        inputs=BillingInputs.model_validate(row["inputs"]),
    )


def stored_document(row: dict[str, Any]) -> Invoice:
    """The document of an invoice row: its content, with what finalising gave it."""
    return Invoice.model_validate(row["content"]).finalized(row["number"], row["issued_on"], row["due_on"])


def void_invoice(
    connection: psycopg.Connection, terms: Terms, stored: StoredInvoice, reason: str, *, actor: str
) -> None:
    """Take an invoice back that nobody has paid: it keeps its number, and the month may be billed anew. A draft is dropped likewise.

    :raises BillingError: it is paid, credited, a credit, void already, or no reason is given; or it is finalised, and the terms are a
        sample.
    """
    if stored.status != "draft":
        terms.require_own()
    _require_reason(reason)
    _require_untouched(stored)
    if stored.invoice.kind is InvoiceKind.CREDIT:
        raise BillingError("IS_A_CREDIT", f"返還請求書 {stored.invoice.number} は取り消せません")
    if stored.invoice_id not in _void(connection, [stored.invoice_id], reason, actor):
        raise _not_voided(connection, stored.invoice.number)
    _write_host_rows(connection, [stored.invoice_id])


def credit_invoice(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    reason: str,
    *,
    issued_on: date,
    actor: str,
) -> Invoice:
    """Issue the credit (適格返還請求書) that exactly cancels an invoice, paid or not; the month may then be billed anew.

    :raises BillingError: it is a draft or a credit itself, credited or void already, or no reason is given; or the terms are a sample.
    """
    terms.require_own()
    _require_reason(reason)
    _require_untouched(stored)
    if stored.invoice.kind is InvoiceKind.CREDIT or stored.invoice.number is None:
        raise BillingError(
            "NOT_CREDITABLE",
            f"{_called(stored.invoice.number)}は返還できません。返還請求書は番号のある請求書にだけ発行できます",
        )
    credit = stored.invoice.credited()
    row = connection.execute(
        read_sql(_HERE, "insert_credit"),
        {
            "invoice_id": stored.invoice_id,
            "content": Jsonb(credit.model_dump(mode="json")),
            "reason": reason,
            "execution_id": actor,
        },
    ).fetchone()
    assert row is not None
    numbers = _finalize(connection, terms, [row[0]], issued_on=issued_on)
    connection.execute(read_sql(_HERE, "mark_credited"), {"invoice_id": stored.invoice_id})
    _withdraw_notifications(connection, [stored.invoice_id])
    _write_host_rows(connection, [row[0]])
    return credit.finalized(numbers[row[0]], issued_on, None)


def already_done(
    connection: psycopg.Connection, tenant_id: str, period: Period, actor: str, *, credit: bool
) -> list[str | None]:
    """What this actor has taken back, or the credit that it has issued, for the tenant's month: a retry does nothing twice.

    One number, None where it was a draft; the list is empty if there is nothing.
    """
    rows = connection.execute(
        read_sql(_HERE, "find_by_execution"),
        {
            "tenant_id": tenant_id,
            "period_start": period.start,
            "execution_id": actor,
            "kind": "credit" if credit else "invoice",
        },
    )
    return [number for (number,) in rows]


def due_date(period: Period, issued_on: date, months: int) -> date:
    """The end of the month that is ``months`` after the billing month, but never before the month of issue ends."""
    month = period
    for _ in range(months):
        month = Period.month_of(month.next_day)
    return max(month.end, Period.month_of(issued_on).end)


def _already_issued(account: BillingAccount) -> tuple[str, ...]:
    if account.issued is None:
        return ()
    return (f"{_called(account.issued.number)}は確定済みで、この計算では変わりません",)


def _already_settled(
    account: BillingAccount, terms: Terms, instructions: Instructions
) -> TenantSettlement | None:
    issued = account.issued
    if issued is None:
        return None
    if instructions.resumable and issued.execution_id == instructions.actor:
        # This run's own work, before it was retried or cleared.
        return TenantSettlement(
            account.tenant_id,
            Settlement.FINALIZED if issued.number else Settlement.NOTHING_TO_PAY,
            number=issued.number,
            total=issued.total,
            currency=issued.currency,
        )
    if not instructions.recalculate:
        return TenantSettlement(
            account.tenant_id,
            Settlement.ALREADY_FINALIZED,
            number=issued.number,
            notes=(
                f"{_called(issued.number)}は確定済みのため、そのままです（計算し直すには「取消して再発行」）",
            ),
        )
    try:
        terms.require_own()
    except BillingError as error:
        return _failed(account.tenant_id, error)
    if issued.is_paid:
        return _failed(account.tenant_id, _paid_error(issued.number))
    return None


def _draft(
    account: BillingAccount, period: Period, terms: Terms, instructions: Instructions
) -> _Draft | TenantSettlement:
    """The tenant's draft, or why there is none."""
    try:
        inputs = inputs_of(
            account,
            period,
            terms.price_list.version_for(period.start),
            terms.settings,
            allow_incomplete=instructions.allow_incomplete,
        )
        if inputs is None:
            return TenantSettlement(
                account.tenant_id,
                Settlement.NOT_BILLABLE,
                notes=("請求対象の契約がありません（無料・試用・契約期間外）",),
            )
        invoice = price(inputs)
    except BillingError as error:
        return _failed(account.tenant_id, error)
    hold = hold_reason(invoice.total, invoice.currency, account.previous, terms.settings.approval_percent)
    named = {account.tenant_id, account.tenant_code}.intersection(instructions.approved)
    seen = account.live.input_hash if account.live and account.live.status == "draft" else None
    if hold and named and seen not in (None, inputs.digest()):
        # Approved was the draft that somebody looked at, and nothing else.
        named, hold = set(), f"保留中の下書きから計算が変わりました。{hold}"
    return _Draft(
        account,
        inputs,
        invoice,
        hold=hold,
        approved=bool(named),
        refusal=_refusal(invoice, terms.settings.issuer.corporate),
        sample_notes=terms.sample_notes,
    )


def _refusal(invoice: Invoice, corporate_issuer: bool) -> BillingError | None:
    """Why the invoice cannot be finalised; one over nothing is not sent, and so need not be qualified."""
    if invoice.total == 0:
        return None
    try:
        require_qualified(invoice, corporate_issuer=corporate_issuer)
        require_printable(invoice)
    except BillingError as error:
        return error
    return None


def _obstacle(draft: _Draft, period: Period) -> TenantSettlement | None:
    """Why the draft cannot be finalised now: it is a sample, it is refused, or it waits for an approval."""
    account = draft.account
    if draft.sample_notes:
        return TenantSettlement(
            account.tenant_id,
            Settlement.SAMPLE,
            draft.invoice,
            draft.inputs,
            total=draft.invoice.total,
            currency=draft.invoice.currency,
            notes=(*draft.problems, *draft.sample_notes),
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
        code="APPROVAL_NEEDED",
        reason=f"{draft.hold}。内容を確認し、正しければ Trigger で業務日 {period.start}、テナントコード '{account.tenant_code}'、"
        f"「請求額の承認」（approve）'{account.tenant_code}'"
        + ("、「取消して再発行」" if account.issued else "")
        + " を指定してください。",
    )


def _settlement_of(
    draft: _Draft, period: Period, invoice_id: str | None, numbers: Mapping[str, str | None]
) -> TenantSettlement:
    tenant_id = draft.account.tenant_id
    if invoice_id is None:
        # Another run finalised the month between our reading and our writing.
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
    )


def _save_drafts(
    connection: psycopg.Connection, period: Period, drafts: Sequence[_Draft], execution_id: str
) -> dict[str, str]:
    """Invoice ids by tenant; a tenant whose month somebody else has finalised meanwhile is not among them."""
    if not drafts:
        return {}
    rows = connection.execute(
        read_sql(_HERE, "save_drafts"),
        {
            "period_start": period.start,
            "period_end": period.end,
            "execution_id": execution_id,
            # One JSON value: quoting these texts as elements of arrays takes longer than all the pricing.
            "drafts": Jsonb(
                [
                    {
                        "tenant_id": draft.account.tenant_id,
                        "currency": draft.invoice.currency,
                        "total": str(draft.invoice.total),
                        "content": draft.invoice.model_dump(mode="json"),
                        "inputs": draft.inputs.frozen(),
                        "input_hash": draft.inputs.digest(),
                        "hold_reason": draft.hold,
                    }
                    for draft in drafts
                ]
            ),
        },
    )
    return dict(rows.fetchall())


def _finalize(
    connection: psycopg.Connection,
    terms: Terms,
    invoice_ids: Sequence[str],
    *,
    issued_on: date,
    due_on: date | None = None,
    approved_by: Mapping[str, str] | None = None,
) -> dict[str, str | None]:
    """Numbers by invoice id, given in this order; none for a total of 0. From here on the transaction holds the month's counter.

    :raises BillingError: the terms are a sample, whoever asks.
    """
    if not invoice_ids:
        return {}
    terms.require_own()
    numbers: dict[str, str | None] = {}
    with connection.cursor() as cursor:
        cursor.executemany(
            read_sql(_HERE, "finalize_invoice"),
            [
                {
                    "invoice_id": invoice_id,
                    "issued_on": issued_on,
                    "due_on": due_on,
                    "approved_by": (approved_by or {}).get(invoice_id),
                }
                for invoice_id in invoice_ids
            ],
            returning=True,
        )
        while True:
            numbers.update(cursor.fetchall())
            if not cursor.nextset():
                return numbers


def _void(connection: psycopg.Connection, invoice_ids: Sequence[str], reason: str, actor: str) -> set[str]:
    """Take invoices back; returns those that were: one that is paid, credited or void by now is not."""
    if not invoice_ids:
        return set()
    rows = connection.execute(
        read_sql(_HERE, "void_invoices"),
        {"invoice_ids": list(invoice_ids), "reason": reason, "voided_by": actor},
    )
    voided = {invoice_id for (invoice_id,) in rows}
    _withdraw_notifications(connection, voided)
    return voided


def _withdraw_notifications(connection: psycopg.Connection, invoice_ids: Iterable[str]) -> None:
    connection.execute(
        read_sql(_HERE, "withdraw_notifications"),
        {"notification_ids": [_notification_id(invoice_id) for invoice_id in invoice_ids]},
    )


def _write_host_rows(connection: psycopg.Connection, invoice_ids: Iterable[str]) -> None:
    connection.execute(read_sql(_HERE, "write_host_billing"), {"invoice_ids": list(invoice_ids)})


def _queue_notifications(
    connection: psycopg.Connection,
    finalized: Sequence[tuple[str, TenantSettlement]],
    issued_on: date,
) -> None:
    letters = [
        (
            _notification_id(invoice_id),
            settlement.tenant_id,
            settlement.invoice.recipient.email,
            *_letter(settlement),
        )
        for invoice_id, settlement in finalized
        if settlement.invoice and settlement.invoice.recipient.email
    ]
    if not letters:
        return
    due = sending_time(issued_on).astimezone(UTC).replace(tzinfo=None)
    columns = [list(column) for column in zip(*letters, strict=True)]
    names = ("notification_ids", "tenant_ids", "addresses", "subjects", "bodies")
    connection.execute(
        read_sql(_HERE, "queue_notifications"), dict(zip(names, columns, strict=True)) | {"scheduled_at": due}
    )


def _notification_id(invoice_id: str) -> str:
    return f"invoice-{invoice_id}"


def _letter(settlement: TenantSettlement) -> tuple[str, str]:
    """Subject and text of the notification to the tenant's billing contact."""
    invoice = settlement.invoice
    assert invoice is not None
    subject = f"【{invoice.issuer.name}】{invoice.period_start:%Y年%-m月}分 ご請求書 {settlement.number}"
    body = (
        f"{invoice.recipient.name} 御中\n\n"
        f"{invoice.period_start:%Y年%-m月}分のご請求書を発行しました。\n\n"
        f"請求書番号: {settlement.number}\n"
        f"ご請求金額（税込）: {invoice.total:,f} {invoice.currency}\n\n"
        "請求書は管理画面の「ご利用料金」からご確認いただけます。\n\n"
        f"{invoice.issuer.name} {invoice.issuer.contact}\n{invoice.issuer.email} / {invoice.issuer.phone}\n"
    )
    return subject, body


def _failed(tenant_id: str, error: BillingError) -> TenantSettlement:
    return TenantSettlement(tenant_id, Settlement.FAILED, reason=str(error), code=error.code)


def _not_billable_any_more(issued: LiveInvoice) -> BillingError:
    return BillingError(
        "NOT_BILLABLE_ANY_MORE",
        f"請求対象の契約がありませんが、{_called(issued.number)}が確定済みです。取消（void）か返還請求書（credit）で訂正してください",
    )


def _paid_error(number: str | None) -> BillingError:
    return BillingError(
        "ALREADY_PAID",
        f"{_called(number)}は入金済みのため取り消せません。訂正するには返還請求書（credit）を発行してください",
    )


def _not_voided(connection: psycopg.Connection, number: str | None) -> BillingError:
    """Why an invoice that was read as alive has not been voided: it has been paid or taken back since."""
    now = _find(connection, number=number) if number else None
    if now and now.is_paid and now.status != "void" and not now.credited:
        return _paid_error(number)
    return BillingError(
        "ALREADY_TAKEN_BACK", f"{_called(number)}は、同時に動いた別の実行がすでに取り消したか返還しました"
    )


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise BillingError("NO_REASON", "理由が必要です。「理由」（reason）に書いてください")


def _require_untouched(stored: StoredInvoice) -> None:
    if stored.status == "void" or stored.credited:
        state = "取消済み" if stored.status == "void" else "返還済み"
        raise BillingError("ALREADY_TAKEN_BACK", f"{_called(stored.invoice.number)}は{state}です")


def _called(number: str | None) -> str:
    return f"請求書 {number} " if number else "番号のない請求（下書きか請求額 0）"
