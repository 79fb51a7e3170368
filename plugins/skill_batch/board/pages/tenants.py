"""テナント: find a tenant by code, id or name, and see which tenants have failures, incidents or waiting messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Query, Request, Response

from skill_batch.board.access import RightsDep
from skill_batch.board.database import BoardDatabase
from skill_batch.board.rendering import render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.catalog import BATCHES, NOTIFICATION_RETRY, TENANT_MONITORING, TENANT_USAGE

router = APIRouter()

LISTED = 50
_MOST_CHARACTERS = 200

# The latest outcome of a tenant is searched in this many runs of a batch: two weeks of an hourly batch.
_LAST_RUNS = 400


@dataclass(frozen=True)
class TenantRow:
    """A tenant and its problems. ``failed`` are the batches whose latest run failed for it."""

    row: Mapping[str, Any]
    failed: Sequence[Mapping[str, Any]]
    critical: int
    warning: int
    unfinished: int
    stop: Mapping[str, Any] | None

    @property
    def has_signs(self) -> bool:
        """Whether the tenant has a problem."""
        return bool(self.failed or self.critical or self.warning or self.unfinished or self.stop)


@dataclass(frozen=True)
class TenantList:
    """The content of the page. ``hits`` is the number of all tenants with the text.

    ``vanished_id`` is the text if it is the id of a tenant that only rows of the batches still contain.
    """

    text: str
    tenants: Sequence[TenantRow]
    hits: int
    vanished_id: str | None


def load_tenants(
    connection: psycopg.Connection[Any], text: str, may_read: Callable[[str], bool]
) -> TenantList:
    """The first tenants with this text in code, id or name (all, if it is empty).

    ``may_read`` returns for a DAG whether the reader may see its results; problems of other batches are left out.
    """
    found = _SQL.rows(connection, "tenants_found", text=text, most=LISTED)
    tenant_ids = [row["tenant_id"] for row in found]
    failed: dict[str, list[Mapping[str, Any]]] = {}
    for row in _SQL.rows(
        connection,
        "tenants_failed",
        tenant_ids=tenant_ids,
        batch_ids=[spec.id for spec in BATCHES if spec.per_tenant and may_read(spec.dag_id)],
        last_runs=_LAST_RUNS,
    ):
        failed.setdefault(row["tenant_id"], []).append(row)
    incidents = _signs(connection, "tenants_incidents", tenant_ids, may_read(TENANT_MONITORING.dag_id))
    messages = _signs(connection, "tenants_unfinished", tenant_ids, may_read(NOTIFICATION_RETRY.dag_id))
    stops = {}
    if may_read(NOTIFICATION_RETRY.dag_id):
        rows = _SQL.rows(connection, "message_stops", tenant_ids=tenant_ids, most=LISTED)
        stops = {row["tenant_id"]: row for row in rows}
    return TenantList(
        text,
        [
            TenantRow(
                row,
                failed.get(row["tenant_id"], ()),
                incidents.get(row["tenant_id"], {}).get("critical", 0),
                incidents.get(row["tenant_id"], {}).get("warning", 0),
                messages.get(row["tenant_id"], {}).get("messages", 0),
                stops.get(row["tenant_id"]),
            )
            for row in found
        ],
        found[0]["hits"] if found else 0,
        text if text and not found and _SQL.column(connection, "tenants_vanished", tenant_id=text) else None,
    )


def _signs(
    connection: psycopg.Connection[Any],
    block: str,
    tenant_ids: Sequence[str],
    is_shown: bool,
) -> dict[str, Mapping[str, Any]]:
    if not is_shown:
        return {}
    return {row["tenant_id"]: row for row in _SQL.rows(connection, block, tenant_ids=list(tenant_ids))}


@router.get("/tenants")
def tenants_page(
    request: Request, rights: RightsDep, q: Annotated[str, Query(max_length=_MOST_CHARACTERS)] = ""
) -> Response:
    """The search page."""
    rights.require_read(TENANT_USAGE.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        found = load_tenants(connection, q.strip(), rights.may_read)
    return render(request, rights, "tenants.html", found=found)
