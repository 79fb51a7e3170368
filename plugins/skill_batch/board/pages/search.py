"""検索: pages by title, batches and operations by id, DAG or name, tenants by code, id or name, invoices by number, runs by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from unicodedata import normalize

import psycopg
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from skill_batch.board.access import Rights, RightsDep
from skill_batch.board.database import BoardDatabase
from skill_batch.board.patterns import beginning_with
from skill_batch.board.rendering import BILLING_PAGES, HEADERS, MENU, Links, english, render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.catalog import TENANT_BILLING, TENANT_USAGE
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_spec import RunSpec

router = APIRouter()

_MOST = 20
_MOST_CHARACTERS = 250

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Found:
    """The results that the reader may see, at most 20 of each kind."""

    tenants: Rows = ()
    invoices: Rows = ()
    runs: Rows = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    batches: Sequence[RunSpec] = ()

    def only(self, links: Links) -> str | None:
        """The page of the only result; None if there are several or none."""
        pages = [links.board + path for path in self.pages]
        pages += [links.page("batches", spec.id) for spec in self.batches]
        pages += [links.page("tenants", row["tenant_id"]) for row in self.tenants]
        pages += [links.page("invoices", row["invoice_id"]) for row in self.invoices]
        pages += [links.page("runs", row["dag_id"], row["run_id"]) for row in self.runs]
        return pages[0] if len(pages) == 1 else None


def find(connection: psycopg.Connection[Any], text: str, may_read: Callable[[str], bool]) -> Found:
    """The results for the text. ``may_read`` says whether the reader may see a DAG's results."""
    plain = normalize("NFKC", text).strip()
    if not plain:
        return Found()

    def rows(statement: str, **values: Any) -> Rows:
        return _SQL.rows(connection, statement, **values, most=_MOST)

    dag_ids = [spec.dag_id for spec in RUN_SPECS.values() if may_read(spec.dag_id)]
    return Found(
        rows("tenants_named", text=plain) if may_read(TENANT_USAGE.dag_id) else (),
        rows("invoices_numbered", number=beginning_with(plain.upper()))
        if may_read(TENANT_BILLING.dag_id)
        else (),
        rows("runs_named", name=text.strip(), dag_ids=dag_ids),
    )


def find_pages(text: str, rights: Rights) -> dict[str, str]:
    """The Japanese titles of the pages that the reader may open and whose title contains the text in either language; by address."""
    plain = normalize("NFKC", text).strip().lower()
    offered = [(title, path) for title, path, dag_id in MENU if not dag_id or rights.may_read(dag_id)]
    if rights.may_read(TENANT_BILLING.dag_id):
        offered += [
            (title, f"/{name}")
            for title, name, dag_id in BILLING_PAGES
            if not dag_id or rights.may_start(dag_id)
        ]
    named = [
        (path, title)
        for title, path in offered
        if plain and (plain in title or plain in english()[title].lower())
    ]
    return dict(named)


def find_batches(text: str, may_read: Callable[[str], bool]) -> list[RunSpec]:
    """The batches and operations whose id, DAG or name contains the text in either language."""
    plain = normalize("NFKC", text).strip().lower()
    specs = [spec for spec in RUN_SPECS.values() if plain and may_read(spec.dag_id)]
    return [
        spec
        for spec in specs
        if any(plain in each.lower() for each in (spec.id, spec.dag_id, spec.name, english()[spec.name]))
    ][:_MOST]


@router.get("/search")
def search_page(
    request: Request, rights: RightsDep, q: Annotated[str, Query(max_length=_MOST_CHARACTERS)] = ""
) -> Response:
    """The results, or the page of the only result."""
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        found = find(connection, q, rights.may_read)
    found = replace(found, pages=find_pages(q, rights), batches=find_batches(q, rights.may_read))
    if only := found.only(Links(request)):
        return RedirectResponse(only, status_code=303, headers=HEADERS)
    return render(request, rights, "search.html", found=found, text=q)
