"""The journal: per entry and tax category 売掛金 / 売上高 and 売掛金 / 仮受消費税, or the account of an adjustment or of the bank.

Debit and credit are equal in each row. They are exchanged if the entry reduces the receivable (a credit note, a reversal, a payment).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from include.skillreport.billing.accounting.csv_form import (
    CsvForm,
    code_cell,
    slashed,
    summary,
    text_cell,
    yen,
)
from include.skillreport.billing.accounting.entries import BookEntry, Posting, postings
from include.skillreport.billing.receivables.adjustment import Contra
from include.skillreport.billing.settings import AccountingFormatSettings, AccountingSettings, AccountSettings

COLUMNS = (
    "取引日",
    "伝票番号",
    "行番号",
    "借方勘定科目",
    "借方補助科目",
    "借方部門",
    "借方税区分",
    "借方金額",
    "貸方勘定科目",
    "貸方補助科目",
    "貸方部門",
    "貸方税区分",
    "貸方金額",
    "取引先コード",
    "取引先名",
    "摘要",
)


def journal(settings: AccountingSettings) -> CsvForm:
    """The form, with CRLF and the encoding of the settings."""

    def rows(entry: BookEntry, _position: int) -> Iterator[list[str]]:
        form = settings.journal
        number = 0
        for posting in postings(entry):
            code = tax_code(form, posting)
            contra, tax = accounts(settings, posting)
            for account, amount in ((contra, posting.net), (tax, posting.tax)):
                if not amount:
                    continue
                number += 1
                debit, credit = (
                    _side(settings.receivable, form.none, amount),
                    _side(account, code, amount),
                )
                if amount < 0:
                    debit, credit = credit, debit
                yield [
                    slashed(entry.booked_on),
                    code_cell(entry.invoice.number),
                    str(number),
                    *debit,
                    *credit,
                    *partner_cells(form, entry),
                    summary(entry),
                ]

    def yen_of(row: Mapping[str, str]) -> int:
        return to_receivable(settings, row, "金額")

    return CsvForm("journal", COLUMNS, settings.journal.encoding, "\r\n", rows, yen_of)


def to_receivable(settings: AccountingSettings, row: Mapping[str, str], amount: str) -> int:
    """The yen that a row of debit and credit adds to the receivables. ``amount`` is the end of the amount columns' names."""
    account = settings.receivable
    debited = (row["借方勘定科目"], row["借方補助科目"], row["借方部門"])
    is_debit = debited == (account.account, account.sub_account, account.department)
    return int(row[f"借方{amount}"]) if is_debit else -int(row[f"貸方{amount}"])


def accounts(settings: AccountingSettings, posting: Posting) -> tuple[AccountSettings, AccountSettings]:
    """The account against the receivable, and the account of its tax."""
    fees = settings.fees
    return {
        Contra.SALES: (settings.sales, settings.output_tax),
        Contra.RETURN: (settings.sales, settings.output_tax),
        Contra.PURCHASE: (fees.expense, fees.input_tax),
        Contra.BAD_DEBT: (settings.bad_debts.loss, settings.output_tax),
        Contra.RECOVERY: (settings.bad_debts.recovery, settings.output_tax),
        Contra.BANK: (settings.bank, settings.output_tax),
    }[posting.contra]


def tax_code(form: AccountingFormatSettings, posting: Posting) -> str:
    """The form's code of the posting's category and rate: for a sale, for a reduction of sales, or for another account."""
    return _code(form, posting).replace("{rate}", f"{posting.rate.normalize():f}")


def _code(form: AccountingFormatSettings, posting: Posting) -> str:
    if posting.contra is Contra.SALES:
        return str(getattr(form.returns if posting.gross < 0 else form.sales, posting.category))
    if posting.contra is Contra.RETURN:
        return str(getattr(form.returns, posting.category))
    if not posting.tax:
        return form.none
    if posting.contra is Contra.PURCHASE:
        return form.purchases
    codes = form.bad_debts if posting.contra is Contra.BAD_DEBT else form.recoveries
    return str(getattr(codes, posting.category))


def partner_cells(form: AccountingFormatSettings, entry: BookEntry) -> tuple[str, str]:
    """The customer's code and name, depending on the settings."""
    return (
        code_cell(entry.partner_code) if form.partner in ("code", "both") else "",
        text_cell(entry.invoice.recipient.name) if form.partner in ("name", "both") else "",
    )


def _side(account: AccountSettings, code: str, amount: Decimal) -> tuple[str, ...]:
    return account.account, account.sub_account, account.department, code, yen(abs(amount))
