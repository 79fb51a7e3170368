"""Operations on payments, and the stop list of the reminders.

Payments and refunds are recorded, reversed, moved to another invoice, or imported from a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.overdue_letters import allow_reminders, stop_reminders
from include.skillreport.billing.ledger.payments import (
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
from include.skillreport.billing.ledger.stored_invoice import invoice_label, invoice_of_month
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.payment import Payment, RecordedPayment
from include.skillreport.billing.receivables.payment_file import FileRow, parse_payments, require_recordable
from include.skillreport.billing.service import Billing
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Outcome, Request, UnitFailure, UnitResult, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.operations.form_values import day_of, number_of, text_of
from include.skillreport.operations.forms import INVOICES, Operation

IMPORT = "import_payments"

# Operations that also work on invoices of tenants that have left.
PAYMENT_OPERATIONS = (
    "record_payment",
    "reverse_payment",
    "move_payment",
    "record_refund",
    "stop_reminders",
    "allow_reminders",
)

# Operations on the payments of one invoice, which belongs to one tenant.
_OF_ONE_TENANT = ("record_payment", "move_payment", "record_refund")

# The folder of the payment files in the object store.
_FOLDER = "payments"


def payment_options(request: Request, operation: Operation) -> dict[str, Any]:
    """The fields of an operation on payments as JSON values.

    :raises ParameterError: there is not exactly one tenant, or a value cannot be read.
    """
    values = request.values
    if operation.name in _OF_ONE_TENANT and len(request.codes) != 1:
        raise ParameterError(
            f"操作「{operation.title}」では「テナントコード」（tenants）に 1 件だけ指定してください。入金は請求書 1 件ずつ記録します。"
        )
    options: dict[str, Any] = {
        field: text_of(values, field) for field in ("paid_reference", "paid_to", "paid_invoice")
    }
    if operation.name in ("record_payment", "record_refund"):
        options |= {
            "paid_on": day_of(values, "paid_on").isoformat(),
            "paid_amount": f"{number_of(values, 'paid_amount'):f}",
            "paid_method": text_of(values, "paid_method"),
        }
    return options


def former_payers(request: Request) -> Collection[str]:
    """The ids of tenants that are no longer active and have an invoice of the month."""
    return former_invoiced_tenants(request.platform, Period.month_of(request.business_date))


def vanished(request: Request) -> list[Tenant]:
    """The tenants that the application has deleted and that may still pay an invoice."""
    return [Tenant(*each) for each in vanished_payers(request.platform)]


def record(work: Work, tenant_id: str, person: str) -> UnitResult:
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
        [_entered(work, invoice.number, invoice.currency, "payment")],
        source="operation",
        today=run.run_date,
        entered_by=person,
        execution_id=run.execution_id,
    )
    return _result(tenant_id, "paid", [recorded])


def refund(billing: Billing, work: Work, tenant_id: str, person: str) -> UnitResult:
    """Record a refund of the month's overpaid invoice, which may be credited."""
    run = work.run
    period, reference = Period.month_of(run.business_date), run.options["paid_reference"]
    numbers = (
        [run.options["paid_invoice"]]
        if run.options["paid_invoice"]
        # A second attempt finds the refund, although its invoice may not be overpaid any more.
        else refunded_invoices(work.connection, tenant_id, period, reference)
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
        _entered(work, numbers[0], stored.invoice.currency, "refund"),
        run.options["reason"],
        today=run.run_date,
        entered_by=person,
        execution_id=run.execution_id,
    )
    return _result(tenant_id, "refunded", [recorded])


def move(work: Work, tenant_id: str, person: str) -> UnitResult:
    """Move the payment with the reference from the month's invoice to another invoice of the tenant."""
    run = work.run
    source, target = move_payment(
        work.connection,
        tenant_id,
        Period.month_of(run.business_date),
        run.options["paid_reference"],
        run.options["paid_to"],
        run.options["reason"],
        number=run.options["paid_invoice"] or None,
        moved_by=person,
        execution_id=run.execution_id,
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


def reverse(work: Work, tenant_id: str, person: str) -> UnitResult:
    """Reverse the payment or the refund of the month with the reference."""
    run = work.run
    taken_back = reverse_payment(
        work.connection,
        tenant_id,
        Period.month_of(run.business_date),
        run.options["paid_reference"],
        run.options["reason"],
        number=run.options["paid_invoice"] or None,
        reversed_by=person,
        execution_id=run.execution_id,
    )
    state = "過入金" if taken_back.open_amount < 0 else "未入金"
    note = (
        f"請求書 {taken_back.number} の{taken_back.noun}を取り消しました。"
        f"{state}は {abs(taken_back.open_amount):,f} {taken_back.currency} です"
    )
    return UnitResult(tenant_id, {"reversed": [taken_back.number]}, 1, notes=(note,))


def _entered(work: Work, number: str, currency: str, kind: Literal["payment", "refund"]) -> Payment:
    """The payment or refund of the form."""
    options = work.run.options
    return Payment(
        number,
        date.fromisoformat(options["paid_on"]),
        Decimal(options["paid_amount"]),
        currency,
        options["paid_method"],
        options["paid_reference"],
        kind,
    )


def stop(work: Work, tenant_id: str, person: str) -> UnitResult:
    """Put the month's invoice, or the tenant, on the stop list of the reminders."""
    invoice_id, name = _stopped(work, tenant_id)
    is_new = stop_reminders(work.connection, tenant_id, invoice_id, work.run.options["reason"], person)
    notes = () if is_new else (f"{name}の督促はすでに止めています。理由は前のままです",)
    return UnitResult(tenant_id, {"reminders_stopped": name}, int(is_new), notes=notes)


def allow(work: Work, tenant_id: str, _: str) -> UnitResult:
    """Take the month's invoice, or the tenant, off the stop list of the reminders."""
    invoice_id, name = _stopped(work, tenant_id)
    was_stopped = allow_reminders(work.connection, tenant_id, invoice_id)
    notes = (
        () if was_stopped else (f"{name}の督促は止めていません。対象月と「すべての月」を確認してください",)
    )
    return UnitResult(tenant_id, {"reminders_allowed": name}, int(was_stopped), notes=notes)


def tenants_of_file(request: Request) -> list[str]:
    """The ids of the tenants of the invoices in the payment file. The whole file is checked first.

    :raises ParameterError: the file cannot be read, or a line cannot be recorded.
    """
    name = _file_name(request.values)
    rows, _ = _read(request.files, name)
    payments = [row.payment for row in rows]
    payables = find_payables(request.platform, {payment.number for payment in payments})
    recorded = find_recorded(request.platform, payments)
    assert request.run_date is not None, "a run that is opened has its date"
    require_recordable(rows, name, payables, recorded, request.run_date)
    return sorted({payables[payment.number].tenant_id for payment in payments})


def file_options(request: Request) -> dict[str, Any]:
    """The file's name and the SHA-256 of its content, so that a shard detects changed content."""
    name = _file_name(request.values)
    return {"payment_file": name, "payment_digest": _read(request.files, name)[1]}


def import_file(work: Work, person: str) -> list[Outcome]:
    """Record the file's payments of these tenants. If one payment of a tenant fails, no payment of this tenant is recorded.

    :raises ParameterError: the file has changed since the run was opened.
    """
    name = work.run.options["payment_file"]
    rows, digest = _read(work.files, name)
    if digest != work.run.options["payment_digest"]:
        raise ParameterError(
            f"入金ファイル '{name}' が、この実行を始めたあとに変わりました。操作「入金ファイルの取込み」をもう一度実行してください。"
        )
    # Row-level security shows the invoices of these tenants only.
    payables = find_payables(work.connection, {row.payment.number for row in rows})
    of_tenant: dict[str, list[Payment]] = {tenant_id: [] for tenant_id in work.tenant_ids}
    for row in rows:
        payable = payables.get(row.payment.number)
        if payable:
            of_tenant[payable.tenant_id].append(row.payment)
    return [_import_tenant(work, tenant_id, payments, person) for tenant_id, payments in of_tenant.items()]


def _import_tenant(work: Work, tenant_id: str, payments: list[Payment], person: str) -> Outcome:
    try:
        with work.connection.transaction():
            recorded = record_payments(
                work.connection,
                payments,
                source="file",
                today=work.run.run_date,
                entered_by=person,
                execution_id=work.run.execution_id,
            )
    except BillingError as error:
        return UnitFailure(tenant_id, error.code, str(error), recoverable=False)
    return _result(tenant_id, "paid", recorded)


def _result(tenant_id: str, verb: str, recorded: list[RecordedPayment]) -> UnitResult:
    new = sum(each.is_new for each in recorded)
    return UnitResult(
        tenant_id,
        {verb: list(dict.fromkeys(each.number for each in recorded)), "payments": new},
        new,
        notes=tuple(dict.fromkeys(each.remark for each in recorded if each.remark)),
    )


def _stopped(work: Work, tenant_id: str) -> tuple[str | None, str]:
    """The id of the invoice, or None for the whole tenant, and its name in messages."""
    if work.run.options["every_month"]:
        return None, "テナントのすべての請求書"
    stored = invoice_of_month(work.connection, tenant_id, Period.month_of(work.run.business_date))
    return stored.invoice_id, invoice_label(stored.invoice.number)


def _file_name(values: Mapping[str, Any]) -> str:
    name = str(values["payment_file"]).strip()
    if name.startswith(".") or ".." in name or any(part in name for part in ("/", "\\", "\0")):
        raise ParameterError(
            f"「{INVOICES.titles['payment_file']}」（payment_file）の {name!r} は使えません。"
            f"保存先の {_FOLDER}/ にあるファイルの名前だけを、フォルダーなしで指定してください。"
        )
    return name


def _read(store: ObjectStore, name: str) -> tuple[list[FileRow], str]:
    """The payments of the file, and the SHA-256 of its content (hex)."""
    try:
        content = store.read(f"{_FOLDER}/{name}")
    except (FileNotFoundError, IsADirectoryError):
        raise ParameterError(
            f"入金ファイル '{name}' が保存先の {_FOLDER}/ にありません。{store.location(f'{_FOLDER}/{name}')} に置いてください。"
        ) from None
    return parse_payments(content, name), hashlib.sha256(content).hexdigest()
