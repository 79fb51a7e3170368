"""Finished invoices of every sort that a document has to show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from include.skillreport.billing.documents.credit_note import CreditedPart, credit_note
from include.skillreport.billing.documents.invoice import (
    DocumentReference,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    Issuer,
    Language,
    LineKind,
    Recipient,
    YenTax,
)
from include.skillreport.billing.money import RoundingMode, round_to_minor_unit
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, tax_totals

MONTH = (date(2026, 10, 1), date(2026, 10, 31))

ISSUER = Issuer(
    name="株式会社スキルレポート",
    registration_number="T1234567890123",
    postal_code="100-0005",
    address="東京都千代田区丸の内一丁目9番2号 丸の内タワー 12階",
    phone="03-1234-5678",
    email="billing@skill-report.example.jp",
    bank_account="みずほ銀行 東京営業部（001）普通 1234567 カ）スキルレポート",
    contact="経理部 佐藤",
)
ENGLISH_ISSUER = ISSUER.model_copy(
    update={
        "name": "Skill Report Inc.",
        "address": "Marunouchi Tower 12F, 1-9-2 Marunouchi, Chiyoda-ku, Tokyo 100-0005, Japan",
        "phone": "+81-3-1234-5678",
        "contact": "Accounts Receivable",
        "bank_account": "Mizuho Bank, Tokyo (SWIFT/BIC: MHCBJPJT)\nOrdinary 1234567, Skill Report Inc.",
    }
)
RECIPIENT = Recipient(
    name="株式会社青葉商事",
    department=None,
    postal_code="980-0811",
    address="宮城県仙台市青葉区一番町三丁目7番1号",
)


def line(
    position: int,
    description: str,
    amount: str,
    *,
    kind: LineKind = LineKind.USAGE,
    quantity: str | None = "1",
    unit: str | None = "件",
    unit_amount: str | None = None,
    category: TaxCategory = TaxCategory.STANDARD,
    explanation: tuple[str, ...] = (),
) -> InvoiceLine:
    return InvoiceLine(
        position=position,
        kind=kind,
        description=description,
        plan="standard",
        metric=None,
        quantity=None if quantity is None else Decimal(quantity),
        unit=unit,
        unit_amount=Decimal(unit_amount or amount) if quantity is not None else None,
        exact_amount=Decimal(amount),
        amount=Decimal(amount),
        tax_category=category,
        service_from=MONTH[0],
        service_to=MONTH[1],
        explanation=explanation,
    )


def invoice(
    lines: Sequence[InvoiceLine],
    *,
    currency: str = "JPY",
    tax_included: bool = False,
    yen_per_unit: str | None = None,
    recipient: Recipient = RECIPIENT,
    issuer: Issuer = ISSUER,
    number: str | None = "INV-2026-10-001",
) -> Invoice:
    totals = tax_totals(
        [(each.tax_category, each.amount) for each in lines],
        on=MONTH[1],
        included=tax_included,
        currency=currency,
        rounding=RoundingMode.FLOOR,
    )
    subtotal = sum((each.amount for each in lines), Decimal(0))
    tax = sum((total.tax_amount for total in totals), Decimal(0))
    return Invoice(
        kind=InvoiceKind.INVOICE,
        number=number,
        original_number=None,
        issued_on=None if number is None else date(2026, 11, 1),
        due_on=None if number is None else date(2026, 11, 30),
        period_start=MONTH[0],
        period_end=MONTH[1],
        tenant_id="7f0c2b0e-0000-4000-8000-000000000001",
        tenant_code="aoba",
        currency=currency,
        tax_included=tax_included,
        issuer=issuer,
        recipient=recipient,
        lines=tuple(lines),
        tax_totals=totals,
        yen_tax=_yen_tax(lines, Decimal(yen_per_unit), included=tax_included) if yen_per_unit else None,
        subtotal=subtotal,
        tax=tax,
        total=subtotal if tax_included else subtotal + tax,
    )


def _yen_tax(lines: Sequence[InvoiceLine], yen_per_unit: Decimal, *, included: bool) -> YenTax:
    yen_lines = [
        (each.tax_category, round_to_minor_unit(each.amount * yen_per_unit, "JPY", RoundingMode.FLOOR))
        for each in lines
    ]
    return YenTax(
        yen_per_unit=yen_per_unit,
        rate_date=MONTH[1],
        totals=tax_totals(
            yen_lines, on=MONTH[1], included=included, currency="JPY", rounding=RoundingMode.FLOOR
        ),
    )


def ordinary() -> Invoice:
    return invoice(
        [
            line(1, "スタンダードプラン 基本料金", "50000", kind=LineKind.BASE_FEE, unit="か月"),
            line(
                2,
                "アクティブユーザー",
                "96000",
                quantity="120",
                unit="名",
                unit_amount="800",
                explanation=("利用 150 名", "無料枠 30 名を除き 120 名", "120 名 × 800 円 = 96,000 円"),
            ),
            line(3, "API 呼び出し", "1172", quantity="2345", unit="回", unit_amount="0.5"),
            line(
                4,
                "年間契約割引（10%）",
                "-14717",
                kind=LineKind.PERCENTAGE_DISCOUNT,
                quantity=None,
                unit=None,
                explanation=("147,172 円 × 10% = 14,717.2 円",),
            ),
        ]
    )


# Three printed lines, so that a page break could split them.
_WORDY = tuple(f"第{step}段階は契約書別表の単価による" for step in range(1, 6))


def many_lines(count: int = 70) -> Invoice:
    return invoice(
        [
            line(
                position,
                f"部門別レポート作成 第{position:03}部門",
                str(position * 110),
                quantity=str(position),
                unit="件",
                unit_amount="110",
                explanation=() if position % 3 == 0 else _WORDY,
            )
            for position in range(1, count + 1)
        ]
    )


def mixed_rates(*, tax_included: bool = False) -> Invoice:
    return invoice(
        [
            line(1, "スタンダードプラン 基本料金", "50000", kind=LineKind.BASE_FEE),
            line(
                2,
                "定期購読の新聞",
                "4320",
                category=TaxCategory.REDUCED,
                quantity="2",
                unit="部",
                unit_amount="2160",
            ),
            line(3, "行政手数料の立替", "1300", category=TaxCategory.EXEMPT),
        ],
        tax_included=tax_included,
    )


def us_dollars() -> Invoice:
    return invoice(
        [
            line(1, "Enterprise plan", "1200.00", kind=LineKind.BASE_FEE, unit="month"),
            line(2, "API calls", "345.68", quantity="34567.5", unit="thousand", unit_amount="0.01"),
        ],
        currency="USD",
        yen_per_unit="151.235",
    )


def kuwaiti_dinars() -> Invoice:
    return invoice(
        [
            line(1, "Base fee", "1234.567", kind=LineKind.BASE_FEE),
            line(2, "Newspaper", "9.125", category=TaxCategory.REDUCED),
        ],
        currency="KWD",
        yen_per_unit="489.1",
    )


def credit() -> Invoice:
    return draft_credit(mixed_rates()).finalized("CRN-2026-000007", date(2026, 11, 12), None)


def draft_credit(original: Invoice, reason: str = "解約のため") -> Invoice:
    """Of everything."""
    return credit_note(original, (), None, reason=reason, rounding=RoundingMode.FLOOR)


def part_credit(original: Invoice, amount: str, reason: str = "10月12日の障害のため") -> Invoice:
    """A credit note for a part of the original's first line, in the original's language."""
    drafted = credit_note(
        original, (), [CreditedPart(1, Decimal(amount))], reason=reason, rounding=RoundingMode.FLOOR
    )
    return drafted.finalized("CRN-2026-000008", date(2026, 11, 13), None)


def full_credit(original: Invoice, reason: str = "解約のため") -> Invoice:
    return draft_credit(original, reason).finalized("CRN-2026-000009", date(2026, 11, 14), None)


def replacement(original: Invoice) -> Invoice:
    """An invoice in place of INV-2026-000100."""
    replaced = DocumentReference(number="INV-2026-000100", issued_on=date(2026, 10, 28))
    return original.model_copy(update={"replaces": replaced})


def english(*, country: str | None = "DE", category: TaxCategory = TaxCategory.NOT_TAXABLE) -> Invoice:
    """In euros, for a recipient abroad."""
    recipient = Recipient(
        name="Grünwald & Söhne GmbH",
        department="Accounts Payable",
        address="Königstraße 12",
        postal_code="70173 Stuttgart",
        country=country,
    )
    made = invoice(
        [
            line(
                1,
                "Standard plan: base fee",
                "1234.50",
                kind=LineKind.BASE_FEE,
                unit="month",
                category=category,
            ),
            line(
                2,
                "Additional users",
                "96.00",
                quantity="120",
                unit="users",
                unit_amount="0.80",
                category=category,
                explanation=("Maximum of active users: 150 (31 days)", "Less 30 users free: 120 users"),
            ),
            line(
                3,
                "Volume discount (10%)",
                "-133.05",
                quantity=None,
                unit=None,
                kind=LineKind.PERCENTAGE_DISCOUNT,
                category=category,
            ),
        ],
        currency="EUR",
        yen_per_unit="162.5",
        recipient=recipient,
        issuer=ENGLISH_ISSUER,
    )
    return made.model_copy(update={"language": "en"})


# Legal names with the property that they test: the script, and the requirement for its fonts.
NAMES = {
    "Latin": "Škoda Łódź Ğüneş Công ty Cổ phần Việt Á",
    "Greek": "Ελληνικός Οργανισμός Τηλεπικοινωνιών Α.Ε.",
    "Cyrillic": "Публичное акционерное общество «Їжак»",
    "Thai": "บริษัท ทักษะกรุงเทพ จำกัด (มหาชน)",
    "Arabic": "شركة المهارات المحدودة",
    "Hangul": "주식회사 한국기술평가",
    "simplified Chinese": "上海华东技术发展有限公司",
    "traditional Chinese": "臺灣國際開發股份有限公司",
}


def named(name: str, *, language: Language, country: str) -> Invoice:
    made = english() if language == "en" else ordinary()
    recipient = made.recipient.model_copy(update={"name": name, "country": country})
    return made.model_copy(update={"recipient": recipient})


def draft() -> Invoice:
    return invoice(ordinary().lines, number=None)


def rare_characters() -> Invoice:
    return invoice(
        [line(1, "㈱𠮷田 様向け ①Ⅲ㎡ﾊﾝｶｸ", "1000"), line(2, "辻󠄀・葛󠄀・神", "2000")],
        recipient=RECIPIENT.model_copy(update={"name": "髙橋﨑商店㈱", "department": "𠮷田支店"}),
    )


def long_names() -> Invoice:
    name = "株式会社" + "日本人材育成技能評価推進総合研究開発" * 3
    return invoice(
        [
            line(
                1,
                "全社共通基盤利用料および部門別技能評価報告書作成支援サービス一式（東日本地域）" * 3,
                "123456789",
            ),
            line(
                2, "https://reports.example.jp/" + "a0" * 60, "1", quantity="123456789", unit="ページビュー"
            ),
        ],
        issuer=ISSUER.model_copy(
            update={
                "name": name + "ホールディングス",
                "email": "seikyu." + "a" * 60 + "@example.jp",
                "address": ISSUER.address * 3,
            }
        ),
        recipient=RECIPIENT.model_copy(
            update={
                "name": name,
                "department": "経営管理本部グローバル財務統括部購買業務センター第二支払管理課",
                "address": "北海道" * 30,
            }
        ),
    )


MARKUP_LIKE = (
    '#panic("x")',
    "$x$",
    "*bold*",
    '=HYPERLINK("x")',
    "<b>&amp;</b>",
    "\\u{41}",
    "// note",
    "= 見出し",
)


def markup_like() -> Invoice:
    return invoice(
        [line(position, text, "100", explanation=(text,)) for position, text in enumerate(MARKUP_LIKE, 1)],
        recipient=RECIPIENT.model_copy(update={"name": '=HYPERLINK("x")', "address": '#panic("x")'}),
        issuer=ISSUER.model_copy(update={"bank_account": "$x$ *bold*"}),
    )
