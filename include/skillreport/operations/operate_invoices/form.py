"""The accountant's operations on invoices: their texts and fields. The DAG file imports this module."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import PlainSerializer

from include.skillreport.core.catalog import OPERATE_INVOICES
from include.skillreport.core.entered import plain
from include.skillreport.operations.form import (
    Choice,
    Code,
    Day,
    Field,
    Flag,
    Lines,
    Month,
    Number,
    Operation,
    OperationForm,
    refusal,
)
from include.skillreport.operations.operate_invoices import correction_fields

FORM = OperationForm(OPERATE_INVOICES)

# If the day of a line is further away, it is a typing error.
_LONGEST_AHEAD = timedelta(days=365)

# The folder of the payment files in the object store.
PAYMENTS = "payments"

# A credited line: 2=1500 (amount) or 2=3x (quantity).
_CREDITED = re.compile(r"\s*([0-9]{1,6})\s*[=:]\s*([0-9,.]+)\s*([xX×]?)\s*")

# The choices of a tax category, with the labels of include/skillreport/billing/pricing/consumption_tax.py.
TAX_CATEGORIES = {
    "standard": "課税（標準税率）",
    "reduced": "軽減税率",
    "exempt": "非課税",
    "not_taxable": "不課税",
    "export": "免税（輸出）",
    "out_of_scope": "対象外",
}


# The facts by which the consumption tax in a bad debt is deducted (消費税法第39条第1項, 施行令第59条, 施行規則第18条).
BAD_DEBT_FACTS = {
    "reorganisation": "更生計画認可の決定による切捨て",
    "rehabilitation": "再生計画認可の決定による切捨て",
    "liquidation": "特別清算の協定の認可による切捨て",
    "insolvency": "全額を弁済できないことが明らか",
    "equivalent": "準ずる事実（協議決定による切捨て、書面による債務免除、取引停止から 1 年以上など）",
    "none": "どれにも当たらない（消費税は控除しない）",
}

ADJUSTMENTS = {"fee": "手数料差額", "write_off": "貸倒れ"}


class CreditLine(NamedTuple):
    """A part of an invoice's line to credit: an amount without tax, or a quantity. ``position`` is the line's number on paper."""

    position: int
    number: Decimal
    is_quantity: bool

    def entered(self) -> str:
        """The line as it is entered."""
        return f"{self.position}={self.number:f}{'x' if self.is_quantity else ''}"


class _CreditLines(Lines):
    example = ("2=1500",)

    def read_line(self, line: Any) -> CreditLine:
        from include.skillreport.billing.money import entered_number

        match = _CREDITED.fullmatch(plain(str(line)))
        number = entered_number(match[2]) if match else None
        if match is None or number is None:
            raise ValueError(
                f"の {str(line)[:40]!r} が読めません。"
                "「行番号=金額」（例 2=1500）か「行番号=数量x」（例 2=3x）で、1 行に 1 件書いてください。"
            )
        return CreditLine(int(match[1]), number, bool(match[3]))


def _file_name_problem(name: str) -> str:
    if name.startswith(".") or ".." in name or any(part in name for part in ("/", "\\", "\0")):
        return f"の {name!r} は使えません。保存先の {PAYMENTS}/ にあるファイルの名前だけを、フォルダーなしで指定してください。"
    return ""


Tenants = Annotated[
    tuple[str, ...], Lines("テナントコード", "操作するテナントのコード（1行に1件）。必須です。")
]
Reason = Annotated[
    str,
    Field("理由", "必須です。記録に残り、返還請求書と取消の通知では客先にも見えます。", example="宛名の誤り"),
]
CreditedLines = Annotated[
    tuple[Annotated[CreditLine, PlainSerializer(CreditLine.entered)], ...],
    _CreditLines("返還する明細", "1 行に 1 件。請求書の行番号と税抜の金額（例 2=1500）か、数量（例 2=3x）。"),
]
AllowIncomplete = Annotated[
    bool, Flag("未締め日を許す", "使用量が締まっていない日があっても、締まっている日だけで請求します。")
]
AcceptChange = Annotated[
    bool,
    Flag(
        "大きな変動を認める",
        "前月から大きく変わる請求額や、特定できない利用者の多い月を、確認のうえで認めます。",
    ),
]
AcceptNearDue = Annotated[
    bool,
    Flag(
        "期限が近くても送る",
        "支払期限までの日数が、発行したときより、また設定の最低日数より短くても送ります。",
    ),
]
LineDate = Annotated[
    date, Day("利用日", "この日の月の請求書に載ります（日本時間、YYYY-MM-DD。1 年先まで）。")
]
LineText = Annotated[
    str,
    Field(
        "内容",
        "請求書に印刷されます。例: 初期設定の作業費。取り消すときは登録した内容か、明細の ID。",
        example="初期設定の作業費",
    ),
]
LinePrice = Annotated[
    Decimal,
    Number(
        "単価",
        "料金表と同じ税込・税抜の単価。負の数は減額。例: 50000、-3000",
        problem=lambda price: "" if price else "が 0 です。0 以外の金額を指定してください。",
    ),
]
LineQuantity = Annotated[
    Decimal,
    Number(
        "数量",
        "空欄なら 1。",
        example="2",
        problem=lambda quantity: (
            "" if quantity > 0 else "は 0 より大きくしてください。減額は単価を負の数にします。"
        ),
    ),
]
LineUnit = Annotated[str, Field("単位", "例: 式、時間。空欄でもかまいません。", example="時間")]
LineTax = Annotated[
    str, Choice("税区分", "空欄なら課税（標準税率）。", example="reduced", choices=TAX_CATEGORIES)
]
AgainSame = Annotated[
    bool,
    Flag("同じ内容をもう一度", "90 日以内に登録したものと、月、内容（理由）、金額が同じでも登録します。"),
]
AccountingMonth = Annotated[
    date,
    Month(
        "会計月",
        "引き渡す月のどれか 1 日（取引日の月。YYYY-MM-DD）。BATCH-018-02 が終わった月だけです。"
        "前の月の書類も渡し済みなら、初回だけ「理由」を書くとまとめて閉じます。",
    ),
]
WithoutFailed = Annotated[
    bool,
    Flag(
        "失敗したテナントを除いて引き渡す",
        "BATCH-018-02 で失敗したままのテナントの請求は、後で確定した日に開いている月に入ります。",
    ),
]
WithHeld = Annotated[
    bool,
    Flag("保留中の請求を残して引き渡す", "保留中の請求は、後で承認した日に開いている月に入ります。"),
]
PaidOn = Annotated[date, Day("入金日", "口座に入金された日。返金なら返した日（日本時間、YYYY-MM-DD）。")]
PaidAmount = Annotated[Decimal, Number("入金額", "請求書の通貨での額。一部でもかまいません。例: 11000")]
PaidMethod = Annotated[
    str, Field("支払方法", "例: 銀行振込。アプリの請求データにも入ります。", example="銀行振込")
]
# A file of payments has any text as a reference, so full-width letters stay.
PaidReference = Annotated[
    str,
    Field(
        "参照番号",
        "入金を区別する番号（銀行の照会番号など）。同じ請求書に同じ番号は 1 回だけ記録します。",
        example="FT-20261031-01",
    ),
]
PaidTo = Annotated[
    str,
    Code(
        "付け替え先の請求書",
        "入金を受ける請求書の番号（同じテナント、同じ通貨）。例: INV-2026-11-001",
        example="INV-2026-11-001",
    ),
]
PaidInvoice = Annotated[
    str,
    Code(
        "入金のある請求書",
        "対象月に候補の請求書が複数あるときだけ、番号で選びます。",
        example="INV-2026-10-001",
    ),
]
PaymentFile = Annotated[
    str,
    Field(
        "入金ファイル",
        "保存先の payments/ にある CSV の名前。例: 2026-11.csv",
        example="2026-11.csv",
        problem=_file_name_problem,
    ),
]
FeeOn = Annotated[date, Day("手数料の日", "入金された日。帳簿の日付になります（日本時間、YYYY-MM-DD）。")]
FeeAmount = Annotated[
    Decimal,
    Number(
        "手数料の額",
        "請求書の通貨での額。空欄なら残りの全部（設定 billing.fee_tolerance の額まで）。例: 660",
        example="660",
        problem=lambda amount: "" if amount > 0 else "は 0 より大きくしてください。",
    ),
]
WrittenOffOn = Annotated[
    date, Day("貸倒れの日", "事実が起きた日。帳簿の日付になります（日本時間、YYYY-MM-DD）。")
]
Fact = Annotated[
    str, Choice("貸倒れの事実", "消費税を控除できる事実です。", example="insolvency", choices=BAD_DEBT_FACTS)
]
Evidence = Annotated[
    str,
    Field(
        "証拠の書類",
        "必須です。書類の名前と保管場所。記録に残ります。",
        example="再生計画認可決定の写し（契約書庫 2026-41）",
    ),
]
AdjustmentName = Annotated[
    str,
    Choice(
        "取り消す記録", "請求書のこの種類の記録をすべて取り消します。", example="fee", choices=ADJUSTMENTS
    ),
]
EveryMonth = Annotated[
    bool,
    Flag("すべての月", "対象月の請求書だけでなく、テナントのすべての請求書の督促を止めます（再開します）。"),
]


class TenantOperation(Operation):
    """An operation on the month's invoices of the tenants. If it has a reason ``because``, it works on exactly one tenant."""

    because: ClassVar[str] = ""

    tenants: Tenants

    def check(self, _: date, /) -> None:
        if self.because and len(set(self.tenants)) != 1:
            raise refusal(
                f"操作「{self.title}」では「テナントコード」（tenants）に 1 件だけ指定してください。{self.because}"
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

    reason: Reason
    allow_incomplete: AllowIncomplete = False


@FORM.add("correct", "訂正")
class Correct(TenantOperation):
    """番号と金額を変えずに、宛名、明細の内容、備考、支払期限を訂正した請求書を作り、客先に送ります。入金の前でも後でも使えます。
    前の書類も残ります。テナントは 1 件だけ指定します。"""

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
    """止めた請求書か、発送日を待つ請求書のメールを、次の BATCH-019-01 で送ります。"""

    reason: Reason
    accept_near_due: AcceptNearDue = False


@FORM.add("extra_line", "個別明細の追加")
class ExtraLine(TenantOperation):
    """利用日の月の請求書に載る明細を登録します。"""

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

    line_text: LineText
    line_date: LineDate | None = None


@FORM.add("carry", "差額の翌月への繰越し")
class Carry(TenantOperation):
    """締め直された月の差額を、まだ確定していない月の明細として登録します。"""


@FORM.add("hand_over", "会計月の引き渡し")
class HandOver(Operation):
    """その月の会計ファイルを確定し、以後は変えません。取り込むのは、この後のファイルだけです。"""

    accounting_month: AccountingMonth
    # It states that the accountant has the earlier months' documents.
    reason: Reason = ""
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
    """請求書の残りを貸倒れにします。督促と年齢表から外れます。後で入金を記録すると、回収になります。"""

    because = "貸倒れは請求書 1 件ずつ記録します。"

    written_off_on: WrittenOffOn
    fact: Fact
    evidence: Evidence


@FORM.add("take_back_adjustment", "手数料差額・貸倒れの取り消し")
class TakeBackAdjustment(PaymentOperation):
    """誤って記録した手数料差額か貸倒れを、今日の日付で取り消します。行は残ります。"""

    because = "請求書 1 件ずつ取り消します。"

    adjustment: AdjustmentName
    reason: Reason


@FORM.add("import_payments", "入金ファイルの取込み")
class ImportPayments(Operation):
    """保存先の payments/ にある CSV の入金を 1 回だけ記録します。"""

    takes_former = True

    payment_file: PaymentFile


class ReminderOperation(TenantOperation):
    """An operation on the stop list of the reminders."""

    takes_former = True

    every_month: EveryMonth = False


@FORM.add("stop_reminders", "督促の停止")
class StopReminders(ReminderOperation):
    """対象月の請求書（または、すべての請求書）の督促を送りません。"""

    reason: Reason


@FORM.add("allow_reminders", "督促の再開")
class AllowReminders(ReminderOperation):
    """督促の停止を取り消します。"""
