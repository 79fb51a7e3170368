"""One tenant: its data in the batches and the results of their runs. Sections that the reader may not see are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from fastapi import APIRouter, HTTPException, Request, Response, status

from skill_batch.board.access import RightsDep
from skill_batch.board.charts import Series, translated
from skill_batch.board.choosing import ChosenTenant, customer_choices
from skill_batch.board.database import BoardDatabase
from skill_batch.board.message_words import ALL_STATES, KINDS, channel_labels
from skill_batch.board.rendering import Links, language_of, render, translator
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.batches.inactive_tenants.digest import STAGE_NAMES
from include.skillreport.batches.tenant_monitoring.checks import TEXTS as CHECK_TEXTS
from include.skillreport.billing.allowances import with_allowances
from include.skillreport.billing.pricing.price_list import load_price_list
from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from include.skillreport.billing.settings import UsageSettings
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    EXTERNAL_SYNC,
    INACTIVE_TENANTS,
    MONTHLY_REPORT,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SETTINGS_SYNC,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.tenant_selection import ACTIVE_STATUSES
from include.skillreport.core.failure_kinds import FailureKind, kind_of
from include.skillreport.core.operation_catalog import (
    OFFBOARD_TENANT,
    OPERATE_CONTRACTS,
    OPERATE_INVOICES,
    OPERATE_NOTIFICATIONS,
    RESTORE_BACKUP,
    RUN_SPECS,
)
from include.skillreport.core.run_spec import BatchSpec, RunSpec
from include.skillreport.operations.offboard_tenant.form import STAGES

router = APIRouter()

USAGE_DAYS = 90
_LISTED = 20
_LISTED_MONTHS = 12
_MESSAGE_PERIOD = timedelta(days=30)

# A batch's latest outcome is searched in this many of its runs: two weeks of an hourly batch.
_LAST_RUNS = 400

# The lists of the page: block, the batch whose data it shows, and the maximum number of rows.
_LISTS: Mapping[str, tuple[RunSpec, int]] = {
    "tenant_usage_warnings": (TENANT_USAGE, _LISTED),
    "tenant_invoices": (TENANT_BILLING, _LISTED_MONTHS),
    "tenant_reminder_stops": (TENANT_BILLING, _LISTED),
    "tenant_incidents": (TENANT_MONITORING, _LISTED),
    "tenant_inactivity_changes": (INACTIVE_TENANTS, _LISTED),
    "tenant_messages": (NOTIFICATION_RETRY, _LISTED),
    "tenant_reports": (MONTHLY_REPORT, _LISTED_MONTHS),
    "tenant_findings": (NOTIFICATION_SETTINGS_CHECK, _LISTED),
    "tenant_setting_changes": (SETTINGS_SYNC, _LISTED),
    "tenant_offboardings": (OFFBOARD_TENANT, _LISTED),
}


@dataclass(frozen=True)
class Quotas:
    """The limits of a tenant. None: no limit, or an unknown limit."""

    users: float | None = None
    storage_gb: float | None = None
    api_calls_per_month: float | None = None


@dataclass(frozen=True)
class LastOutcome:
    """The tenant's result in the batch's latest run that has an outcome for it.

    ``parts`` usually has one row. It is empty if the batch has not worked on the tenant.
    """

    spec: RunSpec
    parts: Sequence[Mapping[str, Any]]

    @property
    def first_failed(self) -> Mapping[str, Any] | None:
        """The first part that failed, or has no result although the run ended."""
        return next(
            (
                part
                for part in self.parts
                if part["status"] == "failed"
                or (part["status"] == "pending" and part["run_status"] != "running")
            ),
            None,
        )

    @property
    def failure_kind(self) -> FailureKind:
        """The kind of its first failure."""
        return kind_of(self.spec, (self.first_failed or {}).get("error_code"))

    @property
    def can_dry_run(self) -> bool:
        """True if the batch has a dry run for chosen tenants."""
        return isinstance(self.spec, BatchSpec) and self.spec.takes_tenants


@dataclass(frozen=True)
class TenantPage:
    """The content of the page. ``tenant`` is None if the application has deleted it.

    ``customer`` is the tenant's choice in operations on invoices. ``may_delete``: the installation may delete rows of the application.
    ``sections`` has the visible rows by block of ``tenant.sql``.
    """

    tenant_id: str
    tenant: Mapping[str, Any] | None
    customer: ChosenTenant
    charts: Sequence[Series]
    sections: Mapping[str, Sequence[Mapping[str, Any]]]
    outcomes: Sequence[LastOutcome]
    may_delete: bool = False

    @property
    def code(self) -> str:
        """The code, or the id if the application has deleted the tenant."""
        return str(self.tenant["tenant_code"]) if self.tenant else self.tenant_id

    @property
    def chosen_as(self) -> str | None:
        """The value of a form's field "tenants" that selects exactly this tenant; None if there is none.

        Operations on invoices also know deleted tenants, so they need ``customer``.
        """
        return self.tenant["chosen_as"] if self.tenant else None

    @property
    def failed(self) -> list[LastOutcome]:
        """The batches whose last run failed for the tenant."""
        return [outcome for outcome in self.outcomes if outcome.first_failed]

    @property
    def others(self) -> list[LastOutcome]:
        """The other batches."""
        return [outcome for outcome in self.outcomes if not outcome.first_failed]

    @property
    def newest_invoice(self) -> Mapping[str, Any] | None:
        """The newest invoice that is neither void nor a credit note."""
        return next(iter(self._live_invoices), None)

    @property
    def billed_usage(self) -> list[Mapping[str, Any]]:
        """The invoices of the charts' months that the reader may see, newest first, without void ones."""
        months = {str(label)[:7] for series in self.charts[:1] for label, _ in series.points}
        return [row for row in self._live_invoices if f"{row['period_start']:%Y-%m}" in months]

    @property
    def _live_invoices(self) -> list[Mapping[str, Any]]:
        rows = self.sections.get("tenant_invoices", ())
        return [row for row in rows if row["kind"] == "invoice" and row["status"] != "void"]

    @property
    def is_active(self) -> bool:
        """True if the batches work on the tenant."""
        return bool(self.tenant and self.tenant["status"] in ACTIVE_STATUSES)

    @property
    def is_known(self) -> bool:
        """True if the application or a row of the batches contains the tenant."""
        return bool(
            self.tenant
            or any(outcome.parts for outcome in self.outcomes)
            or self.charts
            or any(rows for name, rows in self.sections.items() if name != "tenant_backup")
        )


def load_tenant(
    connection: psycopg.Connection[Any],
    tenant_id: str,
    may_read: Callable[[str], bool],
    now: datetime,
) -> TenantPage | None:
    """The page of a tenant at ``now`` (aware); None if the tenant is unknown.

    ``may_read`` says whether the reader may see a DAG's results.
    """
    today = now.astimezone(JAPAN).date()
    tenant = next(iter(_SQL.rows(connection, "tenant_of", tenant_id=tenant_id, today=today)), None)
    sections = {
        block: _SQL.rows(connection, block, tenant_id=tenant_id, most=most)
        for block, (spec, most) in _LISTS.items()
        if may_read(spec.dag_id)
    }
    for block, spec in (
        ("tenant_inactivity", INACTIVE_TENANTS),
        ("tenant_backup", DATA_BACKUP),
        ("tenant_directories", EXTERNAL_SYNC),
        ("tenant_circuits", NOTIFICATION_RETRY),
    ):
        if may_read(spec.dag_id):
            sections[block] = _SQL.rows(connection, block, tenant_id=tenant_id)
    if may_read(NOTIFICATION_RETRY.dag_id):
        sections["message_stops"] = _SQL.rows(connection, "message_stops", tenant_ids=[tenant_id], most=1)
        sections["tenant_message_counts"] = _SQL.rows(
            connection, "tenant_message_counts", tenant_id=tenant_id, since=now - _MESSAGE_PERIOD
        )
    page = TenantPage(
        tenant_id,
        tenant,
        customer_choices(connection, [tenant_id])[tenant_id],
        _usage_charts(connection, tenant_id, tenant, today) if may_read(TENANT_USAGE.dag_id) else (),
        sections,
        _outcomes(connection, tenant_id, [spec for spec in RUN_SPECS.values() if may_read(spec.dag_id)]),
        _SQL.column(connection, "may_delete") == [True],
    )
    return page if page.is_known else None


def _outcomes(
    connection: psycopg.Connection[Any], tenant_id: str, specs: Sequence[RunSpec]
) -> list[LastOutcome]:
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for row in _SQL.rows(
        connection,
        "tenant_outcomes",
        tenant_id=tenant_id,
        batch_ids=[spec.id for spec in specs],
        last_runs=_LAST_RUNS,
    ):
        parts.setdefault(row["batch_id"], []).append(row)
    found = [LastOutcome(spec, parts.get(spec.id, ())) for spec in specs]
    return [outcome for outcome in found if outcome.parts or outcome.can_dry_run]


def quotas_of(tenant: Mapping[str, Any] | None, today: date) -> Quotas:
    """The contract's limits, otherwise the plan's. The tenant's own settings are not read."""
    if tenant is None:
        return Quotas()
    users = float(tenant["max_users"]) if (tenant["max_users"] or 0) > 0 else None
    try:
        usage = with_allowances(
            UsageSettings.load(),
            load_price_list(),
            plan=tenant["subscription_plan"],
            max_storage_gb=tenant["max_storage_gb"],
            day=today,
        )
    except SettingsError:
        # The batches send alerts about it.
        return Quotas(users)
    return Quotas(users, _positive(usage.storage_gb), _positive(usage.api_calls_per_month))


def _positive(value: Decimal | int | None) -> float | None:
    return float(value) if value is not None and value > 0 else None


def _usage_charts(
    connection: psycopg.Connection[Any], tenant_id: str, tenant: Mapping[str, Any] | None, today: date
) -> Sequence[Series]:
    """The closed days up to yesterday, each with the execution that closed it.

    Days that are not closed and missing figures are gaps.
    """
    first = today - timedelta(days=USAGE_DAYS)
    rows = _SQL.rows(
        connection,
        "tenant_usage",
        tenant_id=tenant_id,
        first=first.replace(day=1),
        last=today - timedelta(days=1),
    )
    if not rows:
        return ()
    quotas = quotas_of(tenant, today)
    by_day = {row["usage_date"]: row for row in rows}
    days = [first + timedelta(days=number) for number in range(USAGE_DAYS)]
    closed_by = [by_day[each]["closed_by"] or "" if each in by_day else "" for each in days]

    def series(
        title: str, value: Callable[[Mapping[str, Any]], Any], unit: str, limit: float | None = None
    ) -> Series:
        points = [(each.isoformat(), _figure(by_day.get(each), value)) for each in days]
        return Series(title, points, unit, limit, pages=closed_by)

    month = _month_api_calls(rows)
    return (
        series("アクティブユーザー", lambda row: row["active_users"], "人", quotas.users),
        series(
            "ストレージ",
            lambda row: None if row["storage_bytes"] is None else row["storage_bytes"] / BYTES_PER_GB,
            "GB",
            quotas.storage_gb,
        ),
        series(
            "API 呼び出し（月初からの累計）",
            lambda row: None if row["api_calls"] is None else month[row["usage_date"]],
            "回",
            quotas.api_calls_per_month,
        ),
        series("レポート", lambda row: row["reports_generated"], "件"),
    )


def _figure(row: Mapping[str, Any] | None, value: Callable[[Mapping[str, Any]], Any]) -> float | None:
    figure = None if row is None else value(row)
    return None if figure is None else float(figure)


def _month_api_calls(rows: Sequence[Mapping[str, Any]]) -> dict[date, int]:
    totals: dict[date, int] = {}
    for row in rows:
        day: date = row["usage_date"]
        before = [total for known, total in totals.items() if known >= day.replace(day=1)]
        totals[day] = (before[-1] if before else 0) + (row["api_calls"] or 0)
    return totals


@router.get("/tenants/{tenant_id:path}")
def tenant_page(request: Request, rights: RightsDep, tenant_id: str) -> Response:
    """The page of a tenant, including a tenant that the application has deleted."""
    rights.require_read(TENANT_USAGE.dag_id)
    database: BoardDatabase = request.app.state.database
    now = datetime.now(UTC)
    with database.read() as connection:
        page = load_tenant(connection, tenant_id, rights.may_read, now)
    if page is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    translate, links = translator(language_of(request)), Links(request)
    return render(
        request,
        rights,
        "tenant.html",
        page=page,
        charts=[
            replace(
                translated(series, translate),
                pages=[links.page("executions", run) if run else "" for run in series.pages],
            )
            for series in page.charts
        ],
        checks={check.value: text.name for check, text in CHECK_TEXTS.items()},
        stages={stage.value: name for stage, name in STAGE_NAMES.items()},
        states=ALL_STATES,
        kinds=KINDS,
        channels=channel_labels(),
        closed=kind_of(NOTIFICATION_RETRY, "channel_closed"),
        restore=RESTORE_BACKUP.dag_id,
        invoices=OPERATE_INVOICES.dag_id,
        contracts=OPERATE_CONTRACTS.dag_id,
        notifications=OPERATE_NOTIFICATIONS.dag_id,
        offboarding=OFFBOARD_TENANT.dag_id,
        stages_of_leaving=STAGES,
        today=now.astimezone(JAPAN).date(),
    )
