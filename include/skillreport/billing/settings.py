"""The settings of invoices (their issuer, and the accounts and formats of the accountant's files) and of usage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from include.skillreport.billing.payment_words import TextApproval
from include.skillreport.billing.second_person import SecondPerson
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.setting_types import (
    MOST,
    BankAccount,
    Count,
    Days,
    FirstOfMonth,
    Flag,
    ImageKey,
    Percent,
    Quantity,
    Range,
    below,
)
from include.skillreport.core.settings import Part, Section, TenantSection


class AccountSettings(Part):
    """An account of the books. Empty: no sub-account, no department."""

    account: Annotated[str, Field(min_length=1)]
    sub_account: str = ""
    department: str = ""


class TaxCodeSettings(Part):
    """The names of the tax categories in the accounting software, in the same spelling."""

    standard: str
    reduced: str
    exempt: str
    not_taxable: str
    export: str
    out_of_scope: str


class TaxedCodeSettings(Part):
    """The names of the tax categories with a rate in the accounting software, in the same spelling."""

    standard: str
    reduced: str


class AccountingFormatSettings(Part):
    """One of the accountant's files. ``sales`` and ``returns`` are the tax codes of sales and of deductions from sales.

    ``purchases`` is the tax code of a bank's fee as a purchase. ``bad_debts`` and ``recoveries`` are those of write-offs with tax and of
    their recovery. ``none`` is the tax code of an account without tax. ``partner``: the columns that name the customer.
    """

    encoding: Literal["utf-8", "utf-8-sig", "cp932"]
    partner: Literal["code", "name", "both", "none"]
    none: str
    sales: TaxCodeSettings
    returns: TaxCodeSettings
    purchases: str
    bad_debts: TaxedCodeSettings
    recoveries: TaxedCodeSettings


class FeeSettings(Part):
    """The bank's fee that a payer deducts: a ``return`` of sales, or a ``purchase`` on ``expense`` with the tax on ``input_tax``."""

    treated_as: Literal["return", "purchase"]
    expense: AccountSettings
    input_tax: AccountSettings


class BadDebtSettings(Part):
    """The accounts of write-offs (貸倒れ) and recoveries."""

    loss: AccountSettings
    recovery: AccountSettings


class FreeeSettings(AccountingFormatSettings):
    """The import of freee. ``wallet`` is the name of the bank account (口座) in freee."""

    wallet: Annotated[str, Field(min_length=1)]


class AccountingSettings(Part):
    """The day of an invoice's booking, the accounts of journal and imports, and the format of each file.

    ``booked_on``: the last day of the invoice's service (``period_end``), or its issue date. Other documents have their own date.
    ``receipts``: true if the files contain payments and refunds, which are booked on ``bank``.
    """

    booked_on: Literal["period_end", "issued_on"]
    receipts: Flag
    receivable: AccountSettings
    bank: AccountSettings
    sales: AccountSettings
    output_tax: AccountSettings
    fees: FeeSettings
    bad_debts: BadDebtSettings
    journal: AccountingFormatSettings
    freee: FreeeSettings
    moneyforward: AccountingFormatSettings


class EnglishIssuerSettings(Part):
    """The issuer on English invoices. ``bank_account`` has the account for transfers from abroad (SWIFT/BIC, IBAN)."""

    name: str
    address: str
    phone: str
    contact: str
    bank_account: str


class IssuerSettings(Part):
    """The issuer of the invoices. The registration number of a ``corporate`` issuer contains its corporate number.

    ``sample``: the issuer is an example, so no invoice is finalised. ``demo``: the issuer is invented, so invoices are finalised only in a
    database that the local stack made. ``logo`` and ``seal`` (角印) are keys of images in the object store (``documents.issuer_images``);
    empty: none.
    """

    sample: Flag
    demo: Flag = False
    name: str
    corporate: Flag
    registration_number: str
    postal_code: str
    address: str
    phone: str
    email: str
    contact: str
    bank_account: str
    logo: ImageKey = ""
    seal: ImageKey = ""
    english: EnglishIssuerSettings | None = None


def _ascending(value: tuple[int, ...]) -> tuple[int, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("日数は小さい順に、それぞれ 1 回だけ書いてください")
    return value


_COLUMN_NUMBER = re.compile("[1-9][0-9]{0,2}")


def _one_or_three(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) not in (1, 3):
        raise ValueError("日付の列を 1 つ、または年・月・日の列を 3 つ書いてください")
    return value


def _compared_values(cells: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {column: tuple(map(plain, values)) for column, values in cells.items()}


# The accepted values of each of these columns.
CellValues = Annotated[dict[str, tuple[str, ...]], AfterValidator(_compared_values)]


class PaymentFormatSettings(Part):
    """A bank's CSV file with the movements of accounts. Columns have the names in its header, or without one their numbers from "1".

    A file has the format if its name matches ``files`` (``smbc-*.csv``), and its header has each of these columns once. ``day`` is a
    column, or the columns of year, month and day; with ``calendar: japanese`` it is YYMMDD of 令和. ``account`` is the account of all rows.
    Otherwise ``account_columns`` are the columns of bank, branch, kind (1, 2, 4 or 普通, 当座, 貯蓄) and number.

    A row is a transfer if each column of ``receipts`` has an accepted value, and the payer begins with ``payer_prefix`` and a blank. It
    cancels a transfer if the columns of ``cancellations`` have accepted values. Comparisons ignore width.

    A row is a deposit if it has an amount, and the columns of ``deposits`` have accepted values; with ``signed``, a negative amount is a
    withdrawal. Deposits that are no transfers are reported. ``lines_before`` and ``lines_after`` (totals) are the lines around header and
    rows.
    """

    files: str = "*"
    lines_before: Annotated[int, Range(0, 100)] = 0
    lines_after: Annotated[int, Range(0, 100)] = 0
    header: Flag = True
    calendar: Literal["western", "japanese"] = "western"
    day: Annotated[tuple[str, ...], AfterValidator(_one_or_three)]
    amount: str
    signed: Flag = False
    payer: str
    payer_prefix: str = ""
    payer_code: str = ""
    reference: str = ""
    details: tuple[str, ...] = ()
    account: BankAccount | None = None
    account_columns: tuple[str, str, str, str] | None = None
    receipts: CellValues
    cancellations: CellValues = Field(default_factory=dict)
    deposits: CellValues = Field(default_factory=dict)

    @property
    def columns(self) -> frozenset[str]:
        """All columns that are read."""
        named = {*self.day, self.amount, self.payer, self.payer_code, self.reference, *self.details}
        compared = {*self.receipts, *self.cancellations, *self.deposits}
        return frozenset(named | compared | {*(self.account_columns or ())}) - {""}

    @model_validator(mode="after")
    def _numbers_of_columns_need_a_name(self) -> Self:
        if not self.header and (self.files == "*" or not all(map(_COLUMN_NUMBER.fullmatch, self.columns))):
            raise ValueError('header: false には、files と、列の番号（"1" から）が必要です')
        return self


TaxCategoryName = Literal["standard", "reduced", "exempt", "not_taxable", "export", "out_of_scope"]


class BillingSettings(Section):
    """How BATCH-018-02 rounds, dates, holds and sends invoices. ``price_list`` is the file with the prices.

    ``receivables.due_dates`` explains ``due_months``, ``due_least_days``, ``due_day``, ``letters_on`` and ``review_days``. ``first_month``
    (its first day) is the first month to bill; without it, no month is billed. ``ledger.earlier_invoices`` explains ``bill_again_until``.
    ``invoice_link`` is the web address of a document with ``{number}`` and ``{tenant_code}``; ``pdf_delivery: link`` needs it.
    ``payment_source`` says where payments are recorded; with ``none``, the batch sends no reminder. Transfers in bank files are to
    ``own_accounts`` (``0001-001-1-1234567``), or to ``virtual_accounts``, each of which belongs to one customer. ``payment_formats``
    describes the CSV files. ``reminder_days`` are the reminders' days after the due date. ``fee_tolerance`` is in yen: a rest up to this
    amount may be the bank's fee, so no reminder is sent.
    """

    key = "billing"
    # The bank account of the sample must never be mixed with a real issuer.
    replaced_as_a_whole = frozenset({"issuer"})
    files = frozenset({"price_list"})

    price_list: Path
    first_month: FirstOfMonth | None
    bill_again_until: FirstOfMonth | None
    rounding: Literal["floor", "half-up", "ceil"]
    due_months: Annotated[int, Range(0, 12)]
    due_least_days: Annotated[int, Range(0, 60)]
    due_day: Literal["next", "previous", "none"]
    letters_on: Literal["bank_day", "issue"]
    review_days: Annotated[int, Range(1, 10)]
    approval_percent: Percent
    approve_first: Flag
    operation_limit: Annotated[int, Range(0, MOST)] | None
    rate_tolerance_percent: Percent
    text_approval: TextApproval
    second_person: SecondPerson
    usage_wait_hours: Annotated[int, Range(0, 3)]
    abroad_tax: TaxCategoryName
    pdf_delivery: Literal["attachment", "link", "none"]
    attachment_megabytes: Annotated[Decimal, Range(0, 100, above=True)]
    invoice_link: str
    payment_source: Literal["none", "operations", "host"]
    own_accounts: tuple[BankAccount, ...]
    virtual_accounts: tuple[BankAccount, ...]
    payment_formats: dict[str, PaymentFormatSettings]
    fee_tolerance: Annotated[int, Range(0, 9_999)]
    reminder_days: Annotated[tuple[Annotated[int, Range(1, 365)], ...], AfterValidator(_ascending)]
    accounting: AccountingSettings
    issuer: IssuerSettings

    @property
    def imports_payments(self) -> bool:
        """True if payments come from bank files and users."""
        return self.payment_source == "operations"

    @property
    def sends_reminders(self) -> bool:
        """True if overdue invoices get reminders."""
        return self.payment_source != "none" and bool(self.reminder_days)

    @property
    def largest_attachment(self) -> int:
        """The largest file in bytes that fits into ``attachment_megabytes`` after base64, with line ends (77 bytes for 57)."""
        return int(self.attachment_megabytes * 1024 * 1024 * 57 / 77)

    def problems(self) -> Sequence[str]:
        """Why no invoice can be issued with the issuer and the price list: each rule of an invoice about them."""
        from include.skillreport.billing.terms import load_terms
        from include.skillreport.billing.trial_invoice import problems_of_terms

        try:
            return problems_of_terms(load_terms())
        except SettingsError as error:
            return [str(error)]

    def warning(self) -> tuple[str, str, str] | None:
        """The warning that only its author checks an entry, if ``second_person`` is ``none``."""
        if self.second_person == "required":
            return None
        return (
            "no-second-person",
            "登録を見るほかの人がいません（設定 billing.second_person: none）。承認を待つものは、登録した人が金額を入力して承認します。",
            "経理の担当者が 2 人以上なら、required にしてください。",
        )

    @model_validator(mode="after")
    def _a_link_names_its_document(self) -> Self:
        if self.invoice_link and not (
            self.invoice_link.startswith("https://") and "{number}" in self.invoice_link
        ):
            raise ValueError("invoice_link は https:// で始め、{number} を入れてください")
        if self.pdf_delivery == "link" and not self.invoice_link:
            raise ValueError("pdf_delivery: link には invoice_link が必要です。加えてください")
        return self


class UsageSettings(TenantSection):
    """The thresholds of BATCH-018-01's warnings. A tenant may override them and its plan's allowances."""

    key = "usage"
    # One statement reads the history of all tenants of a shard.
    same_for_all = frozenset({"surge_history_days"})

    quota_warning_percent: Percent
    quota_critical_percent: Percent
    surge_percent: Percent
    surge_history_days: Days
    surge_min_history_days: Days
    surge_min_active_users: Count
    surge_min_storage_gb: Quantity
    surge_min_api_calls: Count
    surge_min_reports_generated: Count
    storage_gb: Quantity | None = None
    api_calls_per_month: Annotated[int, Range(0, MOST)] | None = None

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if self.quota_warning_percent >= self.quota_critical_percent:
            raise ValueError(below("quota_warning_percent", "quota_critical_percent"))
        if self.surge_min_history_days > self.surge_history_days:
            raise ValueError("surge_min_history_days は surge_history_days 以下にしてください")
        return self


def nobody_else_looks() -> bool:
    """True if the setting ``billing.second_person`` is ``none``, for pages and checks. False if the settings cannot be read."""
    with suppress(SettingsError):
        return BillingSettings.load().second_person == "none"
    return False
