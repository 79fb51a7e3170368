"""売掛金: the open amounts by age, and the invoices with an open amount by counterparty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, Query, Request, Response

from skill_batch.board.access import Rights, RightsDep
from skill_batch.board.choosing import with_choices
from skill_batch.board.database import BoardDatabase
from skill_batch.board.pages.invoices import ACTIONS, payment_action
from skill_batch.board.rendering import render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.billing.receivables.ageing import Age, age_of
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import (
    IMPORT_PAYMENTS,
    OPERATE_INVOICES,
)

router = APIRouter()

_PAGE = 50

AGES = {age.name.lower(): age for age in Age}
AgeName = Literal[
    "", "not_due", "days_1_to_30", "days_31_to_60", "days_61_to_90", "over_90_days", "owed_back"
]


@dataclass(frozen=True)
class ReceivableFilters:
    """The filters of the list; empty values do not filter. ``counterparty`` is the beginning of a name, ``page`` counts from 1."""

    age: AgeName = ""
    counterparty: str = ""
    page: int = 1

    def query(self) -> dict[str, Any]:
        """The filters as query parameters."""
        return {"age": self.age, "counterparty": self.counterparty, "page": self.page}


@dataclass
class AgedCurrency:
    """All customers' open amounts in one currency, and the numbers of their invoices, by age."""

    currency: str
    amounts: dict[Age, Decimal] = field(default_factory=lambda: dict.fromkeys(Age, Decimal(0)))
    invoices: dict[Age, int] = field(default_factory=lambda: dict.fromkeys(Age, 0))

    @property
    def total(self) -> Decimal:
        """The amount that customers owe, less the amount owed to them."""
        return sum(self.amounts.values(), Decimal(0))

    def count(self, age: AgeName) -> int:
        """The number of invoices of this age, or of all."""
        return self.invoices[AGES[age]] if age else sum(self.invoices.values())


@dataclass(frozen=True)
class Receivables:
    """The content of the page. ``as_of`` is the day (Asia/Tokyo) of the ages. ``listed`` has the age of each invoice. ``transfers`` are
    the sums of unassigned transfers, by doubt.
    """

    as_of: date
    filters: ReceivableFilters
    currencies: Sequence[AgedCurrency]
    listed: Sequence[tuple[Mapping[str, Any], Age]]
    total: int
    transfers: Sequence[Mapping[str, Any]]

    @property
    def next_page(self) -> ReceivableFilters | None:
        """The filters of the next page."""
        page = self.filters.page
        return replace(self.filters, page=page + 1) if self.total > page * _PAGE else None


def load_receivables(
    connection: psycopg.Connection[Any], filters: ReceivableFilters, as_of: date
) -> Receivables:
    """The page as of a day (Asia/Tokyo)."""
    currencies: dict[str, AgedCurrency] = {}
    days: list[date | None] = []
    for row in _SQL.rows(connection, "open_amounts"):
        age = _age(row, as_of)
        aged = currencies.setdefault(row["currency"], AgedCurrency(row["currency"]))
        aged.amounts[age] += row["open_amount"]
        aged.invoices[age] += row["invoices"]
        if filters.age and age is AGES[filters.age]:
            days.append(row["due_on"])
    criteria = {
        "due_days": [day for day in days if day] if filters.age else None,
        "without_day": None in days,
        "is_owed_back": filters.age == "owed_back",
        "counterparty": filters.counterparty or None,
    }
    rows = _SQL.rows(connection, "open_invoices", **criteria, most=_PAGE, skipped=(filters.page - 1) * _PAGE)
    return Receivables(
        as_of,
        filters,
        list(currencies.values()),
        [(row, _age(row, as_of)) for row in with_choices(connection, rows)],
        # The sums contain the number, unless a counterparty is selected.
        _SQL.column(connection, "count_open_invoices", **criteria)[0]
        if filters.counterparty
        else sum(aged.count(filters.age) for aged in currencies.values()),
        _SQL.rows(connection, "waiting_sums"),
    )


def _age(row: Mapping[str, Any], as_of: date) -> Age:
    return age_of(row["open_amount"], row["due_on"], as_of)


def _filters(
    age: AgeName = "",
    counterparty: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> ReceivableFilters:
    return ReceivableFilters(age, counterparty.strip(), page)


@router.get("/receivables")
def receivables_page(
    request: Request, rights: RightsDep, filters: Annotated[ReceivableFilters, Depends(_filters)]
) -> Response:
    """The page as of today (Asia/Tokyo)."""
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        page = load_receivables(connection, filters, datetime.now(JAPAN).date())
    return render_receivables(request, rights, page)


def render_receivables(request: Request, rights: Rights, page: Receivables) -> Response:
    """The page as HTML, with the buttons that the user may press."""
    return render(
        request,
        rights,
        "receivables.html",
        section="/invoices",
        page=page,
        ages=AGES,
        actions=ACTIONS,
        payment_action=payment_action,
        may_operate=rights.may_start(OPERATE_INVOICES.dag_id),
        may_confirm=rights.may_start(IMPORT_PAYMENTS.dag_id),
    )
