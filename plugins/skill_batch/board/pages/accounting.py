"""会計ファイル: the recorded accounting files of closed months, and the provisional files of open months."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response, status

from skill_batch.board.access import RightsDep
from skill_batch.board.archived_files import read_now, read_recorded
from skill_batch.board.database import BoardDatabase
from skill_batch.board.rendering import HEADERS, file_name, render
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.store_access import ArchivedFileError, in_store
from include.skillreport.billing.accounting.files import provisional_keys
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN

router = APIRouter()

# Closed months in this period are listed. Provisional files are searched in as many of the newest months.
_LISTED = timedelta(days=2 * 365)
_OPEN_MONTHS = 3

Row = Mapping[str, Any]


@router.get("/accounting")
def accounting_page(request: Request, rights: RightsDep) -> Response:
    """The files by month, newest first."""
    rights.require_read(TENANT_BILLING.dag_id)
    today = datetime.now(JAPAN).date()
    provisional, problem = _open_months(today)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        closed = _SQL.rows(
            connection,
            "accounting_files",
            since=(today - _LISTED).replace(day=1),
            month=None,
            execution_id=None,
        )
    return render(
        request,
        rights,
        "accounting.html",
        section="/invoices",
        provisional=provisional,
        problem=problem,
        closed=[(month, list(each)) for month, each in groupby(closed, key=itemgetter("month"))],
        over=[month for month, _ in provisional if month < today.replace(day=1)],
    )


@router.get("/accounting/{month}/{name}")
def accounting_file(request: Request, rights: RightsDep, month: date, name: str) -> Response:
    """A file of a closed month as recorded, or a provisional file.

    :raises ArchivedFileError: it is unreadable or was changed.
    """
    rights.require_read(TENANT_BILLING.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        rows = _SQL.rows(connection, "accounting_files", since=month, month=month, execution_id=None)
    row = next((each for each in rows if file_name(each) == name), None)
    if row:
        content = read_recorded(row["key"], row["sha256"], row["bytes"])
    else:
        keys = in_store(name, lambda store: provisional_keys(month, store))
        key = next((each for each in keys if each.rpartition("/")[2] == name), None)
        if key is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND)
        content = read_now(key)
    headers = {**HEADERS, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return Response(content, headers=headers, media_type="text/csv")


def _open_months(today: date) -> tuple[Sequence[tuple[date, Sequence[Row]]], str]:
    """The newest months' provisional files, and why there is no list. Call it without a connection, because the store may be slow."""
    months = [today.replace(day=1)]
    while len(months) < _OPEN_MONTHS:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    try:
        keys = in_store("accounting", lambda store: {each: provisional_keys(each, store) for each in months})
    except ArchivedFileError as error:
        return (), str(error)
    return [(month, [{"key": key} for key in found]) for month, found in keys.items() if found], ""
