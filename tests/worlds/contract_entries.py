"""Runs of the operations on contracts on 10 November 2026, with what a person has entered on the board."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.approvals.requests import ApprovalRequest
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import (
    APPROVE_CONTRACTS,
    OPERATE_CONTRACTS,
)
from include.skillreport.operations.approve_contracts import create_batch as approval
from include.skillreport.operations.operate_contracts import create_batch
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds import board_entries
from tests.worlds.approval_rows import APPROVE, answer
from tests.worlds.billing_rows import customer

TODAY = date(2026, 11, 10)
AT = datetime(2026, 11, 10, 10, 0, tzinfo=JAPAN)
AUTHOR, SECOND = "keiri", "buchou"

PROFILES = (
    "tenant,recipient_name,department,postal_code,address,country,email,further_emails,cc_emails,language,currency,"
    "tax_category,partner_code,pdf_delivery,due_months,due_day,honorific\r\n"
)

NEW = "shin-keiri@customer.example"

FORMER = "keiri@customer.example"


@pytest.fixture
def tenants(host: psycopg.Connection) -> None:
    """A, B and C, all with October closed."""
    for tenant_id in "ABC":
        customer(host, tenant_id)


def enter(
    database: Database,
    operation: str,
    values: dict[str, Any],
    *,
    person: str = AUTHOR,
    minutes_ago: int = 0,
) -> str:
    """What a person enters on the board, as the role of the board; returns the token."""
    return board_entries.enter(
        database, OPERATE_CONTRACTS.dag_id, operation, values, person=person, minutes_ago=minutes_ago
    )


def run(
    database: Database,
    operation: str,
    *,
    tenants: Sequence[str] = (),
    person: str = AUTHOR,
    store: ObjectStore | None = None,
    run_at: datetime = AT,
    dry_run: bool = False,
    **values: Any,
) -> RunResult:
    """One whole run of the operation by a person."""
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            OPERATE_CONTRACTS,
            create_batch(LOCAL),
            run_at.date(),
            codes=tenants,
            parameters={"operation": operation, **values},
            run_at=run_at,
            triggered_by=person,
            store=store,
            dry_run=dry_run,
        )


def set_profile(database: Database, tenant: str = "A", *, person: str = AUTHOR, **values: Any) -> RunResult:
    """A person enters the whole profile of a tenant on the board, and the board starts the run."""
    token = enter(database, "set_profile", {"reason": "契約書", **values}, person=person)
    return run(database, "set_profile", tenants=[tenant], person=person, entry=token)


def set_discount(database: Database, tenant: str = "A", **values: Any) -> RunResult:
    """A discount of 10 % from November on, unless said otherwise."""
    given: dict[str, Any] = {
        "discount_name": "年間契約割引",
        "discount_kind": "percentage",
        "value": "10",
        "valid_from": "2026-11-01",
        "reason": "契約書",
    }
    return run(database, "set_discount", tenants=[tenant], **(given | values))


def decide(
    database: Database,
    request: ApprovalRequest,
    option: str = APPROVE,
    *codes: str,
    person: str = SECOND,
    confirmed: Sequence[str] = (),
) -> RunResult:
    """The second person's answer, and the run that applies it."""
    batch = approval(LOCAL)
    options: dict[str, Any] = {"person": person, "at": AT, "confirmed": confirmed}
    return answer(database, request, APPROVE_CONTRACTS, batch, option, *codes, **options)


def changes(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Tenant, kind, status, who entered it, who decided."""
    return host.execute(
        """
        SELECT tenant_id, kind, status, entered_by, decided_by FROM batch.contract_change
        ORDER BY entered_at, tenant_id, change_id
        """
    ).fetchall()


def profile(host: psycopg.Connection, tenant: str = "A") -> dict[str, Any]:
    """The profile's columns with values."""
    rows = host.execute(
        "SELECT to_jsonb(profile) FROM batch.billing_profile AS profile WHERE tenant_id = %s", [tenant]
    ).fetchall()
    return {name: value for name, value in rows[0][0].items() if value not in (None, [])} if rows else {}


def load(
    database: Database,
    store: ObjectStore,
    kind: str,
    text: str,
    *,
    name: str = "file.csv",
    encoding: str = "utf-8",
) -> RunResult:
    store.write(f"contracts/incoming/{name}", text.encode(encoding))
    return run(
        database, "import_file", store=store, imported_kind=kind, imported_file=name, reason="初回の登録"
    )


def discounts(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute(
        "SELECT tenant_id, name, value::int, valid_from::text, valid_to::text FROM batch.discount ORDER BY 1, 2, 4"
    ).fetchall()
