"""Payments and refunds: record, reverse and move them, or import a file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import override

from include.skillreport.billing.actions.action import Action, Desk, TenantAction, failure
from include.skillreport.billing.actions.fields import (
    PAYMENTS,
    IsOther,
    MovedAmount,
    PaidAmount,
    PaidInvoice,
    PaidMethod,
    PaidOn,
    PaidReference,
    PaidTo,
    PaymentFile,
    Reason,
)
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.state import Act, invoice_label, not_overpaid, refusal
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form import NOTHING_YET, OF_A_FILE, described

if TYPE_CHECKING:
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.billing.receivables.payment import Payment, RecordedPayment
    from include.skillreport.billing.receivables.payment_file import FileRow
    from include.skillreport.billing.service import Billing
    from include.skillreport.core.execution.batch import Outcome, Request, UnitResult
    from include.skillreport.core.execution.object_store import ObjectStore


_MOST_FILE_BYTES = 20 << 20


class PaymentAction(TenantAction):
    """An action on the payments of one invoice."""

    because = "入金は請求書 1 件ずつ記録します。"
    takes_former = True


class EnteredPayment(PaymentAction):
    """A payment or a refund that a user enters."""

    paid_on: PaidOn
    paid_amount: PaidAmount
    paid_method: PaidMethod
    paid_reference: PaidReference

    def payment(self, number: str, currency: str, kind: Literal["payment", "refund"]) -> Payment:
        """The entered payment or refund of an invoice."""
        from include.skillreport.billing.receivables.payment import Payment

        values = (self.paid_on, self.paid_amount, currency, self.paid_method, self.paid_reference)
        return Payment(number, *values, kind)


@described("record_payment", "入金の記録")
class RecordPayment(EnteredPayment):
    """請求書の入金を記録します。全額ならアプリでも PAID になります。テナントは 1 件だけ指定します。"""

    is_other: IsOther = False

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import live_invoice

        live = live_invoice(present)
        if live is None or self.paid_amount is None:
            return ()
        payable = live.payable
        live.require_acceptable(self.payment(payable.number, payable.currency, "payment"))
        return (live.paid(self.paid_amount),)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Record a payment of the month's invoice."""
        from include.skillreport.billing.ledger.payments import record_payments

        invoice = desk.invoice(tenant_id).invoice
        if invoice.number is None:
            raise BillingError(
                "NOT_PAYABLE",
                f"{invoice_label(None)}には入金を記録できません。確定した請求書の月を指定してください",
            )
        (recorded,) = record_payments(
            desk.connection,
            [replace(self.payment(invoice.number, invoice.currency, "payment"), is_other=self.is_other)],
            source="operation",
            today=desk.run.run_date,
            entered_by=desk.run.person,
            execution_id=desk.run.execution_id,
            application_pays=_application_pays(desk.billing),
        )
        return _result(tenant_id, "paid", [recorded])


@described("reverse_payment", "入金の取り消し")
class ReversePayment(TenantAction):
    """誤って記録した入金か返金を取り消します。行は残ります。"""

    takes_former = True

    reason: Reason
    paid_reference: PaidReference
    paid_invoice: PaidInvoice = ""

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        found = _only_payment(present, self.paid_reference, self.paid_invoice)
        if found is None:
            return ()
        invoice, payment = found
        return (invoice.reversed(payment),)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Reverse the month's payment or refund with the reference."""
        from include.skillreport.billing.ledger.payments import reverse_payment
        from include.skillreport.core.execution.batch import UnitResult

        taken_back = reverse_payment(
            desk.connection,
            tenant_id,
            desk.period,
            self.paid_reference,
            self.reason,
            number=self.paid_invoice or None,
            reversed_by=desk.run.person,
            execution_id=desk.run.execution_id,
        )
        state = "過入金" if taken_back.rest < 0 else "未入金"
        note = (
            f"請求書 {taken_back.number} の{taken_back.noun}を取り消しました。"
            f"{state}は {abs(taken_back.rest):,f} {taken_back.currency} です"
        )
        return UnitResult(tenant_id, {"reversed": [taken_back.number]}, 1, notes=(note,))


@described("move_payment", "入金の付け替え")
class MovePayment(PaymentAction):
    """入金を別の請求書へ移します。入金日は変わりません。テナントは 1 件だけ指定します。"""

    other_invoice = "paid_to"

    reason: Reason
    paid_reference: PaidReference
    paid_to: PaidTo
    moved_amount: MovedAmount | None = None
    paid_invoice: PaidInvoice = ""

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.receivables.payment import Payment, require_movable

        found = _only_payment(present, self.paid_reference, self.paid_invoice)
        target = next((each for each in present if each.stored.state.number == self.paid_to), None)
        if found is None or target is None:
            return ()
        source, row = found
        whole = Payment(
            source.payable.number,
            *(row[name] for name in ("paid_on", "amount", "currency", "method", "reference", "kind")),
        )
        moved = replace(whole, number=self.paid_to, amount=self.moved_amount or whole.amount)
        require_movable(whole, moved, target.payable)
        return source.reversed(row, whole.amount - moved.amount), target.paid(moved.amount)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Move the payment with the reference from the month's invoice to another invoice of the tenant."""
        from include.skillreport.billing.ledger.payments import move_payment
        from include.skillreport.core.execution.batch import UnitResult

        source, target = move_payment(
            desk.connection,
            tenant_id,
            desk.period,
            self.paid_reference,
            self.paid_to,
            self.reason,
            amount=self.moved_amount,
            number=self.paid_invoice or None,
            moved_by=desk.run.person,
            execution_id=desk.run.execution_id,
            application_pays=_application_pays(desk.billing),
        )
        part = f"のうち {self.moved_amount:,f} {source.currency} " if self.moved_amount else ""
        notes = [f"請求書 {source.number} の入金{part}を請求書 {target.number} へ付け替えました"]
        if source.rest > 0:
            notes.append(f"請求書 {source.number} の未入金は {source.rest:,f} {source.currency} です")
        elif source.remark:
            notes.append(source.remark)
        if target.remark:
            notes.append(target.remark)
        return UnitResult(
            tenant_id, {"moved_from": source.number, "moved_to": target.number}, 1, notes=tuple(notes)
        )


@described("record_refund", "返金の記録")
class RecordRefund(EnteredPayment):
    """過入金から取引先へ返したお金を記録します。テナントは 1 件だけ指定します。"""

    reason: Reason
    paid_invoice: PaidInvoice = ""

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.receivables.payment import require_refundable

        overpaid = [
            each
            for each in present
            if each.of_month
            and refusal(Act.RECORD_REFUND, each.stored.state) is None
            and self.paid_invoice in ("", each.stored.state.number)
        ]
        if len(overpaid) != 1 or self.paid_amount is None:
            return ()
        payable = overpaid[0].payable
        refund = self.payment(payable.number, payable.currency, "refund")
        require_refundable(refund, overpaid[0].require_acceptable(refund))
        return (overpaid[0].opened(refund.amount),)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Record a refund of the month's overpaid invoice, which may be credited."""
        from include.skillreport.billing.ledger.payments import record_refund

        number = self._number(desk, tenant_id)
        stored = desk.billing.invoice(desk.connection, number)
        month = desk.period.start
        if stored.tenant_id != tenant_id or stored.invoice.period_start != month:
            raise BillingError(
                "NO_SUCH_INVOICE",
                f"請求書 {number} は、このテナントの {month:%Y-%m} の請求書ではありません。番号を直してください",
            )
        recorded = record_refund(
            desk.connection,
            self.payment(number, stored.invoice.currency, "refund"),
            self.reason,
            today=desk.run.run_date,
            entered_by=desk.run.person,
            execution_id=desk.run.execution_id,
        )
        return _result(tenant_id, "refunded", [recorded])

    def _number(self, desk: Desk, tenant_id: str) -> str:
        """The number of the overpaid invoice. :raises BillingError: the month has none, or several."""
        from include.skillreport.billing.ledger.payments import overpaid_invoices, refunded_invoices

        if self.paid_invoice:
            return self.paid_invoice
        # A second attempt finds the refund, although its invoice may no longer be overpaid.
        numbers = refunded_invoices(
            desk.connection, tenant_id, desk.period, self.paid_reference
        ) or overpaid_invoices(desk.connection, tenant_id, desk.period)
        if not numbers:
            raise not_overpaid(f"{desk.period.start:%Y-%m} の請求書")
        if len(numbers) > 1:
            raise BillingError(
                "SEVERAL_INVOICES",
                f"過入金は請求書 {'、'.join(numbers)} にあります。「入金のある請求書」（paid_invoice）に番号を指定してください",
            )
        return numbers[0]


@described("import_payments", "入金ファイルの取込み")
class ImportPayments(Action):
    """保存先の payments/ にある CSV の入金を 1 回だけ記録します。"""

    unchanged = OF_A_FILE
    shows = NOTHING_YET
    of_month = False
    takes_former = True
    reads_files = True
    writes_documents = False

    payment_file: PaymentFile
    is_other: IsOther = False

    def options(self, request: Request) -> dict[str, Any]:
        """Adds the SHA-256 of the file, so that a shard detects changed content."""
        return {**self.values(), "payment_digest": _read(request.files, self.payment_file)[1]}

    def found_tenants(self, billing: Billing, request: Request) -> Collection[str]:
        """The tenants of the invoices in the file. The entire file is checked first.

        :raises ParameterError: the file cannot be read, or a line cannot be recorded.
        """
        from include.skillreport.billing.ledger.application_payments import all_paid_in_application
        from include.skillreport.billing.ledger.payments import find_payables, find_recorded
        from include.skillreport.billing.receivables.payment_file import require_recordable

        rows, _ = _read(request.files, self.payment_file)
        payments = [row.payment for row in rows]
        numbers = {payment.number for payment in payments}
        payables = find_payables(request.platform, numbers)
        recorded = find_recorded(request.platform, payments)
        assert request.run_date is not None, "a run that is opened has its date"
        paid = all_paid_in_application(request.platform, numbers) if _application_pays(billing) else set()
        require_recordable(rows, self.payment_file, payables, recorded, request.run_date, paid)
        return sorted({payables[payment.number].tenant_id for payment in payments})

    def do_all(self, desk: Desk) -> list[Outcome]:
        """Record the file's payments of these tenants. If a payment fails, none of its tenant's payments is recorded.

        :raises ParameterError: the file has changed since the run was opened.
        """
        from include.skillreport.billing.ledger.payments import find_payables

        rows, digest = _read(desk.work.files, self.payment_file)
        if digest != desk.run.options["payment_digest"]:
            raise ParameterError(
                f"入金ファイル '{self.payment_file}' が、この実行を始めたあとに変わりました。"
                f"操作「{self.title}」をもう一度実行してください。"
            )
        payables = find_payables(desk.connection, {row.payment.number for row in rows})
        of_tenant: dict[str, list[Payment]] = {tenant_id: [] for tenant_id in desk.work.tenant_ids}
        for row in rows:
            payable = payables.get(row.payment.number)
            if payable:
                of_tenant[payable.tenant_id].append(replace(row.payment, is_other=self.is_other))
        return [_import_tenant(desk, tenant_id, each) for tenant_id, each in of_tenant.items()]


def _only_payment(
    present: Sequence[PresentInvoice], reference: str, number: str
) -> tuple[PresentInvoice, Mapping[str, Any]] | None:
    """The only reversible payment of the month with this reference, and its invoice."""
    found = [
        (each, payment)
        for each in present
        if each.of_month and number in ("", each.stored.state.number)
        for payment in each.payments
        if payment["reference"] == reference and payment["reversed_at"] is None
    ]
    return found[0] if len(found) == 1 else None


def _import_tenant(desk: Desk, tenant_id: str, payments: list[Payment]) -> Outcome:
    """Record the payments. Possible duplicates are left out, and fail the tenant after the others are recorded."""
    from include.skillreport.billing.ledger.payments import record_payments
    from include.skillreport.billing.ledger.repeated_payments import RepeatedPaymentError
    from include.skillreport.core.execution.batch import UnitFailure

    try:
        with desk.connection.transaction():
            recorded = record_payments(
                desk.connection,
                payments,
                source="file",
                today=desk.run.run_date,
                entered_by=desk.run.person,
                execution_id=desk.run.execution_id,
                application_pays=_application_pays(desk.billing),
            )
    except RepeatedPaymentError as error:
        outcome = _import_tenant(desk, tenant_id, [each for each in payments if each not in error.payments])
        if isinstance(outcome, UnitFailure):
            return outcome
        return replace(failure(tenant_id, error), details=outcome.details, notes=outcome.notes)
    except BillingError as error:
        return failure(tenant_id, error)
    return _result(tenant_id, "paid", recorded)


def _application_pays(billing: Billing) -> bool:
    return billing.terms.settings.payment_source == "host"


def _result(tenant_id: str, verb: str, recorded: list[RecordedPayment]) -> UnitResult:
    from include.skillreport.core.execution.batch import UnitResult

    new = sum(each.is_new for each in recorded)
    return UnitResult(
        tenant_id,
        {verb: list(dict.fromkeys(each.number for each in recorded)), "payments": new},
        new,
        notes=tuple(dict.fromkeys(each.remark for each in recorded if each.remark)),
    )


def _read(store: ObjectStore, name: str) -> tuple[list[FileRow], str]:
    from include.skillreport.billing.receivables.payment_file import parse_payments
    from include.skillreport.core.execution.proof import (
        Fault,
        Unchecked,
        UnprovedError,
        read_proved,
    )

    key = f"{PAYMENTS}/{name}"
    try:
        content = read_proved(store, key, Unchecked(), _MOST_FILE_BYTES)
    except UnprovedError as error:
        problem = {
            Fault.MISSING: f"が保存先の {PAYMENTS}/ にありません。{store.location(key)} に置いてください。",
            Fault.TOO_LARGE: f"は大きすぎます（{_MOST_FILE_BYTES >> 20} MB まで）。分けてください。",
        }.get(error.fault, f"を読めません（{error.fault}）。置き直してください。")
        raise ParameterError(f"入金ファイル '{name}' {problem}") from None
    return parse_payments(content, name), hashlib.sha256(content).hexdigest()
