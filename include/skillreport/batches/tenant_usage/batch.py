"""BATCH-018-01: aggregates a day's usage per tenant from the host's logs, writes it for the application and closes it for billing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.activity.signals import collect_signals, keep_logins
from include.skillreport.batches.tenant_usage.letters import usage_letter
from include.skillreport.batches.tenant_usage.warnings import (
    UsageFigures,
    UsageWarning,
    usage_warnings,
)
from include.skillreport.billing.allowances import with_allowances
from include.skillreport.billing.pricing.price_list import PriceList
from include.skillreport.billing.settings import UsageSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Request, Run, StagingBatch, UnitResult, Work
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging import outbox
from include.skillreport.messaging.contract_letters import USAGE_WARNING
from include.skillreport.messaging.notices import NOBODY_TO_TELL, load_administrators
from include.skillreport.messaging.preferences import load_preferences
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.messaging.template_store import load_templates

_SQL = Statements(Path(__file__).parent)

# Surges are checked only for billed metrics.
_BILLED_METRICS = ("active_users", "storage_bytes", "api_calls", "reports_generated")


class TenantUsageBatch(StagingBatch):
    """The steps of BATCH-018-01; see ``include.skillreport.core.execution.batch``."""

    states = frozenset({"registered_users", *_BILLED_METRICS, "unplaced_accounts", "unplaced_events"})

    staging_table = "usage_signal"

    def __init__(
        self, settings: UsageSettings, notification: NotificationSettings, price_list: PriceList
    ) -> None:
        self._settings = settings
        self._notification = notification
        self._price_list = price_list

    def further_tenants(self, request: Request) -> Collection[str]:
        """Inactive tenants with a contract and a plan on the day."""
        rows = _SQL.execute(request.platform, "tenants_under_contract", business_date=request.business_date)
        return {tenant_id for (tenant_id,) in rows}

    def prepare(self, work: Work) -> None:
        """Read every host log table once and write one ``batch.usage_signal`` row per tenant."""
        collect_signals(work.connection, work.run, work.tenant_ids)

    def process(self, work: Work) -> list[UnitResult]:
        """Write the host's ``SYS_TenantUsage``, save logins and plan, close the day, and record the new warnings."""
        day = {
            "execution_id": work.run.execution_id,
            "business_date": work.run.business_date,
            "run_date": work.run.run_date,
        }
        _SQL.execute(work.connection, "write_host_usage", **day)
        keep_logins(work.connection, work.run)
        _SQL.execute(work.connection, "save_plan", **day)
        _SQL.execute(work.connection, "close_day", **day)
        usage = self._settings
        rows = _SQL.rows(
            work.connection,
            "load_closed_day",
            **day,
            month_start=work.run.business_date.replace(day=1),
            history_start=work.run.business_date - timedelta(days=usage.surge_history_days),
        )
        results: list[UnitResult] = []
        warnings: list[tuple[str, UsageWarning]] = []
        for row in rows:
            settings, notes = self._tenant_settings(row, work.run.business_date)
            found = usage_warnings(work.run.business_date, _figures(row), settings)
            warnings.extend((row["tenant_id"], warning) for warning in found)
            results.append(_result(row, found, notes))
        unreachable = self._warn(work.connection, work.run, warnings) if warnings else set()
        self.discard(work)
        return [
            replace(result, notes=(*result.notes, NOBODY_TO_TELL))
            if result.unit_id in unreachable
            else result
            for result in results
        ]

    def _warn(
        self, connection: psycopg.Connection, run: Run, warnings: Sequence[tuple[str, UsageWarning]]
    ) -> set[str]:
        """Record the new warnings, and queue the e-mails to the administrators. Returns the tenants without an address for their e-mail."""
        new = _SQL.execute(
            connection,
            "record_warnings",
            execution_id=run.execution_id,
            business_date=run.business_date,
            warnings=Jsonb([_warning_row(tenant_id, warning) for tenant_id, warning in warnings]),
        ).fetchall()
        # If usage passes several thresholds at once, only the highest is sent. The list is ascending.
        to_notify = {
            (tenant_id, warning.metric): warning
            for tenant_id, warning in warnings
            if warning.kind == "quota" and (tenant_id, warning.metric, warning.threshold_percent) in new
        }
        if not to_notify:
            return set()
        languages = {
            tenant_id: each.settings.language
            for tenant_id, each in load_preferences(
                connection, self._notification, datetime.combine(run.run_date, time(), JAPAN)
            ).items()
        }
        templates = load_templates(connection, [USAGE_WARNING], languages)
        addresses = load_administrators(connection)
        outbox.enqueue(
            connection,
            [
                usage_letter(
                    tenant_id, warning, addresses[tenant_id], templates[tenant_id], run_date=run.run_date
                )
                for (tenant_id, _), warning in to_notify.items()
                if tenant_id in addresses
            ],
            created_by=run.execution_id,
        )
        return {tenant_id for tenant_id, _ in to_notify} - addresses.keys()

    def _tenant_settings(
        self, row: dict[str, Any], business_date: date
    ) -> tuple[UsageSettings, tuple[str, ...]]:
        """The tenant's thresholds and allowances: its overrides, then its contract, then the day's plan, then the defaults.

        An invalid override must not prevent closing the day, so the default applies, with a note.
        """
        settings = with_allowances(
            self._settings,
            self._price_list,
            plan=row["plan"],
            max_storage_gb=row["max_storage_gb"],
            day=business_date,
        )
        return settings.overridden_if_valid(row["setting_overrides"])


def _figures(row: dict[str, Any]) -> UsageFigures:
    return UsageFigures(
        metrics={metric: row[metric] for metric in _BILLED_METRICS},
        month_api_calls=None if row["month_api_calls"] is None else int(row["month_api_calls"]),
        means={
            metric: row[f"mean_{metric}"] for metric in _BILLED_METRICS if row[f"mean_{metric}"] is not None
        },
        history_days={metric: row[f"days_{metric}"] for metric in _BILLED_METRICS},
    )


def _result(row: dict[str, Any], warnings: Sequence[UsageWarning], notes: tuple[str, ...]) -> UnitResult:
    details: dict[str, Any] = {metric: row[metric] for metric in ("registered_users", *_BILLED_METRICS)}
    if warnings:
        details["warnings"] = [
            f"{warning.kind}:{warning.metric}:{warning.threshold_percent}" for warning in warnings
        ]
    for name in ("unplaced_accounts", "unplaced_events"):
        if row[name]:
            details[name] = row[name]
    if row["is_uncounted"]:
        notes = (*notes, "アプリで削除されたテナントのため、この日の使用量は数えられず、0 としました")
    if row["unplaced_accounts"]:
        notes = (
            *notes,
            f"従業員のないアカウントが {row['unplaced_accounts']} 件あり、利用者数に含めていません",
        )
    if row["unplaced_events"]:
        notes = (
            *notes,
            f"このテナントと書かれた操作のうち {row['unplaced_events']} 件は、利用者が特定できません",
        )
    return UnitResult(row["tenant_id"], details, records=row["api_calls"] or 0, notes=notes)


def _warning_row(tenant_id: str, warning: UsageWarning) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "kind": warning.kind,
        "metric": warning.metric,
        "threshold_percent": str(warning.threshold_percent),
        "window_start": warning.window_start.isoformat(),
        "observed": str(warning.observed),
        "reference": str(warning.reference),
    }
