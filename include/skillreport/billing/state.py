"""The state of an invoice, and the acts that it permits. Pure.

Only ``refusal`` decides. The steps of a run call it while they hold their locks. In a race, statements and the database's guards
reject the same acts. The board calls it for its buttons. ``receivables/payment.py`` has the rules about the values of payments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.second_person import SecondPerson, WaitingEntry, approval_refusal

if TYPE_CHECKING:
    from include.skillreport.billing.receivables.adjustment import AdjustmentKind

_CREDIT_NOTE = "credit"


class Act(StrEnum):
    """The operations that the state of an invoice can reject. The values are their names."""

    CORRECT = "correct"
    CREDIT = "credit"
    FEE_DIFFERENCE = "fee_difference"
    PART_CREDIT = "part_credit"
    RECORD_REFUND = "record_refund"
    REISSUE = "reissue"
    SEND_LETTER = "send_letter"
    STOP_LETTER = "stop_letter"
    TAKE_BACK_ADJUSTMENT = "take_back_adjustment"
    VOID = "void"
    WRITE_OFF = "write_off"


@dataclass(frozen=True)
class InvoiceState:
    """The present state of an invoice or a credit note. Amounts are in its currency, tax included.

    ``status``: ``draft``, ``finalized`` or ``void``. ``credited``: in full; ``credited_total`` is the sum of its final credit notes.
    ``fee_total`` and ``written_off_total`` are the sums of its adjustments. ``open_amount`` is left to pay, negative if overpaid.
    ``is_paid``: a payment is recorded, or the application marks it as paid. ``is_carried``: one-off lines carry its difference into
    later months. ``is_stopped``: its e-mail is stopped, or a correction waits. ``corrected_by``: the authors of waiting corrections.
    """

    kind: str
    status: str
    number: str | None
    total: Decimal
    credited: bool
    credited_total: Decimal
    paid_total: Decimal
    fee_total: Decimal
    written_off_total: Decimal
    open_amount: Decimal
    is_paid: bool
    is_carried: bool
    is_stopped: bool
    corrected_by: tuple[str, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any], prefix: str = "") -> Self:
        """The state from a row with the columns of ``batch.invoice_state``, whose names have this prefix."""
        values = {field.name: row[prefix + field.name] for field in fields(cls)}
        return cls(**values | {"corrected_by": tuple(values["corrected_by"])})

    @property
    def is_live(self) -> bool:
        """True for the invoice of its month: neither a credit note, nor void, nor credited in full."""
        return self.kind != _CREDIT_NOTE and self.status != "void" and not self.credited

    @property
    def is_adjusted(self) -> bool:
        """True if a fee or a write-off is recorded."""
        return bool(self.fee_total or self.written_off_total)

    @property
    def is_owed(self) -> bool:
        """True if an amount is left to pay. False if only the application marks it as paid."""
        return self.open_amount > 0 and (bool(self.paid_total) or not self.is_paid)


def refusal(
    act: Act, state: InvoiceState, person: str = "", setting: SecondPerson = "required"
) -> BillingError | None:
    """Why the act is not possible, and what to do instead; None if it is possible. ``person`` acts. ``setting``: what an author may do.

    Entered values (an amount, a day) are checked elsewhere, for example in ``refusal_of_credit``.
    """
    error = next((error for rule in _RULES[act] if (error := rule(state))), None)
    if error is None and act is Act.SEND_LETTER:
        entry = WaitingEntry("correction", invoice_label(state.number), state.corrected_by)
        error = approval_refusal(entry, person, setting)
    return error


def require(act: Act, state: InvoiceState, person: str = "", setting: SecondPerson = "required") -> None:
    """Check that the act is possible. :raises BillingError: it is not."""
    if error := refusal(act, state, person, setting):
        raise error


def refusal_of_credit(state: InvoiceState, credited_total: Decimal) -> BillingError | None:
    """Why a live invoice's credit notes cannot have this sum; None if they can. Fees, write-offs and carried differences limit it. An
    invoice with a stopped e-mail must be credited in full.
    """
    is_whole = credited_total == state.total
    if is_whole and state.is_carried:
        return _carried(state)
    # A credit note after a write-off would show as owed back, although nothing was paid.
    if state.written_off_total or credited_total + state.fee_total > state.total:
        return _adjusted(state)
    if not is_whole and state.is_stopped:
        return BillingError(
            "LETTER_STOPPED",
            f"{invoice_label(state.number)}は送付を停止しているため、一部の返還をしません。先に DAG operate_invoices の"
            "「送付する」で送るか、「請求書の取消」か「取消して再発行」で直してください",
        )
    return None


def refusal_of_take_back(state: InvoiceState, kind: AdjustmentKind) -> BillingError | None:
    """Why nothing of this kind can be taken back from the invoice; None if something can."""
    if state.fee_total if kind == "fee" else state.written_off_total:
        return None
    return BillingError(
        "NOTHING_TO_TAKE_BACK",
        f"{invoice_label(state.number)}に{kind.label}はありません。対象月と種類を確認してください",
    )


def is_due_too_near(state: InvoiceState, days: int, planned: int, least: int) -> bool:
    """True if an unpaid invoice would be sent too late: ``days`` before its due date are fewer than ``least`` and than ``planned``."""
    return not state.is_paid and days < min(planned, least)


def invoice_label(number: str | None) -> str:
    """The name of an invoice in messages. Drafts and invoices with a total of 0 have the number None."""
    return f"請求書 {number} " if number else "番号のない請求（下書きか請求額 0）"


def not_overpaid(what: str) -> BillingError:
    """The error that neither the invoice nor the month is overpaid."""
    return BillingError("NOT_OVERPAID", f"{what}に過入金はありません。対象月を確認してください")


def already_taken_back(number: str | None) -> BillingError:
    """The error that another run was faster, so that the statement changed nothing."""
    return BillingError(
        "ALREADY_TAKEN_BACK",
        f"{invoice_label(number)}は、同時に動いた別の実行がすでに取り消したか返還しました",
    )


# The rules. Each returns a refusal, or None.


def _taken_back(state: InvoiceState) -> BillingError | None:
    if state.status != "void" and not state.credited:
        return None
    was = "取消済み" if state.status == "void" else "返還済み"
    return BillingError("ALREADY_TAKEN_BACK", f"{invoice_label(state.number)}は{was}です")


def _credit_note(state: InvoiceState) -> BillingError | None:
    if state.kind != _CREDIT_NOTE:
        return None
    return BillingError("IS_A_CREDIT", f"返還 {state.number} は取り消せません")


def _with_credits(state: InvoiceState) -> BillingError | None:
    if not state.credited_total:
        return None
    return BillingError(
        "HAS_CREDITS",
        f"{invoice_label(state.number)}は一部返還済みのため取り消せません。残りを打ち消すには DAG operate_invoices の「全額の返還」を"
        "使ってください",
    )


def _carried(state: InvoiceState) -> BillingError | None:
    """A replacement of such an invoice would bill the difference again."""
    if not state.is_carried:
        return None
    return BillingError(
        "DIFFERENCE_CARRIED",
        f"{invoice_label(state.number)}の差額は後の月に繰り越し済みのため、取消、再発行、全額の返還はできません。先に "
        "DAG operate_invoices の「個別明細の取り消し」で繰越しの明細を取り消してください。その明細も確定済みなら、"
        "「一部の返還」か「個別明細の追加」で訂正します",
    )


def _adjusted(state: InvoiceState) -> BillingError | None:
    if not state.is_adjusted:
        return None
    return BillingError(
        "ADJUSTED",
        f"{invoice_label(state.number)}に手数料差額か貸倒れの記録があります。先に DAG operate_invoices の"
        "「手数料差額・貸倒れの取り消し」を実行してください",
    )


def _paid(state: InvoiceState) -> BillingError | None:
    if not state.is_paid:
        return None
    return BillingError(
        "ALREADY_PAID",
        f"{invoice_label(state.number)}は入金済みのため取り消せません。訂正するには DAG operate_invoices の「全額の返還」を"
        "使ってください",
    )


def _not_creditable(state: InvoiceState) -> BillingError | None:
    if _is_numbered_invoice(state):
        return None
    return BillingError(
        "NOT_CREDITABLE",
        f"{invoice_label(state.number)}は返還できません。返還は番号のある請求書にだけ行えます",
    )


def _not_correctable(state: InvoiceState) -> BillingError | None:
    if _is_numbered_invoice(state):
        return None
    return BillingError(
        "NOT_CORRECTABLE",
        f"{invoice_label(state.number)}は訂正できません。訂正できるのは、番号のある請求書です",
    )


def _not_adjustable(state: InvoiceState) -> BillingError | None:
    if _is_numbered_invoice(state):
        return None
    return BillingError(
        "NOT_ADJUSTABLE",
        f"{invoice_label(state.number)}には記録できません。確定した請求書の月を指定してください",
    )


def _nothing_open(state: InvoiceState) -> BillingError | None:
    if state.is_owed:
        return None
    return BillingError(
        "NOTHING_OPEN",
        f"{invoice_label(state.number)}に未入金の額はありません。対象月を確認してください",
    )


def _without_payment(state: InvoiceState) -> BillingError | None:
    if state.paid_total > 0:
        return None
    return BillingError(
        "NOT_PAID",
        f"{invoice_label(state.number)}に入金がありません。先に「入金の記録」で、入金された額を記録してください",
    )


def _without_adjustment(state: InvoiceState) -> BillingError | None:
    if state.is_adjusted:
        return None
    return BillingError(
        "NOTHING_TO_TAKE_BACK",
        f"{invoice_label(state.number)}に手数料差額も貸倒れもありません。対象月を確認してください",
    )


def _not_overpaid(state: InvoiceState) -> BillingError | None:
    if state.number is not None and state.kind != _CREDIT_NOTE and state.open_amount < 0:
        return None
    return not_overpaid(invoice_label(state.number))


def _whole_credit(state: InvoiceState) -> BillingError | None:
    return refusal_of_credit(state, state.total)


def _part_credit(state: InvoiceState) -> BillingError | None:
    """The refusal of any partial credit. Limits for the amount are in ``refusal_of_credit``."""
    return refusal_of_credit(replace(state, is_stopped=False), state.credited_total)


def _is_numbered_invoice(state: InvoiceState) -> bool:
    return state.kind != _CREDIT_NOTE and state.number is not None


_Rule = Callable[[InvoiceState], BillingError | None]

_VOID: Sequence[_Rule] = (_taken_back, _credit_note, _with_credits, _carried, _adjusted, _paid)

# The first refusal is shown.
_RULES: Mapping[Act, Sequence[_Rule]] = {
    Act.CORRECT: (_taken_back, _not_correctable),
    Act.CREDIT: (_taken_back, _not_creditable, _whole_credit),
    Act.FEE_DIFFERENCE: (_taken_back, _not_adjustable, _nothing_open, _without_payment),
    Act.PART_CREDIT: (_taken_back, _not_creditable, _part_credit),
    Act.RECORD_REFUND: (_not_overpaid,),
    Act.REISSUE: _VOID,
    Act.SEND_LETTER: (_taken_back,),
    Act.STOP_LETTER: (_taken_back,),
    Act.TAKE_BACK_ADJUSTMENT: (_taken_back, _not_adjustable, _without_adjustment),
    Act.VOID: _VOID,
    Act.WRITE_OFF: (_taken_back, _not_adjustable, _nothing_open),
}
