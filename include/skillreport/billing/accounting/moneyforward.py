"""マネーフォワード クラウド会計「仕訳帳」のインポート: 売掛金 / 売上高, or the account of an adjustment or of the bank, with tax included.

There is one row per tax category. Rows with the same 取引No and 取引日 are one compound entry. Amounts are never negative: if the entry
reduces the receivable, debit and credit are exchanged. 借方インボイス is empty: the import then sets 適格 for a purchase.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from include.skillreport.billing.accounting.csv_form import (
    CsvForm,
    code_cell,
    slashed,
    summary,
    text_cell,
    yen,
)
from include.skillreport.billing.accounting.entries import BookEntry, Posting, postings
from include.skillreport.billing.accounting.journal import accounts, tax_code, to_receivable
from include.skillreport.billing.settings import AccountingSettings, AccountSettings

# The header of the template, unedited. Sources: the vendor's help pages 「仕訳帳」をインポートする (biz.moneyforward.com,
# guide/import-books/ib01.html) and 「インポート」の使い方 of クラウド会計Plus (guide/journal2/import2.html), read in November 2026. They
# ask to keep the first row of the columns A to AA (27) unchanged, to number 取引No from 1, and to spell accounts, sub-accounts, tax codes
# and departments as registered. They show the template as pictures. The 27 columns are spelled as in public copies of the template (2026),
# which agree. The template itself is behind a login and was not downloaded.
COLUMNS = (
    "取引No",
    "取引日",
    "借方勘定科目",
    "借方補助科目",
    "借方部門",
    "借方取引先",
    "借方税区分",
    "借方インボイス",
    "借方金額(円)",
    "借方税額",
    "貸方勘定科目",
    "貸方補助科目",
    "貸方部門",
    "貸方取引先",
    "貸方税区分",
    "貸方インボイス",
    "貸方金額(円)",
    "貸方税額",
    "摘要",
    "仕訳メモ",
    "タグ",
    "MF仕訳タイプ",
    "決算整理仕訳",
    "作成日時",
    "作成者",
    "最終更新日時",
    "最終更新者",
)

# The longest 摘要 that the import accepts.
_SUMMARY_CHARACTERS = 200


def moneyforward(settings: AccountingSettings) -> CsvForm:
    """The form, with the line ends of the template (LF) and the encoding of the settings."""

    def rows(entry: BookEntry, position: int) -> Iterator[list[str]]:
        partner = _partner(settings, entry)
        for posting in postings(entry):
            code = tax_code(settings.moneyforward, posting)
            debit = _side(settings.receivable, partner, settings.moneyforward.none, posting, tax="")
            contra, _ = accounts(settings, posting)
            credit = _side(contra, partner, code, posting, tax=yen(abs(posting.tax)) if posting.tax else "")
            if posting.gross < 0:
                debit, credit = credit, debit
            yield [
                str(position),
                slashed(entry.booked_on),
                *debit,
                *credit,
                summary(entry)[:_SUMMARY_CHARACTERS],
                code_cell(entry.invoice.number),
                *[""] * 7,
            ]

    def yen_of(row: Mapping[str, str]) -> int:
        return to_receivable(settings, row, "金額(円)")

    return CsvForm("moneyforward", COLUMNS, settings.moneyforward.encoding, "\n", rows, yen_of)


def _side(account: AccountSettings, partner: str, code: str, posting: Posting, *, tax: str) -> list[str]:
    """勘定科目, 補助科目, 部門, 取引先, 税区分, インボイス (empty), 金額 and 税額."""
    return [
        account.account,
        account.sub_account,
        account.department,
        partner,
        code,
        "",
        yen(abs(posting.gross)),
        tax,
    ]


def _partner(settings: AccountingSettings, entry: BookEntry) -> str:
    if settings.moneyforward.partner == "none":
        return ""
    if settings.moneyforward.partner == "code":
        return code_cell(entry.partner_code)
    return text_cell(entry.invoice.recipient.name)
