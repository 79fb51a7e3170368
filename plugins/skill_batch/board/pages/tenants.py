"""テナント: the list of tenants with their problems, with a search in code, id and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Query, Request, Response

from skill_batch.board.access import RightsDep
from skill_batch.board.database import BoardDatabase
from skill_batch.board.rendering import render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.catalog import (
    BATCHES,
    NOTIFICATION_RETRY,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS

router = APIRouter()

LISTED = 50
_MOST_PAGES = 1_000
_MOST_CHARACTERS = 200

# A tenant's latest outcome is searched in this many runs of a batch: two weeks of an hourly batch.
_LAST_RUNS = 400

Problem = Literal["", "any", "failed", "incident", "message", "stopped"]
Sort = Literal["problems", "code", "name"]

PROBLEMS: Mapping[str, str] = {
    "any": "気になる点があるもの",
    "failed": "失敗したバッチがあるもの",
    "incident": "異常があるもの",
    "message": "届かなかった通知があるもの",
    "stopped": "通知を停止中のもの",
}
SORTS: Mapping[str, str] = {"problems": "気になる順", "code": "コード順", "name": "名前順"}


@dataclass(frozen=True)
class Search:
    """The search: tenants with ``text`` in code, id or name and with the problem (empty: all). ``page`` counts from 1."""

    text: str = ""
    problem: Problem = ""
    sort: Sort = "problems"
    page: int = 1

    def query(self) -> dict[str, Any]:
        """The search as query parameters of the page, without the page number."""
        return {"q": self.text, "problem": self.problem, "sort": self.sort}


@dataclass(frozen=True)
class TenantList:
    """The content of the page. ``hits`` is the number of all found tenants.

    ``vanished_id`` is the text if it is the id of a tenant that only rows of the batches still contain.
    """

    search: Search
    tenants: Sequence[Mapping[str, Any]]
    hits: int
    vanished_id: str | None

    @property
    def pages(self) -> int:
        """The number of pages."""
        return max(-(-self.hits // LISTED), 1)


def load_tenants(
    connection: psycopg.Connection[Any], search: Search, may_read: Callable[[str], bool], today: date
) -> TenantList:
    """A page of the tenants, with the plans of ``today`` (Asia/Tokyo). The search ignores case and width.

    ``may_read`` says whether the reader may see a DAG's results; problems of other batches are left out.
    """
    found = _SQL.rows(
        connection,
        "tenants_found",
        text=search.text,
        today=today,
        problem=search.problem,
        sort=search.sort,
        batch_ids=[spec.id for spec in BATCHES if spec.per_tenant and may_read(spec.dag_id)],
        last_runs=_LAST_RUNS,
        sees_incidents=may_read(TENANT_MONITORING.dag_id),
        sees_messages=may_read(NOTIFICATION_RETRY.dag_id),
        contract_letters=list(CONTRACT_LETTERS),
        most=LISTED,
        skipped=(search.page - 1) * LISTED,
    )
    is_vanished = (
        search.text and not found and _SQL.column(connection, "tenants_vanished", tenant_id=search.text)
    )
    return TenantList(search, found, found[0]["hits"] if found else 0, search.text if is_vanished else None)


@router.get("/tenants")
def tenants_page(
    request: Request,
    rights: RightsDep,
    q: Annotated[str, Query(max_length=_MOST_CHARACTERS)] = "",
    problem: Problem = "",
    sort: Sort = "problems",
    page: Annotated[int, Query(ge=1, le=_MOST_PAGES)] = 1,
) -> Response:
    """The list of tenants."""
    rights.require_read(TENANT_USAGE.dag_id)
    database: BoardDatabase = request.app.state.database
    today = datetime.now(JAPAN).date()
    with database.read() as connection:
        found = load_tenants(connection, Search(q.strip(), problem, sort, page), rights.may_read, today)
    return render(request, rights, "tenants.html", found=found, problems=PROBLEMS, sorts=SORTS)
