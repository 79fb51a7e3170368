"""One invoice or credit note: the archived document, its lines, payments, credit notes, e-mails, and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, HTTPException, Query, Request, Response, status

from skill_batch.board.access import RightsDep
from skill_batch.board.archived_files import (
    MOST_SHEETS,
    count_sheets,
    draw_sheet,
    read_archived,
)
from skill_batch.board.choosing import with_choices
from skill_batch.board.database import BoardDatabase
from skill_batch.board.pages.invoices import ACTIONS, possible_actions
from skill_batch.board.rendering import HEADERS, language_of, render
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.store_access import ArchivedFileError
from include.skillreport.approvals.requests import HOLDS
from include.skillreport.billing.actions.fields import BAD_DEBT_FACTS, TAX_CATEGORIES
from include.skillreport.billing.documents.invoice import Invoice, revision_suffix
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.ledger.stored_invoice import letter_id, stored_document
from include.skillreport.billing.pricing.explanation import explained_lines, figure, part_days
from include.skillreport.billing.state import InvoiceState
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    TENANT_BILLING,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import (
    APPROVE_INVOICES,
    OPERATE_INVOICES,
)

router = APIRouter()

_MOST_LISTED = 50

_TYPES = {"pdf": "application/pdf", "json": "application/json"}

RESULTS = {
    "approved": "承認して確定",
    "held": "保留のまま",
    "out_of_date": "内容が変わったため未処理",
    "failed": "失敗",
}

Row = Mapping[str, Any]

Revision = Annotated[int | None, Query(ge=1, le=9999)]


@dataclass(frozen=True)
class InvoicePage:
    """The content of the page. ``document`` is the printed document; a draft has no number and no files. ``today`` is in Asia/Tokyo."""

    row: Row
    document: Invoice
    files: Sequence[Row]
    revisions: Sequence[Row]
    payments: Sequence[Row]
    adjustments: Sequence[Row]
    credits: Sequence[Row]
    others: Sequence[Row]
    answers: Sequence[Row]
    reminders: Sequence[Row]
    stops: Sequence[Row]
    decisions: Sequence[Row]
    letters: Sequence[Row]
    today: date

    @property
    def receivable(self) -> Decimal | None:
        """The amount left to pay, as on the page of receivables; negative if overpaid. None if no payment is expected."""
        if self.row["kind"] != "invoice" or self.row["state"] not in ("finalized", "zero", "credited"):
            return None
        return Decimal(self.row["receivable"])

    @property
    def is_live(self) -> bool:
        """True for the live invoice of its month. Only such an invoice has reminders."""
        return InvoiceState.of(self.row).is_live

    @property
    def is_overdue(self) -> bool:
        """True if an amount is open after the due date."""
        due_on: date | None = self.row["due_on"]
        return bool(due_on and due_on < self.today and (self.receivable or 0) > 0)

    @property
    def replacing(self) -> Sequence[Row]:
        """The invoices of the same month that replace this one."""
        number = self.row["number"]
        return [other for other in self.others if number and other["replaced_number"] == number]

    @property
    def replaced(self) -> Row | None:
        """The invoice that this one replaces."""
        if self.document.replaces is None:
            return None
        number = self.document.replaces.number
        return next((other for other in self.others if other["number"] == number), None)


def load_invoice(connection: psycopg.Connection[Any], invoice_id: str, today: date) -> InvoicePage | None:
    """The page of a document, or None. ``today`` is in Asia/Tokyo."""
    rows = _SQL.rows(connection, "invoice", invoice_id=invoice_id, codes_of_holds=HOLDS)
    if not rows:
        return None
    (row,) = with_choices(connection, rows)
    of_invoice = {"invoice_id": invoice_id}
    of_tenant = {"tenant_id": row["tenant_id"], **of_invoice}
    reminders = _SQL.rows(connection, "invoice_reminders", **of_invoice)
    revisions = _SQL.rows(connection, "invoice_revisions", **of_invoice)
    letter_ids = [f"void-{invoice_id}"]
    letter_ids += [letter_id(invoice_id, each) for each in (1, *(row["revision"] for row in revisions))]
    letter_ids += [
        f"reminder-{invoice_id}-{reminder['days']}{revision_suffix(reminder['revision'])}"
        for reminder in reminders
    ]
    return InvoicePage(
        row,
        stored_document(row),
        _SQL.rows(connection, "invoice_files", **of_invoice, format=None, revision=None),
        revisions,
        _SQL.rows(connection, "invoice_payments", **of_invoice),
        _SQL.rows(connection, "invoice_adjustments", **of_invoice),
        _SQL.rows(connection, "invoice_credits", **of_invoice),
        _SQL.rows(
            connection,
            "invoices_of_tenants_month",
            **of_tenant,
            month=row["period_start"],
            most=_MOST_LISTED,
        ),
        _SQL.rows(connection, "invoice_answers", **of_tenant, most=_MOST_LISTED),
        reminders,
        _SQL.rows(connection, "reminder_stops", **of_tenant),
        _SQL.rows(connection, "letter_decisions", **of_invoice),
        _SQL.rows(connection, "invoice_letters", tenant_id=row["tenant_id"], letter_ids=letter_ids),
        today,
    )


@router.get("/invoices/{invoice_id}")
def invoice_page(request: Request, rights: RightsDep, invoice_id: str) -> Response:
    """The page of one document. Its sheets are loaded afterwards, so that a slow store does not delay it."""
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        page = load_invoice(connection, invoice_id, datetime.now(JAPAN).date())
    if page is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    may_operate = rights.may_start(OPERATE_INVOICES.dag_id)
    return render(
        request,
        rights,
        "invoice.html",
        section="/invoices",
        page=page,
        actions=ACTIONS,
        possible=possible_actions(page.row, rights.name) if may_operate else [],
        results=RESULTS,
        facts=BAD_DEBT_FACTS,
        tax_categories=TAX_CATEGORIES,
        may_operate=may_operate,
        sees_requests=rights.may_read(APPROVE_INVOICES.dag_id),
        sees_letters=rights.may_read(NOTIFICATION_RETRY.dag_id),
    )


@router.get("/invoices/{invoice_id}/calculation")
def calculation(request: Request, rights: RightsDep, invoice_id: str) -> Response:
    """The fragment with the closed days and the calculation of each line, in the reader's language."""
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        stored = _SQL.column(connection, "invoice_inputs", invoice_id=invoice_id)
    if not stored:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    inputs = BillingInputs.model_validate(stored[0])
    lines, remarks = explained_lines(inputs, language_of(request))
    return render(
        request,
        rights,
        "calculation.html",
        inputs=inputs,
        parts_of_month=part_days(inputs),
        lines=lines,
        remarks=remarks,
        figure=figure,
    )


@router.get("/invoices/{invoice_id}/sheets")
def sheets(request: Request, rights: RightsDep, invoice_id: str, revision: Revision = None) -> Response:
    """The fragment with the images of the archived PDF's pages, or with the file's problem. Default: the newest revision."""
    row = _file(request, rights, invoice_id, "pdf", revision)
    problem, count = "", 0
    try:
        count = count_sheets(read_archived(row))
    except ArchivedFileError as error:
        problem = str(error)
    return render(
        request,
        rights,
        "sheets.html",
        invoice_id=invoice_id,
        number=row["number"],
        revision=row["revision"],
        problem=problem,
        count=count,
        shown=min(count, MOST_SHEETS),
    )


@router.get("/invoices/{invoice_id}/page/{sheet}.png")
def sheet_image(
    request: Request, rights: RightsDep, invoice_id: str, sheet: int, revision: Revision = None
) -> Response:
    """A page of the archived PDF, numbered from 1.

    :raises ArchivedFileError: the file cannot be read, or was changed.
    """
    image = draw_sheet(read_archived(_file(request, rights, invoice_id, "pdf", revision)), sheet)
    if image is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return Response(image, headers=HEADERS, media_type="image/png")


@router.get("/invoices/{invoice_id}/file")
def download(
    request: Request,
    rights: RightsDep,
    invoice_id: str,
    format: Literal["pdf", "json"] = "pdf",
    revision: Revision = None,
) -> Response:
    """The archived file. The JSON has the recipient's address, so only users who may operate on invoices get it.

    :raises ArchivedFileError: it is unreadable or was changed.
    """
    if format == "json":
        rights.require_start(OPERATE_INVOICES.dag_id)
    row = _file(request, rights, invoice_id, format, revision)
    disposition = f'attachment; filename="{row["number"]}{revision_suffix(row["revision"])}.{format}"'
    return Response(
        read_archived(row),
        headers={**HEADERS, "Content-Disposition": disposition},
        media_type=_TYPES[format],
    )


def _file(
    request: Request, rights: RightsDep, invoice_id: str, format_name: str, revision: int | None
) -> Row:
    """The record of a document's file. Default: the newest revision.

    :raises HTTPException: 404, nothing is archived; 403, the user may not see invoices.
    """
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        rows = _SQL.rows(
            connection, "invoice_files", invoice_id=invoice_id, format=format_name, revision=revision
        )
    if not rows:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return rows[0]
