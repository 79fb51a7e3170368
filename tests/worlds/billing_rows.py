"""The inputs of an invoice as rows for tests: closed days, plans, discounts; runs that bill and operate on them; and their results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from typing_extensions import override

from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.batches.tenant_usage import create_batch as create_usage_batch
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.batch import Batch, Run
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.shard_work import ShardReport
from include.skillreport.core.execution.storage_errors import storage_errors_named
from include.skillreport.core.form import ENTRY
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.operations.operate_invoices import create_batch as invoice_operations
from include.skillreport.operations.operate_invoices.form import FORM
from local_stack.batch_runs import LOCAL, open_run, process_tenants, run_batch
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.board_entries import enter
from tests.worlds.kept_rows import planted_once
from tests.worlds.own_settings import change_billing

MONTH = date(2026, 10, 1)
OCTOBER = Period.month_of(MONTH)
FIRST_OF_NOVEMBER = OCTOBER.next_day

CORRECTOR = "佐藤"

_DAY = {
    "registered_users": 0,
    "active_users": 0,
    "total_logins": 0,
    "api_calls": 0,
    "error_count": 0,
    "peak_concurrent_users": 0,
    "reports_generated": 0,
    "skill_assessments": 0,
    "notifications_sent": 0,
    "closed_by": "test",
}


def insert(connection: psycopg.Connection, table: str, **values: Any) -> None:
    """Insert one row into a table of the batches."""
    connection.execute(
        sql.SQL("INSERT INTO batch.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        ),
        list(values.values()),
    )


# The inputs of an invoice ------------------------------------------------------------------------------------------------


def customer(
    connection: psycopg.Connection,
    tenant_id: str,
    plan: str | None = "BASIC",
    *,
    months: Sequence[date] = (MONTH,),
    **values: Any,
) -> str:
    """A tenant with a plan (¥10,000 and tax unless said otherwise) that used nothing in months that are closed; returns its id."""
    values = {
        "subscription_plan": plan,
        "created_at": datetime(2026, 1, 1),
        "contact_email": "keiri@customer.example",
    } | values
    host_rows.tenant(connection, tenant_id, **values)
    for month in months:
        close_month(connection, tenant_id, month)
    return tenant_id


def close_month(
    connection: psycopg.Connection,
    tenant_id: str,
    month: date = MONTH,
    *,
    first: int = 1,
    last: int = 31,
    without: Collection[int] = (),
    storage_gb: int | None = 0,
    **figures: int | None,
) -> None:
    """Close the month's days from the first to the last but some, all alike; without figures there is no usage."""
    row = _DAY | {"storage_bytes": None if storage_gb is None else storage_gb * BYTES_PER_GB} | figures
    days = [
        day for day in Period.month_of(month).dates() if first <= day.day <= last and day.day not in without
    ]
    connection.execute(
        sql.SQL(
            "INSERT INTO batch.usage_day (tenant_id, usage_date, {}) SELECT %s, day, {} FROM unnest(%s::date[]) AS given (day)"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(sql.Placeholder() * len(row))
        ),
        [tenant_id, *row.values(), days],
    )


def plan_change(
    connection: psycopg.Connection, tenant_id: str, effective_from: date, plan: str | None
) -> None:
    """From this day on the tenant has the plan, or none any more."""
    insert(
        connection,
        "plan_change",
        tenant_id=tenant_id,
        effective_from=effective_from,
        plan=plan,
        recorded_by="test",
    )


def discount(connection: psycopg.Connection, tenant_id: str, **values: Any) -> None:
    """A discount that is valid for ever, all of it off unless said otherwise."""
    values = {
        "name": "特別値引き",
        "kind": "percentage",
        "value": 100,
        "valid_from": date(2026, 1, 1),
    } | values
    insert(connection, "discount", tenant_id=tenant_id, **values)


def commitment(connection: psycopg.Connection, tenant_id: str, amount: int, **values: Any) -> None:
    """The tenant's minimum commitment in yen, without an end unless the test says otherwise."""
    values = {"currency": "JPY", "valid_from": date(2026, 1, 1)} | values
    insert(connection, "commitment", tenant_id=tenant_id, amount=amount, **values)


def exchange_rate(
    connection: psycopg.Connection, rate_date: date, yen_per_unit: str, currency: str = "USD"
) -> None:
    """The value of a unit of the currency on a day."""
    insert(connection, "exchange_rate", currency=currency, rate_date=rate_date, yen_per_unit=yen_per_unit)


def billing_profile(connection: psycopg.Connection, tenant_id: str, **values: Any) -> None:
    """Whom the tenant's invoices are for."""
    insert(connection, "billing_profile", tenant_id=tenant_id, **values)


def jump(database: Database, connection: psycopg.Connection, store: ObjectStore | None = None) -> None:
    """A's and B's October come to more than half as much again as their September, C's to just as much. A's code is HD001."""
    september = date(2026, 9, 1)
    for tenant_id, code in (("A", "HD001"), ("B", "B"), ("C", "C")):
        customer(connection, tenant_id, months=(september,), tenant_code=code)
    run_billing(database, september, store=store)
    for tenant_id in ("A", "B"):
        close_month(connection, tenant_id, active_users=31)
    close_month(connection, "C", active_users=30)


def without_records(connection: psycopg.Connection, tenant_id: str, *, last: int = 31) -> None:
    """Close October as the application writes today: users, and up to the last day no record of anything else."""
    close_month(
        connection,
        tenant_id,
        last=last,
        active_users=25,
        storage_gb=None,
        api_calls=None,
        error_count=None,
        peak_concurrent_users=None,
        reports_generated=None,
    )
    close_month(connection, tenant_id, first=last + 1, active_users=25, storage_gb=12, api_calls=50_000)


# Runs ----------------------------------------------------------------------------------------------------------------------


def run_billing(database: Database, month: date = MONTH, **options: Any) -> RunResult:
    """One whole run of BATCH-018-02 on the first of the next month; ``options`` are those of ``run_batch``, and ``shards``.

    The run works tenant by tenant, as long as there are few, or in this many shards. Within a shard the order of the numbers is open.
    """
    return _run(database, TENANT_BILLING, create_batch(LOCAL), month, **options)


@pytest.fixture
def billed(
    request: pytest.FixtureRequest,
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A's October, ¥11,000, issued on 1 November and due on 30 November.

    ``pytest.mark.billed("A", "B", payment_source="host")`` names other tenants, of the same amount, and settings of billing.
    """
    tenant_ids, settings = ("A",), {}
    if marker := request.node.get_closest_marker("billed"):
        tenant_ids, settings = marker.args or tenant_ids, marker.kwargs
        change_billing(monkeypatch, tmp_path, **settings)

    def plant() -> None:
        for tenant_id in tenant_ids:
            customer(host, tenant_id)
        run_billing(database, store=store)

    planted_once(f"billed {tenant_ids} {settings}", database, plant, store)


def operate(
    database: Database,
    operation: str,
    *codes: str,
    month: date = MONTH,
    reason: str = "",
    values: Mapping[str, Any] | None = None,
    **options: Any,
) -> RunResult:
    """One whole run of an operation on the month's invoices of these tenants, or of A; ``values`` are further fields of the form.

    Personal values are entered on the board, by ``CORRECTOR`` unless the run is triggered by somebody.
    """
    form = {"operation": operation, "reason": reason, **(values or {})}
    batch = invoice_operations(LOCAL)
    options = {"codes": codes or ["A"]} | options
    if FORM.chosen(form).is_personal():
        options = {"triggered_by": CORRECTOR} | options
        form = entered_on_board(database, form, options["triggered_by"])
    return _run(database, OPERATE_INVOICES, batch, month, parameters=form, **options)


def entered_on_board(database: Database, form: Mapping[str, Any], person: str) -> dict[str, Any]:
    """The form of an operation with personal values, which the person has entered on the board: it has their token, unless it has one."""
    if ENTRY in form:
        return {name: value for name, value in form.items() if value}
    operation = form["operation"]
    values = {name: value for name, value in form.items() if name != "operation" and value}
    token = enter(database, OPERATE_INVOICES.dag_id, operation, values, person=person)
    return {"operation": operation, ENTRY: token}


def explain(database: Database, tenant_id: str = "A") -> tuple[str, ...]:
    """The lines that only the log of the operation's task shows."""
    (result,) = process(database, open_operation(database, "explain", tenant_id), [tenant_id]).results
    return result.report


def run_usage(database: Database, day: date, **fields: Any) -> RunResult:
    """One whole run of BATCH-018-01, the night after the day."""
    with database.working() as (platform, connection):
        return run_batch(platform, connection, TENANT_USAGE, create_usage_batch(LOCAL), day, **fields)


def bill_as_task(
    database: Database, *, codes: Sequence[str] = (), dry_run: bool = False, run_date: date | None = None
) -> ShardReport:
    """Run only the tenants' step, optionally on another day. Returns the lines that only its task's log shows."""
    with database.connect("batch_platform") as platform:
        batch = create_batch(LOCAL)
        run, tenants = open_run(platform, TENANT_BILLING, batch, MONTH, codes=codes, dry_run=dry_run)
    return process(database, replace(run, run_date=run_date or run.run_date), tenants)


def open_billing(database: Database) -> Run:
    """A run of BATCH-018-02 that has only been opened."""
    with database.connect("batch_platform") as platform:
        return open_run(platform, TENANT_BILLING, create_batch(LOCAL), MONTH)[0]


def open_operation(
    database: Database,
    operation: str,
    *codes: str,
    reason: str = "",
    values: Mapping[str, Any] | None = None,
    **options: Any,
) -> Run:
    """A run of an operation on these tenants, or on A, that has only been opened. Personal values are entered as in ``operate``."""
    form = {"operation": operation, "reason": reason, **(values or {})}
    if FORM.chosen(form).is_personal():
        options = {"triggered_by": CORRECTOR} | options
        form = entered_on_board(database, form, options["triggered_by"])
    return open_as_given(database, form, codes or ["A"], **options)


def open_as_given(database: Database, form: Mapping[str, Any], codes: Sequence[str], **options: Any) -> Run:
    """A run with exactly these values of the form that has only been opened."""
    with database.connect("batch_platform") as platform:
        batch = invoice_operations(LOCAL)
        return open_run(platform, OPERATE_INVOICES, batch, MONTH, codes=codes, parameters=form, **options)[0]


def process(
    database: Database, run: Run, tenant_ids: Sequence[str] = ("A",), store: ObjectStore | None = None
) -> ShardReport:
    """The tenants' step of an opened run: the first time, or again after its task is cleared."""
    batch = invoice_operations(LOCAL) if "operation" in run.options else create_batch(LOCAL)
    with database.working() as (platform, connection):
        return process_tenants(connection, platform, batch, run, tenant_ids, store)


def _run(
    database: Database, spec: RunSpec, batch: Batch, month: date, *, shards: int | None = None, **options: Any
) -> RunResult:
    sharding = ExecutionSettings.load()
    if shards:
        sharding = ExecutionSettings(
            max_mapped_tenants=1, shards=shards, tenants_per_shard=1000, seconds_per_shard=5
        )
    with database.working() as (platform, connection):
        return run_batch(platform, connection, spec, batch, month, sharding=sharding, **options)


class FullStore(ObjectStore):
    """A store whose disk is full."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))

    @override
    def write(self, key: str, content: bytes) -> str:
        place = storage_errors_named("保存先 /nowhere", Path("/nowhere"))
        with place, Path("/dev/full").open("wb", buffering=0) as file:
            file.write(content)
        return self.location(key)


# The results -------------------------------------------------------------------------------------------------------------


def invoices(
    connection: psycopg.Connection, tenant_id: str | None = None, month: date = MONTH
) -> list[dict[str, Any]]:
    """A month's invoices and credits, of one tenant or of all, in the order in which they were made."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT * FROM batch.invoice
            WHERE period_start = %(month)s AND tenant_id = coalesce(%(tenant_id)s, tenant_id)
            ORDER BY created_at, tenant_id, kind DESC
            """,
            {"month": month, "tenant_id": tenant_id},
        ).fetchall()


def invoice(connection: psycopg.Connection, tenant_id: str, month: date = MONTH) -> dict[str, Any]:
    """The tenant's only one."""
    (row,) = invoices(connection, tenant_id, month)
    return row


def host_billing(connection: psycopg.Connection, invoice_id: str) -> dict[str, Any]:
    """The invoice as the application shows it."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute('SELECT * FROM "HIS_TenantBilling" WHERE id = %s', [invoice_id]).fetchone()
    assert row is not None, f"the application has no row for {invoice_id}"
    return row


def numbers(connection: psycopg.Connection, month: date = MONTH) -> list[str]:
    """All numbers that the month's invoices and credits have, in the order of their text."""
    return sorted(row["number"] for row in invoices(connection, month=month) if row["number"])


def outcomes(connection: psycopg.Connection, result: RunResult) -> dict[str, dict[str, Any]]:
    """The execution log's rows about each tenant of the run."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT * FROM batch.tenant_outcome WHERE execution_id = %s ORDER BY tenant_id",
            [result.execution_id],
        ).fetchall()
    return {row["tenant_id"]: row for row in rows}


def details(report: ShardReport) -> dict[str, Any]:
    """The details of the only tenant's outcome."""
    assert report.failures == []
    (result,) = report.results
    return result.details


def states(connection: psycopg.Connection, tenant_id: str = "A") -> list[tuple[str, str | None]]:
    """Status and number of the tenant's invoices and credits."""
    return [(row["status"], row["number"]) for row in invoices(connection, tenant_id)]


def reasons(result: RunResult) -> dict[str, str]:
    """Why tenants failed, by their codes."""
    return {tenant.code: tenant.reason for tenant in result.failed_tenants}


def everything_written(connection: psycopg.Connection) -> dict[str, list[Any]]:
    """All rows that billing writes, except the log of its runs."""
    return {
        table: connection.execute(sql.SQL("TABLE {} ORDER BY 1, 2, 3").format(name)).fetchall()
        for table, name in (
            ("invoice", sql.Identifier("batch", "invoice")),
            ("counter", sql.Identifier("batch", "invoice_counter")),
            ("document", sql.Identifier("batch", "invoice_document")),
            ("host billing", sql.Identifier("HIS_TenantBilling")),
            ("notification", sql.Identifier("HIS_NotificationLog")),
        )
    }


def files(store: ObjectStore) -> dict[str, bytes]:
    """All files of the store by their keys."""
    root = Path(store.location("root")).parent
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def entered_lines(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute(
        """
        SELECT tenant_id, charged_on, description, quantity, unit, unit_amount, currency, tax_category
        FROM batch.extra_charge
        ORDER BY tenant_id, entered_at
        """
    ).fetchall()
