"""BATCH-018-01: a day's usage per tenant, aggregated from the host's logs, written for the application and closed for billing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.activity.signals import collect_signals, keep_logins, use_up_signals
from include.billing.allowances import with_allowances
from include.billing.price_list import PriceList
from include.database import read_sql
from include.execution.business_date import JAPAN
from include.execution.tenant_work import Run, TenantBatch, TenantResult
from include.messaging import outbox
from include.messaging.notices import USAGE_WARNING, load_administrators
from include.messaging.preferences import load_preferences
from include.messaging.template_store import load_templates
from include.settings import Settings, UsageSettings
from include.tenant_management.tenant_usage.letters import usage_letter
from include.tenant_management.tenant_usage.warnings import (
    TENANT_ADMINISTRATOR,
    UsageFigures,
    UsageWarning,
    usage_warnings,
)

_HERE = Path(__file__).parent

# What a surge is looked for in: the metrics that billing charges for.
_BILLED_METRICS = ("active_users", "storage_bytes", "api_calls", "reports_generated")


class TenantUsageBatch(TenantBatch):
    """The steps of BATCH-018-01; see ``TenantBatch`` for what each must hold to."""

    staging_table = "usage_signal"

    def __init__(self, settings: Settings, price_list: PriceList) -> None:
        self._settings = settings
        self._price_list = price_list

    def further_tenants(self, platform: psycopg.Connection, business_date: date) -> Collection[str]:
        """Tenants that are not active any more and were under contract on the day."""
        rows = platform.execute(read_sql(_HERE, "tenants_under_contract"), {"business_date": business_date})
        return {tenant_id for (tenant_id,) in rows}

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read every host log table once and leave one ``batch.usage_signal`` row per tenant."""
        collect_signals(platform, run, tenant_ids)

    def process(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_ids: Sequence[str],  # noqa: ARG002 - the transaction's context says it
    ) -> list[TenantResult]:
        """Write the host's ``SYS_TenantUsage``, keep logins and plan, close the day, record the warnings that are new."""
        day = {
            "execution_id": run.execution_id,
            "business_date": run.business_date,
            "run_date": run.run_date,
        }
        connection.execute(read_sql(_HERE, "write_host_usage"), day)
        keep_logins(connection, run)
        connection.execute(read_sql(_HERE, "keep_plan"), day)
        connection.execute(read_sql(_HERE, "close_day"), day)
        usage = self._settings.usage
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                read_sql(_HERE, "load_closed_day"),
                {
                    **day,
                    "month_start": run.business_date.replace(day=1),
                    "history_start": run.business_date - timedelta(days=usage.surge_history_days),
                },
            ).fetchall()
        results: list[TenantResult] = []
        warnings: list[tuple[str, UsageWarning]] = []
        for row in rows:
            settings, notes = self._tenant_settings(row, run.business_date)
            found = usage_warnings(run.business_date, _figures(row), settings)
            warnings.extend((row["tenant_id"], warning) for warning in found)
            results.append(_result(row, found, notes))
        if warnings:
            self._warn(connection, run, warnings)
        use_up_signals(connection, run)
        return results

    def _warn(
        self, connection: psycopg.Connection, run: Run, warnings: Sequence[tuple[str, UsageWarning]]
    ) -> None:
        """Record the warnings that are new, and queue the letters to the administrators for those that concern them."""
        new = connection.execute(
            read_sql(_HERE, "record_warnings"),
            {
                "execution_id": run.execution_id,
                "business_date": run.business_date,
                "warnings": Jsonb([_warning_row(tenant_id, warning) for tenant_id, warning in warnings]),
            },
        ).fetchall()
        # Of several thresholds that are passed at once, the highest says all. (They rise in the list.)
        told = {
            (tenant_id, warning.metric): warning
            for tenant_id, warning in warnings
            if TENANT_ADMINISTRATOR in warning.audience
            and (tenant_id, warning.metric, warning.threshold_percent) in new
        }
        if not told:
            return
        languages = {
            tenant_id: own.settings.language
            for tenant_id, own in load_preferences(
                connection, self._settings.notification, datetime.combine(run.run_date, time(), JAPAN)
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
                for (tenant_id, _), warning in told.items()
                if tenant_id in addresses
            ],
            created_by=run.execution_id,
        )

    def _tenant_settings(
        self, row: dict[str, Any], business_date: date
    ) -> tuple[UsageSettings, tuple[str, ...]]:
        """The thresholds and allowances that hold for a tenant: its overrides, over its contract, over its plan, over the defaults.

        An override that does not hold must not keep the day from closing: the others' defaults apply, and the outcome says so.
        """
        settings = with_allowances(
            self._settings.usage,
            self._price_list,
            plan=row["subscription_plan"],
            max_storage_gb=row["max_storage_gb"],
            day=business_date,
        )
        return settings.overridden_if_valid(row["setting_overrides"])


def _figures(row: dict[str, Any]) -> UsageFigures:
    return UsageFigures(
        metrics={metric: row[metric] for metric in _BILLED_METRICS},
        month_api_calls=int(row["month_api_calls"]),
        means={
            metric: row[f"mean_{metric}"] for metric in _BILLED_METRICS if row[f"mean_{metric}"] is not None
        },
        history_days=row["history_days"],
    )


def _result(row: dict[str, Any], warnings: Sequence[UsageWarning], notes: tuple[str, ...]) -> TenantResult:
    details: dict[str, Any] = {metric: row[metric] for metric in ("registered_users", *_BILLED_METRICS)}
    if warnings:
        details["warnings"] = [
            f"{warning.kind}:{warning.metric}:{warning.threshold_percent}" for warning in warnings
        ]
    return TenantResult(row["tenant_id"], details, records=row["api_calls"], notes=notes)


def _warning_row(tenant_id: str, warning: UsageWarning) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "kind": warning.kind,
        "metric": warning.metric,
        "threshold_percent": str(warning.threshold_percent),
        "window_start": warning.window_start.isoformat(),
        "observed": str(warning.observed),
        "reference": str(warning.reference),
        "audience": warning.audience,
    }
