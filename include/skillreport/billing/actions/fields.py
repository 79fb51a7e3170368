"""The fields of the accountant's operations on invoices, with titles and hints. The DAG file imports this module."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer

from include.skillreport.billing.second_person import CONFIRMATION
from include.skillreport.core.entered import entered_number, plain
from include.skillreport.core.form_fields import (
    Choice,
    Code,
    Day,
    Field,
    Flag,
    Lines,
    Month,
    Number,
    ReasonField,
)

PAYMENTS = "payments"

# A credited line: 2=1500 (amount) or 2=3x (quantity).
_CREDITED = re.compile(r"\s*([0-9]{1,6})\s*[=:]\s*([0-9,.]+)\s*([xX×]?)\s*")

# The choices of a tax category, labelled as in include/skillreport/billing/pricing/consumption_tax.py.
TAX_CATEGORIES = {
    "standard": "課税（標準税率）",
    "reduced": "軽減税率",
    "exempt": "非課税",
    "not_taxable": "不課税",
    "export": "免税（輸出）",
    "out_of_scope": "対象外",
}


# The facts that allow deducting a bad debt's consumption tax (消費税法第39条第1項, 施行令第59条, 施行規則第18条).
BAD_DEBT_FACTS = {
    "reorganisation": "更生計画認可の決定による切捨て",
    "rehabilitation": "再生計画認可の決定による切捨て",
    "liquidation": "特別清算の協定の認可による切捨て",
    "insolvency": "全額を弁済できないことが明らか",
    "equivalent": "準ずる事実（協議決定による切捨て、書面による債務免除など）",
    "none": "どれにも当たらない（消費税は控除しない）",
}

ADJUSTMENTS = {"fee": "手数料差額", "write_off": "貸倒れ"}


class CreditLine(NamedTuple):
    """A part of an invoice line to credit: a quantity, or an amount, with tax if the price list includes it.

    ``position`` is the printed line number.
    """

    position: int
    number: Decimal
    is_quantity: bool

    def entered(self) -> str:
        """The line as entered."""
        return f"{self.position}={self.number:f}{'x' if self.is_quantity else ''}"


class _CreditLines(Lines):
    of_invoice = True
    example = ("2=1500",)

    def read_line(self, line: Any) -> CreditLine:
        match = _CREDITED.fullmatch(plain(str(line)))
        number = entered_number(match[2]) if match else None
        if match is None or number is None:
            raise ValueError(
                f"の {str(line)[:40]!r} が読めません。"
                "「行番号=金額」（例 2=1500）か「行番号=数量x」（例 2=3x）で、1 行に 1 件書いてください。"
            )
        return CreditLine(int(match[1]), number, bool(match[3]))


def _positive(amount: Decimal) -> str:
    return "" if amount > 0 else "は 0 より大きくしてください。"


def _file_name_problem(name: str) -> str:
    if name.startswith(".") or ".." in name or any(part in name for part in ("/", "\\", "\0")):
        return f"の {name!r} は使えません。保存先の {PAYMENTS}/ にあるファイルの名前だけを、フォルダーなしで指定してください。"
    return ""


Tenants = Annotated[
    tuple[str, ...],
    Lines("テナントコード", "操作するテナントのコード（1行に1件）。必須です。", is_target=True),
]
Reason = Annotated[
    str,
    ReasonField(
        "記録に残り、返還と取消の通知では取引先にも見えます（英語の請求書では英語で）。",
        example="宛名の誤り",
    ),
]
CreditedLines = Annotated[
    tuple[Annotated[CreditLine, PlainSerializer(CreditLine.entered)], ...],
    _CreditLines(
        "返還する明細",
        "1 行に 1 件。請求書の行番号と税抜（税込の料金表なら税込）の金額（例 2=1500）か、数量（例 2=3x）。"
        "数量は、行の金額 ÷ 行の数量の単価（段階のある料金では平均の単価）で計算します。",
    ),
]
Confirmed = Annotated[
    str,
    Field(
        CONFIRMATION,
        "設定 billing.second_person が none のときだけ。自分が登録したものの金額の合計（符号なし。訂正なら請求額）を入力すると、"
        "1 人で承認できます。テナントは 1 件だけ指定します。",
        example="60000",
    ),
]
AllowIncomplete = Annotated[
    bool,
    Flag(
        "未集計の日があっても請求する", "使用量が締まっていない日があっても、締まっている日だけで請求します。"
    ),
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
        "請求書に印刷されます（英語の請求先では英語で）。例: 初期設定の作業費。取り消すときは登録した内容か、明細の ID。",
        example="初期設定の作業費",
        is_target=True,
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
LineUnit = Annotated[
    str, Field("単位", "例: 式、時間（英語の請求先では英語で）。空欄でもかまいません。", example="時間")
]
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
        "計上日の月です。BATCH-018-02 が終わった月だけです（Airflow のフォームでは、その月のどれか 1 日）。",
        is_target=True,
    ),
]
EarlierMonths = Annotated[
    bool,
    Flag(
        "前の月もまとめて閉じる",
        "最初の確定でだけ使えます。前の月の書類を別の方法で渡し済みなら選びます。閉じた月は元に戻せません。",
    ),
]
WithoutFailed = Annotated[
    bool,
    Flag(
        "失敗したテナントを除いて確定する",
        "BATCH-018-02 で失敗したままのテナントの請求は、後で確定した日に開いている月に入ります。",
    ),
]
WithHeld = Annotated[
    bool,
    Flag("保留中の請求を残して確定する", "保留中の請求は、後で承認した日に開いている月に入ります。"),
]
WithWaiting = Annotated[
    bool,
    Flag(
        "確定待ちの振込を残して確定する",
        "月末までの確定待ちの振込と、取り込んでいない銀行のファイルの入金は、後で記録した日に開いている月に入ります。",
    ),
]
PaidOn = Annotated[date, Day("入金日", "口座に入金された日。返金なら返した日（日本時間、YYYY-MM-DD）。")]
PaidAmount = Annotated[Decimal, Number("入金額", "請求書の通貨での額。一部でもかまいません。例: 11000")]
PaidMethod = Annotated[
    str, Field("支払方法", "例: 銀行振込。アプリの請求データにも入ります。", example="銀行振込")
]
# A file of payments may have any text as a reference, so full-width letters stay.
PaidReference = Annotated[
    str,
    Field(
        "参照番号",
        "入金を区別する番号（銀行の照会番号など）。同じ請求書に同じ番号は 1 回だけ記録します。",
        example="FT-20261031-01",
        is_target=True,
    ),
]
IsOther = Annotated[
    bool,
    Flag(
        "記録済みの入金とは別",
        "同じテナントに、同じ日の同じ額の入金が記録されていても、別の入金として記録します。",
        example=False,
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
MovedAmount = Annotated[
    Decimal,
    Number(
        "付け替える額",
        "請求書の通貨での額。空欄なら入金の全部。過入金の一部だけを移すときに書きます。例: 3000",
        example="3000",
        problem=_positive,
    ),
]
PaidInvoice = Annotated[
    str,
    Code(
        "入金のある請求書",
        "対象月に候補の請求書が複数あるときだけ、番号で選びます。",
        example="INV-2026-10-001",
        is_target=True,
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
        "請求書の通貨での額。円の請求書では、空欄なら残りの全部（設定 billing.fee_tolerance の額まで）。例: 660",
        example="660",
        problem=_positive,
    ),
]
WrittenOffOn = Annotated[
    date, Day("貸倒れの日", "事実が起きた日。帳簿の日付になります（日本時間、YYYY-MM-DD）。")
]
WrittenOffAmount = Annotated[
    Decimal,
    Number(
        "貸倒れの額",
        "請求書の通貨での額。空欄なら残りの全部。切り捨てられた額だけのとき、備忘価額を残すときに書きます。例: 8800",
        example="8800",
        problem=_positive,
    ),
]
Fact = Annotated[
    str, Choice("貸倒れの事実", "消費税を控除できる事実です。", example="insolvency", choices=BAD_DEBT_FACTS)
]
Evidence = Annotated[
    str,
    Field(
        "貸倒れの事実を証する書類",
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
    Flag(
        "すべての月",
        "対象月の請求書だけでなく、テナントのすべての請求書の督促を止めます（再開します）。",
        is_target=True,
    ),
]
