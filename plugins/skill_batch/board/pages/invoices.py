"""請求: a billing month's documents by state, their sums, the held ones with their reasons, and approval requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Query, Request, Response

from skill_batch.board.access import Rights, RightsDep
from skill_batch.board.charts import Series, translated
from skill_batch.board.choosing import with_choices
from skill_batch.board.database import BoardDatabase
from skill_batch.board.invoice_words import STATES
from skill_batch.board.rendering import language_of, render, translator
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.approvals.requests import HOLDS, RequestKind
from include.skillreport.billing.actions.fields import TAX_CATEGORIES
from include.skillreport.billing.periods import Period
from include.skillreport.billing.settings import nobody_else_looks
from include.skillreport.billing.state import Act, InvoiceState, refusal
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import (
    APPROVE_INVOICES,
    OPERATE_INVOICES,
)
from include.skillreport.operations.operate_invoices.form import FORM

router = APIRouter()

_PAGE = 50
_CHARTED_MONTHS = 12
_MOST_HELD = 100
_MOST_REQUESTS = 20
_MOST_STOPPED = 100
_MOST_WAITING = 100

State = Literal["", "held", "draft", "finalized", "zero", "waiting_credit", "credit_note", "credited", "void"]

# The operations by name. Their buttons use their texts.
ACTIONS = {operation.name: operation for operation in FORM.operations}

Row = Mapping[str, Any]

_ACTS = frozenset(Act)


@dataclass(frozen=True)
class HeldInvoice:
    """A held draft. ``row`` comes from the statement ``held_of_month``."""

    row: Row

    @property
    def possible(self) -> list[str]:
        """The names of the operations that its state allows."""
        return possible_actions(self.row)

    @property
    def change(self) -> Decimal | None:
        """The difference from the previous month in the invoice's currency; None: there is no invoice to compare with."""
        if self.row["previous_total"] is None or self.row["previous_currency"] != self.row["currency"]:
            return None
        return Decimal(self.row["total"] - self.row["previous_total"])


@dataclass(frozen=True)
class BillingMonth:
    """The page of the month that begins on ``month``. ``state`` and ``number`` are the list's filter and page.

    ``total`` counts the listed documents, ``held_total`` the held ones, of which ``held`` has the first. ``stopped`` are the invoices
    of all months whose e-mail was stopped. ``waiting`` are the entries of all months that need another user's approval. ``checks`` has
    the month's newest run of BATCH-018-02, with its report, or is empty.
    """

    month: date
    state: State
    number: int
    head: Sequence[Row]
    billed: Series
    states: Sequence[Row]
    taxes: Sequence[Row]
    held: Sequence[HeldInvoice]
    held_total: int
    requests: Sequence[Row]
    stopped: Sequence[Row]
    waiting: Sequence[Row]
    documents: Sequence[Row]
    total: int
    checks: Sequence[Row]

    @property
    def previous(self) -> date:
        """The first day of the previous month."""
        return _month_before(self.month)

    @property
    def next(self) -> date:
        """The first day of the next month."""
        return Period.month_of(self.month).next_day

    @property
    def next_number(self) -> int | None:
        """The list's next page."""
        return self.number + 1 if self.total > self.number * _PAGE else None


def load_month(
    connection: psycopg.Connection[Any], month: date, today: date, state: State = "", number: int = 1
) -> BillingMonth:
    """The page of the month that begins on ``month``; the list's pages count from 1. ``today`` is in Asia/Tokyo."""
    states = sorted(
        _SQL.rows(connection, "month_states", month=month), key=lambda row: list(STATES).index(row["state"])
    )
    held = _SQL.rows(
        connection,
        "held_of_month",
        month=month,
        codes_of_holds=HOLDS,
        most=_MOST_HELD,
    )
    documents = _SQL.rows(
        connection,
        "documents_of_month",
        month=month,
        today=today,
        state=state or None,
        codes_of_holds=HOLDS,
        most=_PAGE,
        skipped=(number - 1) * _PAGE,
    )
    return BillingMonth(
        month,
        state,
        number,
        _SQL.rows(connection, "month_head", month=month, today=today),
        _billed_months(connection, month),
        states,
        _SQL.rows(connection, "month_taxes", month=month),
        [HeldInvoice(row) for row in with_choices(connection, held)],
        _count(states, "held"),
        _SQL.rows(connection, "open_requests", kind=RequestKind.INVOICES, most=_MOST_REQUESTS),
        with_choices(connection, _SQL.rows(connection, "stopped_letters", most=_MOST_STOPPED)),
        with_choices(connection, _SQL.rows(connection, "waiting_entries", most=_MOST_WAITING)),
        with_choices(connection, documents),
        _count(states, state),
        _SQL.rows(connection, "month_digest", batch_id=TENANT_BILLING.id, month=month),
    )


def _billed_months(connection: psycopg.Connection[Any], month: date) -> Series:
    months = [month]
    while len(months) < _CHARTED_MONTHS:
        months.insert(0, _month_before(months[0]))
    rows = _SQL.rows(connection, "billed_months", first=months[0], month=month)
    yen = {row["month"]: float(row["yen"]) for row in rows if row["yen"] is not None}
    return Series("請求額（12 か月、円換算）", [(f"{each:%Y-%m}", yen.get(each)) for each in months], "JPY")


def possible_actions(invoice: Row, person: str = "") -> list[str]:
    """The names of the operations that the page offers the user: the document's state allows them, and they have a use.

    A deleted tenant has only operations without pricing. Without a form text that selects only this tenant, there are none.
    """
    if invoice["refusal"]:
        return []
    if nobody_else_looks():
        person = ""  # the author may, and types the amount
    state = InvoiceState.of(invoice)
    is_open, is_numbered = state.is_live and not invoice["is_vanished"], state.number is not None
    has_use = {
        "explain": is_open,
        "approve": is_open and invoice["state"] == "held" and invoice["is_approvable"],
        # A run also records an overpayment.
        "record_payment": state.is_live and is_numbered and state.is_owed,
        "record_refund": True,
        "correct": True,
        "part_credit": not state.is_stopped,
        "credit": True,
        "reissue": is_open and state.status == "finalized",
        "void": is_numbered or is_open,
        "stop_letter": state.is_live and is_numbered and invoice["letter_may_leave"] and not state.is_stopped,
        "send_letter": is_open and is_numbered and (invoice["letter_may_leave"] or bool(state.corrected_by)),
        "bill_again": invoice["is_closed"] and not invoice["is_vanished"],
        "fee_difference": True,
        "write_off": True,
        "take_back_adjustment": True,
    }
    return [
        name
        for name, is_useful in has_use.items()
        if is_useful and not (name in _ACTS and refusal(Act(name), state, person))
    ]


def payment_action(open_amount: Decimal) -> str:
    """The name of the operation that settles an open amount."""
    return "record_payment" if open_amount > 0 else "record_refund"


def _count(states: Sequence[Row], state: str) -> int:
    return sum(row["documents"] for row in states if state in ("", row["state"]))


def _month_before(month: date) -> date:
    return Period.month_of(Period.month_of(month).previous_day).start


@router.get("/invoices")
def month_page(
    request: Request,
    rights: RightsDep,
    month: Annotated[str, Query(pattern="^((19|20)[0-9]{2}-(0[1-9]|1[0-2]))?$")] = "",
    state: State = "",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """A month's invoices: ``month`` is ``2026-10``; the default is the previous month (Asia/Tokyo), or the newest with documents."""
    rights.require_read(TENANT_BILLING.dag_id)
    today = datetime.now(JAPAN).date()
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        if month:
            chosen = date.fromisoformat(f"{month}-01")
        else:
            before = _month_before(today.replace(day=1))
            (chosen,) = _SQL.column(connection, "newest_month", month=before)
        shown = load_month(connection, chosen, today, state, page)
    return render_month(request, rights, shown)


def render_month(request: Request, rights: Rights, page: BillingMonth) -> Response:
    """The page as HTML, with the buttons that the user may press."""
    return render(
        request,
        rights,
        "invoices.html",
        section="/invoices",
        page=page,
        billed=translated(page.billed, translator(language_of(request))),
        waiting_credits={
            (row["tenant_id"], row["period_start"]) for row in page.waiting if row["kind"] == "credit"
        },
        actions=ACTIONS,
        possible_actions=partial(possible_actions, person=rights.name),
        tax_categories=TAX_CATEGORIES,
        may_operate=rights.may_start(OPERATE_INVOICES.dag_id),
        sees_requests=rights.may_read(APPROVE_INVOICES.dag_id),
    )
