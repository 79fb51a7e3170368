"""The accountant's operations on invoices: their texts and fields. The DAG file imports this module."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from decimal import Decimal
from typing import ClassVar

from include.skillreport.core.form import (
    NOTHING_YET,
    Operation,
    OperationForm,
    Shows,
    refusal,
)
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from include.skillreport.operations.operate_invoices import correction_fields
from include.skillreport.operations.operate_invoices.fields import (
    AcceptChange,
    AcceptNearDue,
    AccountingMonth,
    AdjustmentName,
    AgainSame,
    AllowIncomplete,
    CreditedLines,
    EarlierMonths,
    EveryMonth,
    Evidence,
    Fact,
    FeeAmount,
    FeeOn,
    LineDate,
    LinePrice,
    LineQuantity,
    LineTax,
    LineText,
    LineUnit,
    PaidAmount,
    PaidInvoice,
    PaidMethod,
    PaidOn,
    PaidReference,
    PaidTo,
    PaymentFile,
    Reason,
    Tenants,
    WithHeld,
    WithoutFailed,
    WrittenOffAmount,
    WrittenOffOn,
)

FORM = OperationForm(OPERATE_INVOICES)

# If the day of a line is further away, it is a typing error.
_LONGEST_AHEAD = timedelta(days=365)


class TenantOperation(Operation):
    """An operation on the month's invoices of the tenants. If it has a reason ``because``, it works on exactly one tenant."""

    because: ClassVar[str] = ""
    shows = Shows("invoices")

    tenants: Tenants

    def check(self, _: date, /) -> None:
        self.require_few(self.tenants)

    @classmethod
    def require_few(cls, tenants: Collection[str]) -> None:
        """:raises ParameterError: the operation is for one tenant, and ``tenants`` (codes, or ids) are none or several."""
        if cls.because and len(set(tenants)) != 1:
            raise refusal(
                f"操作「{cls.title}」では「テナントコード」（tenants）に 1 件だけ指定してください。{cls.because}"
            )


class PaymentOperation(TenantOperation):
    """An operation on the payments of one invoice."""

    because = "入金は請求書 1 件ずつ記録します。"
    takes_former = True


@FORM.add("explain", "内訳の表示", button="内訳", is_read_only=True)
class Explain(TenantOperation):
    """何も変わりません。実行のログに、請求の内訳が 1 日単位で出ます。"""


@FORM.add("approve", "保留中の請求の承認", button="承認")
class Approve(TenantOperation):
    """保留中の請求を確定して番号を付け、請求書を発行します。未計算のテナントは計算して確定します。承認待ちの返還は、返還請求書を発行します。自分が登録して承認待ちになったものは、承認できません。客先への通知も登録されます。"""

    shows = Shows("invoices", also="waiting_credits")
    takes_former = True

    allow_incomplete: AllowIncomplete = False


@FORM.add("void", "請求書の取消（入金前のみ）", button="取消")
class Void(TenantOperation):
    """入金前の請求書を取り消します。確定済みなら番号は残り、その月は閉じ、「もう一度請求」だけが請求し直します。請求書を送った後なら、客先に取消の通知が送られます。下書きは次の実行で作り直されます。"""

    takes_former = True

    reason: Reason


@FORM.add("credit", "返還請求書の発行", button="返還")
class Credit(TenantOperation):
    """請求書の残り全部を打ち消す返還請求書を発行します。その月は閉じ、「もう一度請求」だけが請求し直します。"""

    takes_former = True

    reason: Reason


@FORM.add("part_credit", "一部の返還")
class PartCredit(TenantOperation):
    """指定した明細の一部だけの返還請求書を発行します。請求書は有効なままです。テナントは 1 件だけ指定します。"""

    because = "明細の番号は請求書ごとに違います。"
    takes_former = True

    reason: Reason
    credit_lines: CreditedLines
    again_same: AgainSame = False


@FORM.add("drop_credit", "承認待ちの返還の取り下げ", button="返還の取り下げ")
class DropCredit(TenantOperation):
    """対象月の請求書の、承認待ちの返還をすべて取り下げます。請求書と残額は変わりません。"""

    shows = Shows("invoices", also="waiting_credits")
    takes_former = True

    reason: Reason


@FORM.add("reissue", "取消して再発行（入金前のみ）", button="再発行")
class Reissue(TenantOperation):
    """入金前の請求書を取り消し、計算し直して新しい番号で発行します。"""

    reason: Reason
    allow_incomplete: AllowIncomplete = False
    accept_change: AcceptChange = False


@FORM.add("bill_again", "もう一度請求")
class BillAgain(TenantOperation):
    """取消か全額返還をした月を、計算し直して新しい番号で請求します。"""

    shows = Shows("invoices", also="closed")

    reason: Reason
    allow_incomplete: AllowIncomplete = False


@FORM.add("correct", "訂正")
class Correct(TenantOperation):
    """番号と金額を変えずに、宛名、明細の内容、備考、支払期限を訂正した請求書を作ります。客先には、ほかの人が「発送する」を使うと
    送ります。入金の前でも後でも使えます。前の書類も残ります。テナントは 1 件だけ指定します。"""

    because = "訂正の内容は請求書ごとに違います。"
    takes_former = True

    correction: correction_fields.CorrectedWhat
    recipient_name: correction_fields.RecipientName = ""
    recipient_department: correction_fields.RecipientDepartment = ""
    recipient_postal_code: correction_fields.RecipientPostalCode = ""
    recipient_address: correction_fields.RecipientAddress = ""
    line_texts: correction_fields.LineTexts = ()
    note: correction_fields.DocumentNote = ""
    due_on: correction_fields.DueOn | None = None

    def check(self, today: date, /) -> None:
        super().check(today)
        optional = self.fields(required=False)
        if not any(getattr(self, name) for name in optional):
            titles = "、".join(f"「{field.title}」" for field in optional.values())
            raise refusal(f"操作「{self.title}」では {titles} のどれかに、新しい内容を書いてください。")
        if self.due_on and not today <= self.due_on <= today + _LONGEST_AHEAD:
            raise refusal(
                f"「支払期限」（due_on）の {self.due_on} は使えません。{today} から {today + _LONGEST_AHEAD} までの日を"
                "指定してください。"
            )


class LetterOperation(TenantOperation):
    """An operation on the letter of the month's invoice."""

    takes_former = True


@FORM.add("stop_letter", "発送を止める")
class StopLetter(LetterOperation):
    """請求書のメールを、送る前に止めます。止めている間に取り消せば、客先には何も届きません。"""

    reason: Reason


@FORM.add("send_letter", "発送する")
class SendLetter(LetterOperation):
    """止めた請求書、ほかの人が訂正した請求書、発送日を待つ請求書のメールを、次の BATCH-019-01 で送ります。"""

    reason: Reason
    accept_near_due: AcceptNearDue = False


@FORM.add("extra_line", "個別明細の追加")
class ExtraLine(TenantOperation):
    """利用日の月の請求書に載る明細を登録します。"""

    shows = Shows()
    of_month = False
    line_date: LineDate
    line_text: LineText
    line_price: LinePrice
    line_quantity: LineQuantity = Decimal(1)
    line_unit: LineUnit = ""
    line_tax: LineTax = "standard"
    again_same: AgainSame = False

    def check(self, today: date, /) -> None:
        latest = today + _LONGEST_AHEAD
        if self.line_date > latest:
            raise refusal(
                f"「利用日」（line_date）の {self.line_date} は先すぎます。{latest} までの日を指定してください。"
            )


@FORM.add("remove_line", "個別明細の取り消し")
class RemoveLine(TenantOperation):
    """まだ請求書に載っていない明細を取り消します。"""

    shows = Shows("lines")
    of_month = False
    line_text: LineText
    line_date: LineDate | None = None


@FORM.add("carry", "差額の翌月への繰越し")
class Carry(TenantOperation):
    """締め直された月の差額を、まだ確定していない月の明細として登録します。"""


@FORM.add("hand_over", "会計月の引き渡し")
class HandOver(Operation):
    """その月の会計ファイルを確定し、以後は変えません。取り込むのは、この後のファイルだけです。"""

    shows = NOTHING_YET
    of_month = False
    accounting_month: AccountingMonth
    earlier_months: EarlierMonths = False
    without_failed: WithoutFailed = False
    with_held: WithHeld = False


@FORM.add("record_payment", "入金の記録")
class RecordPayment(PaymentOperation):
    """請求書の入金を記録します。全額ならアプリでも PAID になります。テナントは 1 件だけ指定します。"""

    paid_on: PaidOn
    paid_amount: PaidAmount
    paid_method: PaidMethod
    paid_reference: PaidReference


@FORM.add("reverse_payment", "入金の取り消し")
class ReversePayment(TenantOperation):
    """誤って記録した入金か返金を取り消します。行は残ります。"""

    takes_former = True

    reason: Reason
    paid_reference: PaidReference
    paid_invoice: PaidInvoice = ""


@FORM.add("move_payment", "入金の付け替え")
class MovePayment(PaymentOperation):
    """入金を別の請求書へ移します。入金日は変わりません。テナントは 1 件だけ指定します。"""

    reason: Reason
    paid_reference: PaidReference
    paid_to: PaidTo
    paid_invoice: PaidInvoice = ""


@FORM.add("record_refund", "返金の記録")
class RecordRefund(RecordPayment):
    """過入金から客先へ返したお金を記録します。テナントは 1 件だけ指定します。"""

    reason: Reason
    paid_invoice: PaidInvoice = ""


@FORM.add("fee_difference", "手数料差額")
class FeeDifference(PaymentOperation):
    """入金から引かれた振込手数料を、売上の返還（設定によっては支払手数料）として記録します。書類は発行しません。1 万円未満だけです。"""

    because = "手数料は請求書 1 件ずつ記録します。"

    fee_on: FeeOn
    fee_amount: FeeAmount | None = None


@FORM.add("write_off", "貸倒れ")
class WriteOff(PaymentOperation):
    """請求書の残り（または一部）を貸倒れにします。その額は督促と年齢表から外れます。後で入金を記録すると、回収になります。"""

    because = "貸倒れは請求書 1 件ずつ記録します。"

    written_off_on: WrittenOffOn
    fact: Fact
    evidence: Evidence
    written_off_amount: WrittenOffAmount | None = None


@FORM.add("take_back_adjustment", "手数料差額・貸倒れの取り消し")
class TakeBackAdjustment(PaymentOperation):
    """誤って記録した手数料差額か貸倒れを、今日の日付で取り消します。行は残ります。"""

    because = "請求書 1 件ずつ取り消します。"

    adjustment: AdjustmentName
    reason: Reason


@FORM.add("import_payments", "入金ファイルの取込み")
class ImportPayments(Operation):
    """保存先の payments/ にある CSV の入金を 1 回だけ記録します。"""

    shows = NOTHING_YET
    of_month = False
    takes_former = True

    payment_file: PaymentFile


class ReminderOperation(TenantOperation):
    """An operation on the stop list of the reminders."""

    shows = Shows("invoices", unless="every_month")
    takes_former = True

    every_month: EveryMonth = False


@FORM.add("stop_reminders", "督促の停止")
class StopReminders(ReminderOperation):
    """対象月の請求書（または、すべての請求書）の督促を送りません。"""

    reason: Reason


@FORM.add("allow_reminders", "督促の再開")
class AllowReminders(ReminderOperation):
    """督促の停止を取り消します。"""
