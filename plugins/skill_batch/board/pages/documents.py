"""書類の検索: the numbered documents of all years by date, amount, counterparty, number and kind (電子帳簿保存法)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from io import StringIO
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, Query, Request, Response, status
from pydantic import BeforeValidator

from skill_batch.board.access import Rights, RightsDep, http_error
from skill_batch.board.database import BoardDatabase
from skill_batch.board.patterns import beginning_with
from skill_batch.board.rendering import HEADERS, render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.billing.accounting.document_index import INDEX_COLUMNS, index_cells
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.entered import entered_number, plain
from include.skillreport.core.execution.business_date import JAPAN

router = APIRouter()

_PAGE = 50
# The maximum count, and the maximum number of rows of a CSV file.
MOST = 10_000

KINDS = {"invoice": "請求書", "credit": "返還"}
Kind = Literal["", "invoice", "credit"]


def _entered_amount(value: Any) -> Any:
    if value in (None, ""):
        return None
    number = entered_number(plain(str(value)))
    if number is None:
        raise ValueError("no number")
    return number


def _entered_day(value: Any) -> Any:
    return value or None


Day = Annotated[date | None, BeforeValidator(_entered_day), Query()]
Amount = Annotated[Decimal | None, BeforeValidator(_entered_amount), Query()]
Text = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class Criteria:
    """The search criteria; empty values do not filter. Dates are the documents', amounts are in yen with tax.

    ``counterparty`` is a part of the customer's name, ``number`` the beginning of the document's number. ``page`` counts from 1.
    """

    first_day: date | None = None
    last_day: date | None = None
    least: Decimal | None = None
    largest: Decimal | None = None
    counterparty: str = ""
    number: str = ""
    kind: Kind = ""
    page: int = 1

    def parameters(self, connection: psycopg.Connection[Any]) -> dict[str, Any]:
        """The parameters of the statements."""
        text = self.counterparty
        names = _SQL.column(connection, "counterparties_with", text=text) if text else None
        return {
            "first_day": self.first_day,
            "last_day": self.last_day,
            "least": self.least,
            "largest": self.largest,
            "counterparties": names,
            "number": beginning_with(self.number),
            "kind": self.kind or None,
        }

    def query(self) -> dict[str, Any]:
        """The criteria as query parameters."""
        return {
            "date_from": self.first_day,
            "date_to": self.last_day,
            "amount_from": self.least,
            "amount_to": self.largest,
            "counterparty": self.counterparty,
            "number": self.number,
            "kind": self.kind,
            "page": self.page,
        }


@dataclass(frozen=True)
class FoundDocuments:
    """The content of the page. ``total`` stops at ``MOST`` + 1, which is too many for a file."""

    criteria: Criteria
    documents: Sequence[Mapping[str, Any]]
    total: int

    @property
    def is_exportable(self) -> bool:
        """True if one CSV file can contain all of them."""
        return 0 < self.total <= MOST

    @property
    def next_page(self) -> Criteria | None:
        """The criteria of the next page."""
        page = self.criteria.page
        return replace(self.criteria, page=page + 1) if min(self.total, MOST) > page * _PAGE else None


def find_documents(connection: psycopg.Connection[Any], criteria: Criteria) -> FoundDocuments:
    """A page of the documents."""
    parameters = criteria.parameters(connection)
    return FoundDocuments(
        criteria,
        _SQL.rows(
            connection, "found_documents", **parameters, most=_PAGE, skipped=(criteria.page - 1) * _PAGE
        ),
        _SQL.column(connection, "count_documents", **parameters, most=MOST + 1)[0],
    )


def documents_file(connection: psycopg.Connection[Any], criteria: Criteria) -> bytes | None:
    """All documents as CSV (UTF-8 with BOM) with the columns of a month's index; None if there are more than ``MOST``."""
    rows = _SQL.rows(
        connection, "found_documents", **criteria.parameters(connection), most=MOST + 1, skipped=0
    )
    if len(rows) > MOST:
        return None
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(INDEX_COLUMNS)
    writer.writerows(map(index_cells, rows))
    return text.getvalue().encode("utf-8-sig")


def ordered_days(first_day: date, last_day: date) -> tuple[date, date]:
    """The days of a period. :raises HTTPException: 400, they are in the wrong order."""
    if first_day > last_day:
        raise http_error(
            status.HTTP_400_BAD_REQUEST,
            "日付の範囲が逆です（{first} から {last} まで）",
            first=first_day,
            last=last_day,
        )
    return first_day, last_day


def _criteria(
    date_from: Day = None,
    date_to: Day = None,
    amount_from: Amount = None,
    amount_to: Amount = None,
    counterparty: Text = "",
    number: Text = "",
    kind: Kind = "",
    page: Annotated[int, Query(ge=1, le=MOST // _PAGE)] = 1,
) -> Criteria:
    if date_from and date_to:
        ordered_days(date_from, date_to)
    if amount_from is not None and amount_to is not None and amount_from > amount_to:
        raise http_error(
            status.HTTP_400_BAD_REQUEST,
            "円の金額の範囲が逆です（{first} から {last} まで）",
            first=f"{amount_from:,f}",
            last=f"{amount_to:,f}",
        )
    return Criteria(
        date_from, date_to, amount_from, amount_to, counterparty.strip(), plain(number), kind, page
    )


CriteriaDep = Annotated[Criteria, Depends(_criteria)]


@router.get("/documents")
def documents_page(request: Request, rights: RightsDep, criteria: CriteriaDep) -> Response:
    """A page of the documents that match the criteria."""
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        found = find_documents(connection, criteria)
    return render_found(request, rights, found)


def render_found(request: Request, rights: Rights, page: FoundDocuments) -> Response:
    """The page as HTML."""
    return render(request, rights, "documents.html", section="/invoices", page=page, most=MOST, kinds=KINDS)


@router.get("/documents.csv")
def documents_csv(request: Request, rights: RightsDep, criteria: CriteriaDep) -> Response:
    """The documents that match the criteria as a CSV file. :raises HTTPException: 400, there are too many."""
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        content = documents_file(connection, criteria)
    if content is None:
        raise http_error(
            status.HTTP_400_BAD_REQUEST,
            "{most} 件を超えるため CSV にできません。条件を絞ってください",
            most=f"{MOST:,}",
        )
    disposition = f'attachment; filename="documents-{datetime.now(JAPAN):%Y-%m-%d}.csv"'
    return Response(
        content, headers={**HEADERS, "Content-Disposition": disposition}, media_type="text/csv; charset=utf-8"
    )
