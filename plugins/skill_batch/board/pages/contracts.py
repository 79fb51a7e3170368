"""契約の変更: waiting changes of contracts, and the data of a tenant's contract that its invoices depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from fastapi import APIRouter, HTTPException, Request, Response, status

from skill_batch.board.access import RightsDep
from skill_batch.board.choosing import ChosenTenant, choices
from skill_batch.board.contract_words import RESULTS, STATES
from skill_batch.board.database import BoardDatabase
from skill_batch.board.rendering import render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.billing.contract_kinds import KINDS, PROFILE, RowChange
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import OPERATE_CONTRACTS

router = APIRouter()

_MOST_LISTED = 50
_MOST_ROWS = 200

# The last mail to an address is searched in this period, which covers two months' invoices.
_MAILS = timedelta(days=62)

_NOT_ARRIVED = ("dead", "expired", "ambiguous")

_FIELDS = {"name": "discount_name", "kind": "discount_kind"}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Waiting:
    """The waiting changes. ``rows`` has the first rows of each file by change id, with the changed columns."""

    changes: Sequence[Row]
    rows: Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Contract:
    """A tenant's contract. ``profile`` is None for a tenant that the application does not have."""

    tenant_id: str
    tenant: Row | None
    choice: ChosenTenant
    profile: Row | None
    addresses: Sequence[Row]
    terms: Sequence[Row]
    payers: Sequence[Row]
    waiting: Waiting
    history: Sequence[Row]

    @property
    def code(self) -> str:
        """The code, or the id if the application has deleted the tenant."""
        return str(self.tenant["tenant_code"]) if self.tenant else self.tenant_id


def load_waiting(connection: psycopg.Connection[Any], tenant_id: str | None = None) -> Waiting:
    """The waiting changes of a tenant, or of all."""
    changes = _SQL.rows(connection, "waiting_contract_changes", tenant_id=tenant_id, most=_MOST_LISTED)
    files = [change["change_id"] for change in changes if change["kind"] == "import"]
    rows: dict[str, list[Row]] = {}
    for row in _SQL.rows(
        connection, "imported_contract_changes", change_ids=files, tenant_id=tenant_id, most=_MOST_ROWS
    ):
        change = RowChange(KINDS[row["kind"]], row["owner"], row["before"], row["after"], row["reason"])
        rows.setdefault(row["change_id"], []).append({**row, "changed": change.changed})
    return Waiting(changes, rows)


def load_contract(connection: psycopg.Connection[Any], tenant_id: str, now: datetime) -> Contract | None:
    """A tenant's contract at ``now`` (aware); None if the tenant is unknown."""
    of_tenant = {"tenant_id": tenant_id}
    today = now.astimezone(JAPAN).date()
    terms = _SQL.rows(connection, "contract_terms", today=today, **of_tenant)
    contract = Contract(
        tenant_id,
        next(iter(_SQL.rows(connection, "tenant_of", today=today, **of_tenant)), None),
        choices(connection, [tenant_id])[tenant_id],
        next(iter(_SQL.rows(connection, "contract_profile", **of_tenant)), None),
        _SQL.rows(connection, "contract_addresses", now=now, since=now - _MAILS, **of_tenant),
        [{**row, "fields": _fields(row)} for row in terms],
        _SQL.rows(connection, "contract_payers", **of_tenant),
        load_waiting(connection, tenant_id),
        _SQL.rows(connection, "contract_history", most=_MOST_LISTED, **of_tenant),
    )
    is_known = contract.tenant or terms or contract.payers or contract.history
    return contract if is_known else None


def _fields(term: Row) -> dict[str, Any]:
    """The dialog's values for correcting the row. A plan has no last day: it is valid until the next one."""
    if term["kind"] == "plan":
        return {**term["terms"], "plan_from": term["valid_from"]}
    values = {**term["terms"], "valid_from": term["valid_from"], "valid_to": term["valid_to"]}
    return {_FIELDS.get(name, name): value for name, value in values.items()}


@router.get("/tenants/{tenant_id:path}/contract")
def contract_page(request: Request, rights: RightsDep, tenant_id: str) -> Response:
    """A tenant's contract. Only for users who may change it, because it has names and addresses."""
    rights.require_start(OPERATE_CONTRACTS.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        page = load_contract(connection, tenant_id, datetime.now(UTC))
    if page is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return render(
        request,
        rights,
        "contract.html",
        section="/tenants",
        page=page,
        profile=PROFILE,
        states=STATES,
        results=RESULTS,
        not_arrived=_NOT_ARRIVED,
    )


@router.get("/contracts")
def contracts_page(request: Request, rights: RightsDep) -> Response:
    """The waiting changes of all tenants, and the exchange rates. Only for users who may change contracts."""
    rights.require_start(OPERATE_CONTRACTS.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        waiting = load_waiting(connection)
        rates = _SQL.rows(connection, "exchange_rates", most=_MOST_LISTED)
        history = _SQL.rows(connection, "contract_history", tenant_id="", most=_MOST_LISTED)
    return render(
        request,
        rights,
        "contracts.html",
        section="/invoices",
        waiting=waiting,
        rates=rates,
        history=history,
        results=RESULTS,
    )
