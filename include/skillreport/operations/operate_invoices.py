"""Operations of an accountant on invoices: explain, approve, void, credit, reissue, enter lines, carry differences, and payments."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import already_done
from include.skillreport.billing.ledger.letters import load_contacts
from include.skillreport.billing.ledger.settlement import Instructions
from include.skillreport.billing.ledger.stored_invoice import invoice_of_month
from include.skillreport.billing.money import entered_number
from include.skillreport.billing.outcomes import outcome_of
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.explanation import explain
from include.skillreport.billing.service import Billing
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import (
    Outcome,
    Request,
    Run,
    TenantBatch,
    UnitFailure,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.operations import one_off_lines, payments
from include.skillreport.operations.form_values import day_of, require_texts, text_of
from include.skillreport.operations.forms import INVOICES

# A line of the field "credit_lines": 2=1500 (amount) or 2=3x (quantity).
_CREDITED_PART = re.compile(r"\s*([0-9]{1,6})\s*[=:]\s*([0-9,.]+)\s*([xX×]?)\s*")


class InvoiceOperations(TenantBatch):
    """One operation on the month's invoice of each named tenant. ``business_date`` is a day of that month.

    An import of payments takes its tenants from the invoices in the file.
    """

    def __init__(self, billing: Billing) -> None:
        self._billing = billing
        self._operations: Mapping[str, Callable[[Work, str], UnitResult]] = {
            "explain": self._explain,
            "void": self._void,
            "credit": self._credit,
            "part_credit": self._credit,
            "extra_line": _by_person(partial(one_off_lines.enter, billing)),
            "remove_line": _by_person(one_off_lines.remove),
            "carry": self._carry,
            "record_payment": _by_person(payments.record),
            "reverse_payment": _by_person(payments.reverse),
            "move_payment": _by_person(payments.move),
            "record_refund": _by_person(partial(payments.refund, billing)),
            "stop_reminders": _by_person(payments.stop),
            "allow_reminders": _by_person(payments.allow),
        }

    def options(self, request: Request) -> dict[str, Any]:
        """``operation``, its fields as JSON values, and the deviations that an approval or a reissue accepts."""
        operation = INVOICES.chosen(request.values)
        values = request.values
        require_texts(values)
        options = {
            "operation": operation.name,
            "is_read_only": operation.is_read_only,
            "reason": text_of(values, "reason"),
            "allow_incomplete": bool(values.get("allow_incomplete")),
            "accept_change": bool(values.get("accept_change")),
            "every_month": bool(values.get("every_month")),
        }
        if operation.name == "part_credit":
            options["credit_lines"] = _credit_lines(request)
        if operation.name == "extra_line":
            options["line"] = one_off_lines.entered_options(request)
        if operation.name == "remove_line":
            options["line"] = one_off_lines.removed_options(request)
        if operation.name == "hand_over":
            options["accounting_month"] = day_of(values, "accounting_month").replace(day=1).isoformat()
        if operation.name in payments.PAYMENT_OPERATIONS:
            options |= payments.payment_options(request, operation)
        if operation.name == payments.IMPORT:
            options |= payments.file_options(request)
        return options

    def needs_nobody(self, request: Request) -> bool:
        """Whether the operation works on the files of all tenants."""
        return request.values.get("operation") == "hand_over"

    def further_tenants(self, request: Request) -> Collection[str]:
        """The tenants that left in the month or later and must pay for it. For payments and reminders, all that have an invoice of it."""
        if request.values.get("operation") in payments.PAYMENT_OPERATIONS:
            return payments.former_payers(request)
        return self._billing.former_tenants(request.platform, request.business_date)

    def found_tenants(self, request: Request) -> Collection[str] | None:
        """The tenants of the invoices in a payment file. The whole file is checked first."""
        if request.values.get("operation") != payments.IMPORT:
            return None
        INVOICES.chosen(request.values)
        return payments.tenants_of_file(request)

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """For payments and reminders, the tenants that the application has deleted. Their invoices can be paid."""
        operation = request.values.get("operation")
        return (
            payments.vanished(request) if operation in (*payments.PAYMENT_OPERATIONS, payments.IMPORT) else ()
        )

    def reads_files(self, run: Run) -> bool:
        """Whether the operation imports a file."""
        return bool(run.options["operation"] == payments.IMPORT)

    def process(self, work: Work) -> list[Outcome]:
        """Do the operation for each tenant. If an invoice does not allow it, this tenant fails."""
        run = work.run
        if run.options["operation"] == payments.IMPORT:
            return payments.import_file(work, _person(work))
        if run.options["operation"] not in ("approve", "reissue"):
            return [self._operate(work, tenant_id) for tenant_id in work.tenant_ids]
        reissues = run.options["operation"] == "reissue"
        instructions = Instructions(
            issued_on=self._billing.issue_date(work.connection, run.business_date, run.run_date),
            actor=run.execution_id,
            resumable=True,
            allow_incomplete=run.options["allow_incomplete"],
            recalculate=reissues,
            reason=run.options["reason"],
            approved=() if reissues and not run.options["accept_change"] else work.tenant_ids,
        )
        # A dry run of a reissue does the work and rolls it back, so it also shows what prevents it.
        bill = self._billing.price if run.dry_run and not reissues else self._billing.settle
        return [outcome_of(each) for each in bill(work.connection, run.business_date, instructions)]

    def write_files(self, work: Work, tenant_id: str) -> None:
        """Write the documents of the tenant's month that have no file."""
        if not work.run.options["is_read_only"] and work.run.options["operation"] != payments.IMPORT:
            self._billing.write_documents(work.connection, tenant_id, work.run.business_date, work.files)

    def finish(self, work: Work) -> None:
        """Write the index of the month's documents and the accountant's files, which contain all tenants. Or hand the month over."""
        if work.run.options["operation"] == "hand_over":
            self._hand_over(work)
        elif not work.run.options["is_read_only"]:
            self._billing.write_accounting_files(
                work.connection,
                work.run.business_date,
                run_date=work.run.run_date,
                execution_id=work.run.execution_id,
                store=work.files,
            )

    def _hand_over(self, work: Work) -> None:
        run = work.run
        self._billing.hand_over(
            work.connection,
            date.fromisoformat(run.options["accounting_month"]),
            run_date=run.run_date,
            actor=_person(work),
            execution_id=run.execution_id,
            store=work.files,
            # The reason states that the accountant has the earlier months' documents. The run's options contain it.
            closes_earlier=bool(run.options["reason"]),
        )

    def _operate(self, work: Work, tenant_id: str) -> Outcome:
        """Do one tenant's operation. A later attempt finds it done, and does not change another invoice."""
        try:
            return self._operations[work.run.options["operation"]](work, tenant_id)
        except BillingError as error:
            return UnitFailure(tenant_id, error.code, str(error), recoverable=False)

    def _explain(self, work: Work, tenant_id: str) -> UnitResult:
        stored = invoice_of_month(work.connection, tenant_id, Period.month_of(work.run.business_date))
        report = tuple(explain(stored.invoice, stored.inputs))
        return UnitResult(tenant_id, {"invoice_number": stored.invoice.number}, 0, report=report)

    def _void(self, work: Work, tenant_id: str) -> UnitResult:
        run, period = work.run, Period.month_of(work.run.business_date)
        done = already_done(work.connection, tenant_id, period, run.execution_id, credit=False)
        if done:
            return UnitResult(
                tenant_id, {"voided": done[0]}, 0, notes=_letter_problem(work, tenant_id, done[0])
            )
        stored = invoice_of_month(work.connection, tenant_id, period)
        self._billing.void(work.connection, stored, run.options["reason"], actor=run.execution_id)
        return UnitResult(
            tenant_id,
            {"voided": stored.invoice.number},
            0,
            notes=_letter_problem(work, tenant_id, stored.invoice.number),
        )

    def _credit(self, work: Work, tenant_id: str) -> UnitResult:
        run, period = work.run, Period.month_of(work.run.business_date)
        done = already_done(work.connection, tenant_id, period, run.execution_id, credit=True)
        if done:
            return UnitResult(
                tenant_id, {"credited": done[0]}, 0, notes=_letter_problem(work, tenant_id, done[0])
            )
        credit = self._billing.credit(
            work.connection,
            invoice_of_month(work.connection, tenant_id, period),
            run.options["reason"],
            issued_on=self._billing.issue_date(work.connection, run.business_date, run.run_date),
            actor=run.execution_id,
            parts=_credited_parts(run.options.get("credit_lines")),
        )
        return UnitResult(
            tenant_id, {"credited": credit.number}, 0, notes=_letter_problem(work, tenant_id, credit.number)
        )

    def _carry(self, work: Work, tenant_id: str) -> UnitResult:
        run = work.run
        lines = self._billing.carry_difference(
            work.connection,
            tenant_id,
            run.business_date,
            entered_by=_person(work),
            execution_id=run.execution_id,
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


def _person(work: Work) -> str:
    """The person who enters data: the user who triggered the run, otherwise the run."""
    return work.run.triggered_by or work.run.execution_id


def _by_person(operation: Callable[[Work, str, str], UnitResult]) -> Callable[[Work, str], UnitResult]:
    """The operation with the person who does it."""
    return lambda work, tenant_id: operation(work, tenant_id, _person(work))


def _letter_problem(work: Work, tenant_id: str, number: str | None) -> tuple[str, ...]:
    """Why the customer receives no letter about the numbered document."""
    problem = load_contacts(work.connection)[tenant_id].problem
    return (problem,) if problem and number else ()


def _credit_lines(request: Request) -> list[str]:
    """The credited parts in the form, validated."""
    if len(request.codes) != 1:
        raise ParameterError(
            "操作「一部の返還」では「テナントコード」（tenants）に 1 件だけ指定してください。明細の番号は請求書ごとに違います。"
        )
    lines = [str(line) for line in request.values["credit_lines"] if str(line).strip()]
    for line in lines:
        if _credited_part(line) is None:
            raise ParameterError(
                f"「返還する明細」（credit_lines）の {line[:40]!r} が読めません。"
                "「行番号=金額」（例 2=1500）か「行番号=数量x」（例 2=3x）で、1 行に 1 件書いてください。"
            )
    return lines


def _credited_parts(lines: list[str] | None) -> list[CreditedPart] | None:
    if lines is None:
        return None
    # Unreadable lines are refused before the run is opened.
    return [part for line in lines if (part := _credited_part(line))]


def _credited_part(line: str) -> CreditedPart | None:
    """The part in a line of the field, or None if it cannot be read."""
    match = _CREDITED_PART.fullmatch(line)
    number = entered_number(match[2]) if match else None
    if match is None or number is None:
        return None
    position = int(match[1])
    return CreditedPart(position, quantity=number) if match[3] else CreditedPart(position, amount=number)
