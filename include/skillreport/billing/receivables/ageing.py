"""Ageing of receivables: open amounts per tenant and currency, by the days since their due date. Pure; days are Asia/Tokyo dates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import groupby


class Age(StrEnum):
    """How long an amount is overdue. ``OWED_BACK`` is the customer's overpayment, which is negative."""

    NOT_DUE = "期限前"
    DAYS_1_TO_30 = "1〜30日超過"
    DAYS_31_TO_60 = "31〜60日超過"
    DAYS_61_TO_90 = "61〜90日超過"
    OVER_90_DAYS = "90日を超える超過"
    OWED_BACK = "過入金・返金待ち"


@dataclass(frozen=True)
class OpenInvoice:
    """An invoice with an open amount, which is ``yen`` in the books. Without ``due_on``, it is not due."""

    tenant_id: str
    tenant_code: str
    counterparty: str
    currency: str
    due_on: date | None
    open_amount: Decimal
    yen: Decimal


@dataclass
class AgedTenant:
    """The open amounts of one tenant in one currency. Its names are from the invoice with the latest due date."""

    tenant_code: str
    counterparty: str
    currency: str
    amounts: dict[Age, Decimal] = field(default_factory=lambda: dict.fromkeys(Age, Decimal(0)))
    yen: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        """The amount that the tenant owes, less the amount owed to it."""
        return sum(self.amounts.values(), Decimal(0))


def age_of(open_amount: Decimal, due_on: date | None, as_of: date) -> Age:
    """The age of an open amount. An invoice is not overdue on its due date, and never without one."""
    if open_amount < 0:
        return Age.OWED_BACK
    days = (as_of - due_on).days if due_on else 0
    if days <= 0:
        return Age.NOT_DUE
    if days <= 30:
        return Age.DAYS_1_TO_30
    if days <= 60:
        return Age.DAYS_31_TO_60
    if days <= 90:
        return Age.DAYS_61_TO_90
    return Age.OVER_90_DAYS


def ageing(invoices: Iterable[OpenInvoice], as_of: date) -> Iterator[AgedTenant]:
    """The ageing table. ``invoices`` are ordered by tenant, currency and due date, and are read one by one."""
    for _, group in groupby(invoices, key=lambda invoice: (invoice.tenant_id, invoice.currency)):
        aged: AgedTenant | None = None
        for invoice in group:
            aged = aged or AgedTenant(invoice.tenant_code, invoice.counterparty, invoice.currency)
            aged.tenant_code, aged.counterparty = invoice.tenant_code, invoice.counterparty
            aged.amounts[age_of(invoice.open_amount, invoice.due_on, as_of)] += invoice.open_amount
            aged.yen += invoice.yen
        if aged:
            yield aged
