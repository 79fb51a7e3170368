"""Operations on payments, and the stop list of the reminders.

Payments and refunds are recorded, reversed, moved to another invoice, or imported from a file.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.overdue_letters import allow_reminders, stop_reminders
from include.skillreport.billing.ledger.payments import (
    all_paid_in_application,
    find_payables,
    find_recorded,
    former_invoiced_tenants,
    move_payment,
    overpaid_invoices,
    record_payments,
    record_refund,
    refunded_invoices,
    reverse_payment,
    vanished_payers,
)
from include.skillreport.billing.ledger.stored_invoice import invoice_of_month
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.payment import Payment, RecordedPayment
from include.skillreport.billing.receivables.payment_file import FileRow, parse_payments, require_recordable
from include.skillreport.billing.service import Billing
from include.skillreport.billing.state import invoice_label
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Outcome, Request, UnitFailure, UnitResult, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.core.form import Operation
from include.skillreport.operations.operate_invoices import form
from include.skillreport.operations.operate_invoices.fields import PAYMENTS


def former_payers(request: Request) -> set[str]:
    """The ids of tenants that are no longer active and have an invoice of the month."""
    return set(former_invoiced_tenants(request.platform, Period.month_of(request.business_date)))


def vanished(request: Request) -> list[Tenant]:
    """The tenants that the application has deleted and that may still pay an invoice."""
    return [Tenant(*each) for each in vanished_payers(request.platform)]


def record(billing: Billing, work: Work, entered: form.RecordPayment, tenant_id: str) -> UnitResult:
    """Record a payment of the month's invoice."""
    run = work.run
    invoice = invoice_of_month(work.connection, tenant_id, Period.month_of(run.business_date)).invoice
    if invoice.number is None:
        raise BillingError(
            "NOT_PAYABLE",
            f"{invoice_label(None)}には入金を記録できません。確定した請求書の月を指定してください",
        )
    (recorded,) = record_payments(
        work.connection,
        [_payment(entered, invoice.number, invoice.currency, "payment")],
        source="operation",
        today=run.run_date,
        entered_by=run.person,
        execution_id=run.execution_id,
        application_pays=_application_pays(billing),
    )
    return _result(tenant_id, "paid", [recorded])


def refund(billing: Billing, work: Work, entered: form.RecordRefund, tenant_id: str) -> UnitResult:
    """Record a refund of the month's overpaid invoice, which may be credited."""
    run = work.run
    period = Period.month_of(run.business_date)
    numbers = (
        [entered.paid_invoice]
        if entered.paid_invoice
        # A second attempt finds the refund, although its invoice may not be overpaid any more.
        else refunded_invoices(work.connection, tenant_id, period, entered.paid_reference)
        or overpaid_invoices(work.connection, tenant_id, period)
    )
    if not numbers:
        raise BillingError(
            "NOT_OVERPAID", f"{period.start:%Y-%m} の請求書に過入金はありません。対象月を確認してください"
        )
    if len(numbers) > 1:
        raise BillingError(
            "SEVERAL_INVOICES",
            f"過入金は請求書 {'、'.join(numbers)} にあります。「入金のある請求書」（paid_invoice）に番号を指定してください",
        )
    stored = billing.invoice(work.connection, numbers[0])
    if stored.tenant_id != tenant_id or stored.invoice.period_start != period.start:
        raise BillingError(
            "NO_SUCH_INVOICE",
            f"請求書 {numbers[0]} は、このテナントの {period.start:%Y-%m} の請求書ではありません。番号を直してください",
        )
    recorded = record_refund(
        work.connection,
        _payment(entered, numbers[0], stored.invoice.currency, "refund"),
        entered.reason,
        today=run.run_date,
        entered_by=run.person,
        execution_id=run.execution_id,
    )
    return _result(tenant_id, "refunded", [recorded])


def move(billing: Billing, work: Work, entered: form.MovePayment, tenant_id: str) -> UnitResult:
    """Move the payment with the reference from the month's invoice to another invoice of the tenant."""
    run = work.run
    source, target = move_payment(
        work.connection,
        tenant_id,
        Period.month_of(run.business_date),
        entered.paid_reference,
        entered.paid_to,
        entered.reason,
        number=entered.paid_invoice or None,
        moved_by=run.person,
        execution_id=run.execution_id,
        application_pays=_application_pays(billing),
    )
    notes = [f"請求書 {source.number} の入金を請求書 {target.number} へ付け替えました"]
    if source.open_amount > 0:
        notes.append(f"請求書 {source.number} の未入金は {source.open_amount:,f} {source.currency} です")
    elif source.remark:
        notes.append(source.remark)
    if target.remark:
        notes.append(target.remark)
    return UnitResult(
        tenant_id, {"moved_from": source.number, "moved_to": target.number}, 1, notes=tuple(notes)
    )


def reverse(_: Billing, work: Work, entered: form.ReversePayment, tenant_id: str) -> UnitResult:
    """Reverse the payment or the refund of the month with the reference."""
    run = work.run
    taken_back = reverse_payment(
        work.connection,
        tenant_id,
        Period.month_of(run.business_date),
        entered.paid_reference,
        entered.reason,
        number=entered.paid_invoice or None,
        reversed_by=run.person,
        execution_id=run.execution_id,
    )
    state = "過入金" if taken_back.open_amount < 0 else "未入金"
    note = (
        f"請求書 {taken_back.number} の{taken_back.noun}を取り消しました。"
        f"{state}は {abs(taken_back.open_amount):,f} {taken_back.currency} です"
    )
    return UnitResult(tenant_id, {"reversed": [taken_back.number]}, 1, notes=(note,))


def stop(_: Billing, work: Work, entered: form.StopReminders, tenant_id: str) -> UnitResult:
    """Put the month's invoice, or the tenant, on the stop list of the reminders."""
    invoice_id, name = _stopped(work, entered, tenant_id)
    is_new = stop_reminders(work.connection, tenant_id, invoice_id, entered.reason, work.run.person)
    notes = () if is_new else (f"{name}の督促はすでに止めています。理由は前のままです",)
    return UnitResult(tenant_id, {"reminders_stopped": name}, int(is_new), notes=notes)


def allow(_: Billing, work: Work, entered: form.AllowReminders, tenant_id: str) -> UnitResult:
    """Take the month's invoice, or the tenant, off the stop list of the reminders."""
    invoice_id, name = _stopped(work, entered, tenant_id)
    was_stopped = allow_reminders(work.connection, tenant_id, invoice_id)
    notes = (
        () if was_stopped else (f"{name}の督促は止めていません。対象月と「すべての月」を確認してください",)
    )
    return UnitResult(tenant_id, {"reminders_allowed": name}, int(was_stopped), notes=notes)


def tenants_of_file(billing: Billing, request: Request, entered: Operation) -> list[str]:
    """The ids of the tenants of the invoices in the payment file. The whole file is checked first.

    :raises ParameterError: the file cannot be read, or a line cannot be recorded.
    """
    assert isinstance(entered, form.ImportPayments)
    rows, _ = _read(request.files, entered.payment_file)
    payments = [row.payment for row in rows]
    numbers = {payment.number for payment in payments}
    payables = find_payables(request.platform, numbers)
    recorded = find_recorded(request.platform, payments)
    assert request.run_date is not None, "a run that is opened has its date"
    paid = all_paid_in_application(request.platform, numbers) if _application_pays(billing) else set()
    require_recordable(rows, entered.payment_file, payables, recorded, request.run_date, paid)
    return sorted({payables[payment.number].tenant_id for payment in payments})


def digest_of(files: ObjectStore, entered: form.ImportPayments) -> str:
    """The SHA-256 of the file's content, so that a shard detects changed content."""
    return _read(files, entered.payment_file)[1]


def import_file(billing: Billing, work: Work, entered: form.ImportPayments) -> list[Outcome]:
    """Record the file's payments of these tenants. If one payment of a tenant fails, no payment of this tenant is recorded.

    :raises ParameterError: the file has changed since the run was opened.
    """
    name = entered.payment_file
    rows, digest = _read(work.files, name)
    if digest != work.run.options["payment_digest"]:
        raise ParameterError(
            f"入金ファイル '{name}' が、この実行を始めたあとに変わりました。操作「{entered.title}」をもう一度実行してください。"
        )
    # Row-level security shows the invoices of these tenants only.
    payables = find_payables(work.connection, {row.payment.number for row in rows})
    of_tenant: dict[str, list[Payment]] = {tenant_id: [] for tenant_id in work.tenant_ids}
    for row in rows:
        payable = payables.get(row.payment.number)
        if payable:
            of_tenant[payable.tenant_id].append(row.payment)
    return [_import_tenant(billing, work, tenant_id, each) for tenant_id, each in of_tenant.items()]


def _import_tenant(billing: Billing, work: Work, tenant_id: str, payments: list[Payment]) -> Outcome:
    try:
        with work.connection.transaction():
            recorded = record_payments(
                work.connection,
                payments,
                source="file",
                today=work.run.run_date,
                entered_by=work.run.person,
                execution_id=work.run.execution_id,
                application_pays=_application_pays(billing),
            )
    except BillingError as error:
        return UnitFailure(tenant_id, error.code, str(error), recoverable=False)
    return _result(tenant_id, "paid", recorded)


def _application_pays(billing: Billing) -> bool:
    return billing.terms.settings.payment_source == "host"


def _result(tenant_id: str, verb: str, recorded: list[RecordedPayment]) -> UnitResult:
    new = sum(each.is_new for each in recorded)
    return UnitResult(
        tenant_id,
        {verb: list(dict.fromkeys(each.number for each in recorded)), "payments": new},
        new,
        notes=tuple(dict.fromkeys(each.remark for each in recorded if each.remark)),
    )


def _payment(
    entered: form.RecordPayment, number: str, currency: str, kind: Literal["payment", "refund"]
) -> Payment:
    """The entered payment or refund of an invoice."""
    return Payment(
        number,
        entered.paid_on,
        entered.paid_amount,
        currency,
        entered.paid_method,
        entered.paid_reference,
        kind,
    )


def _stopped(work: Work, entered: form.ReminderOperation, tenant_id: str) -> tuple[str | None, str]:
    """The id of the invoice, or None for the whole tenant, and its name in messages."""
    if entered.every_month:
        return None, "テナントのすべての請求書"
    stored = invoice_of_month(work.connection, tenant_id, Period.month_of(work.run.business_date))
    return stored.invoice_id, invoice_label(stored.invoice.number)


def _read(store: ObjectStore, name: str) -> tuple[list[FileRow], str]:
    """The payments of the file, and the SHA-256 of its content (hex)."""
    key = f"{PAYMENTS}/{name}"
    try:
        content = store.read(key)
    except (FileNotFoundError, IsADirectoryError):
        raise ParameterError(
            f"入金ファイル '{name}' が保存先の {PAYMENTS}/ にありません。{store.location(key)} に置いてください。"
        ) from None
    return parse_payments(content, name), hashlib.sha256(content).hexdigest()
