"""会計ファイル: the recorded accounting files of closed months, and the provisional files of open months."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response, status

from skill_batch.board.access import RightsDep
from skill_batch.board.archived_files import read_recorded
from skill_batch.board.database import BoardDatabase
from skill_batch.board.rendering import HEADERS, file_name, render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN

router = APIRouter()

# Months in this period are listed.
_LISTED = timedelta(days=2 * 365)


@router.get("/accounting")
def accounting_page(request: Request, rights: RightsDep) -> Response:
    """The files by month, newest first."""
    rights.require_read(TENANT_BILLING.dag_id)
    today = datetime.now(JAPAN).date()
    since = (today - _LISTED).replace(day=1)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        closed = _SQL.rows(connection, "accounting_files", since=since, month=None, execution_id=None)
        written = _SQL.rows(connection, "provisional_files", since=since, month=None)
    provisional = [(month, list(each)) for month, each in groupby(written, key=itemgetter("month"))]
    return render(
        request,
        rights,
        "accounting.html",
        section="/invoices",
        provisional=provisional,
        closed=[(month, list(each)) for month, each in groupby(closed, key=itemgetter("month"))],
        over=[month for month, _ in provisional if month < today.replace(day=1)],
    )


@router.get("/accounting/{month}/{name}")
def accounting_file(request: Request, rights: RightsDep, month: date, name: str) -> Response:
    """A file of a month, as recorded.

    :raises ArchivedFileError: it is unreadable or was changed.
    """
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        rows = [
            *_SQL.rows(connection, "accounting_files", since=month, month=month, execution_id=None),
            *_SQL.rows(connection, "provisional_files", since=month, month=month),
        ]
    row = next((each for each in rows if file_name(each) == name), None)
    if row is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    content = read_recorded(row["key"], row["sha256"], row["bytes"])
    headers = {**HEADERS, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return Response(content, headers=headers, media_type="text/csv")
