"""Open amounts age by the days since their due date, per tenant and currency."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from include.skillreport.billing.receivables.ageing import Age, OpenInvoice, age_of, ageing

DUE = date(2026, 11, 30)


def open_invoice(
    amount: int, due_on: date | None = DUE, *, tenant: str = "A", currency: str = "JPY"
) -> OpenInvoice:
    yen = Decimal(amount * (150 if currency == "USD" else 1))
    return OpenInvoice(
        tenant, f"code of {tenant}", f"name of {tenant}", currency, due_on, Decimal(amount), yen
    )


@pytest.mark.parametrize(
    ("days", "age"),
    [
        (-10, Age.NOT_DUE),
        (0, Age.NOT_DUE),
        (1, Age.DAYS_1_TO_30),
        (30, Age.DAYS_1_TO_30),
        (31, Age.DAYS_31_TO_60),
        (60, Age.DAYS_31_TO_60),
        (61, Age.DAYS_61_TO_90),
        (90, Age.DAYS_61_TO_90),
        (91, Age.OVER_90_DAYS),
    ],
)
def test_an_amount_ages_from_the_day_after_its_due_date(days: int, age: Age) -> None:
    assert age_of(Decimal(1), DUE, DUE + timedelta(days=days)) is age


def test_a_credit_balance_or_missing_due_date_is_never_overdue() -> None:
    assert age_of(Decimal(-1), DUE, date(2027, 12, 31)) is Age.OWED_BACK
    assert age_of(Decimal(1), None, date(2027, 12, 31)) is Age.NOT_DUE


def test_each_tenant_and_currency_has_one_row() -> None:
    invoices = [
        open_invoice(100, date(2026, 8, 31)),
        open_invoice(200, date(2026, 11, 30)),
        open_invoice(300, date(2026, 12, 31)),
        open_invoice(-50, date(2026, 12, 31)),
        open_invoice(7, currency="USD"),
        open_invoice(9, tenant="B"),
    ]

    rows = list(ageing(invoices, date(2026, 12, 10)))

    assert [(row.tenant_code, row.currency, row.total, row.yen) for row in rows] == [
        ("code of A", "JPY", Decimal(550), Decimal(550)),
        ("code of A", "USD", Decimal(7), Decimal(1050)),
        ("code of B", "JPY", Decimal(9), Decimal(9)),
    ]
    assert rows[0].amounts == {
        Age.NOT_DUE: 300,
        Age.DAYS_1_TO_30: 200,
        Age.DAYS_31_TO_60: 0,
        Age.DAYS_61_TO_90: 0,
        Age.OVER_90_DAYS: 100,
        Age.OWED_BACK: -50,
    }


def test_nothing_open_is_an_empty_table() -> None:
    assert list(ageing([], DUE)) == []
