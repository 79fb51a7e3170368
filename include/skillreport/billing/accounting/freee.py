"""freee会計「取引」のインポート: one unsettled income (未決済の収入) per entry, one row per tax category.

The first row of a document has 収支区分; rows without it belong to the document above. Amounts include the tax (内税). A credit note, a
reversal, a fee or a write-off is an income with negative amounts (赤伝). It reduces 売掛金 if freee's 赤伝用相手勘定科目 is 売掛金.

Received money is a settled income (決済済みの収入) on 売掛金, and money paid out is a settled expense (支出). They do not settle the
documents' incomes (消込), but the balance of 売掛金 is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from include.skillreport.billing.accounting.csv_form import CsvForm, code_cell, slashed, summary, yen
from include.skillreport.billing.accounting.entries import BookEntry, Booking, postings
from include.skillreport.billing.accounting.journal import accounts, partner_cells, tax_code
from include.skillreport.billing.settings import AccountingSettings

# The header of the template, unedited. Source: the vendor's help page 「取引・口座振替のインポート（一括登録）」 (support.freee.co.jp,
# article 202847320), read in November 2026. It asks to keep the header, describes 収支区分, 管理番号, 発生日 (YYYY/MM/DD) and 決済期日, and
# limits the file to 5 MB. The template is an attachment and was not downloaded. The 21 columns are spelled as in its public copies (2021 to
# 2026), which agree, also about 決済日, 決済口座 and 決済金額 of a settled 取引. Negative amounts are from the page
# 「登録済みの未決済取引に対して返品・返金（赤伝）の仕訳を登録する」 (article 4402148650009). freee rejects 普通預金 as 勘定科目 of an
# unsettled 取引 (developer.freee.co.jp, news/5930, about the API, read in November 2026).
COLUMNS = (
    "収支区分",
    "管理番号",
    "発生日",
    "決済期日",
    "取引先コード",
    "取引先",
    "勘定科目",
    "税区分",
    "金額",
    "税計算区分",
    "税額",
    "備考",
    "品目",
    "部門",
    "メモタグ（複数指定可、カンマ区切り）",
    "セグメント1",
    "セグメント2",
    "セグメント3",
    "決済日",
    "決済口座",
    "決済金額",
)


def freee(settings: AccountingSettings) -> CsvForm:
    """The form, with CRLF and the encoding of the settings (the template has UTF-8 with BOM)."""

    def rows(entry: BookEntry, _position: int) -> Iterator[list[str]]:
        return (_settled if entry.receipt else _unsettled)(settings, entry)

    return CsvForm("freee", COLUMNS, settings.freee.encoding, "\r\n", rows, _to_receivable)


def _unsettled(settings: AccountingSettings, entry: BookEntry) -> Iterator[list[str]]:
    due_on = entry.invoice.due_on if entry.booking is Booking.DOCUMENT else None
    head = [
        "収入",
        code_cell(entry.invoice.number),
        slashed(entry.booked_on),
        slashed(due_on),
        *partner_cells(settings.freee, entry),
    ]
    for posting in postings(entry):
        is_taxed, (account, _) = bool(posting.tax), accounts(settings, posting)
        yield [
            *head,
            account.account,
            tax_code(settings.freee, posting),
            yen(posting.gross),
            # freee rejects a tax amount for a tax code without tax.
            "内税" if is_taxed else "",
            yen(posting.tax) if is_taxed else "",
            summary(entry),
            account.sub_account,  # 品目 is freee's sub-account
            account.department,
            *[""] * 7,
        ]
        head = [""] * len(head)


def _settled(settings: AccountingSettings, entry: BookEntry) -> Iterator[list[str]]:
    day, receivable = slashed(entry.booked_on), settings.receivable
    for posting in postings(entry):
        amount = yen(abs(posting.gross))
        yield [
            "収入" if posting.gross < 0 else "支出",
            code_cell(entry.invoice.number),
            day,
            "",
            *partner_cells(settings.freee, entry),
            receivable.account,
            tax_code(settings.freee, posting),
            amount,
            "",
            "",
            summary(entry),
            receivable.sub_account,
            receivable.department,
            *[""] * 4,
            day,
            settings.freee.wallet,
            amount,
        ]


def _to_receivable(row: Mapping[str, str]) -> int:
    amount = int(row["金額"])
    return -amount if row["決済金額"] and row["収支区分"] == "収入" else amount
