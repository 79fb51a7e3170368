"""BATCH-018-03: how each tenant has been in the last hour, which breaches have become incidents, and what the operators are told of them.

A run is about the full hour that ended at or before its own moment. An hour is judged once: running it again, or an older one after it,
measures again and changes no incident. What was missed is measured by the next run and judged by none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.billing.allowances import with_allowances
from include.billing.price_list import PriceList
from include.catalog import TENANT_MONITORING
from include.database import read_sql
from include.execution.business_date import JAPAN
from include.execution.digest import Digest
from include.execution.sharding import Tenant
from include.execution.tenant_work import Run, TenantBatch, TenantResult
from include.settings import MonitoringSettings, Settings, UsageSettings
from include.tenant_management.tenant_monitoring import announcements
from include.tenant_management.tenant_monitoring.anomalies import HISTORY_DAYS, MEASURES_KEPT, usual_hours
from include.tenant_management.tenant_monitoring.checks import (
    Check,
    FailingBatch,
    Figures,
    HourMeasure,
    Results,
    WaitingMessages,
    run_checks,
)
from include.tenant_management.tenant_monitoring.digest import digest_lines
from include.tenant_management.tenant_monitoring.incidents import (
    REOPEN_WITHIN,
    Incident,
    Recent,
    Severity,
    step,
)

_HERE = Path(__file__).parent

_HOUR = timedelta(hours=1)

# One day more than the baseline: of the hour in which the log begins only half may be there.
_MEASURED_AT_FIRST = timedelta(days=HISTORY_DAYS + 1)
# A monthly batch that failed is failing until its next run.
_FAILURES_LOOKED_AT = timedelta(days=35)

# Sorting a large log on disk costs more than this much of the server's memory, once per run.
_COLLECT_WORK_MEM = "256MB"

_Incidents: TypeAlias = Mapping[tuple[str, str], Incident]


@dataclass(frozen=True)
class _CheckedTenant:
    """One tenant's checks and their states after them. Without ``is_kept`` the hour, or a newer one, was judged before."""

    tenant_id: str
    figures: Figures
    last_activity_at: datetime | None
    results: Results
    recent: Mapping[Check, Recent]
    before: Mapping[Check, Incident]
    after: Mapping[Check, Incident]
    is_kept: bool
    notes: tuple[str, ...]

    @property
    def changed(self) -> list[Check]:
        """Whose incident is another than before."""
        return [check for check, incident in self.after.items() if incident != self.before.get(check)]

    @property
    def opened(self) -> list[Check]:
        """Whose incident is open, and was not."""
        return [
            check
            for check in self.changed
            if _is_open(self.after[check]) and not _is_open(self.before.get(check))
        ]

    @property
    def closed(self) -> list[Check]:
        """Whose incident is over."""
        return [check for check in self.changed if not _is_open(self.after[check])]


class TenantMonitoringBatch(TenantBatch):
    """The steps of BATCH-018-03; see ``TenantBatch`` for what each must hold to."""

    staging_table = "monitoring_signal"

    def __init__(self, settings: Settings, price_list: PriceList) -> None:
        self._settings = settings
        self._price_list = price_list

    def options(
        self,
        parameters: Mapping[str, Any],  # noqa: ARG002
        tenants: Sequence[Tenant],  # noqa: ARG002
        *,
        all_tenants: bool,
    ) -> dict[str, Any]:
        """``all_tenants``: whether the run can say anything about the platform."""
        return {"all_tenants": all_tenants}

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read every host log table once and leave one ``batch.monitoring_signal`` row per tenant."""
        check_at = checked_at(run)
        platform.execute("SELECT set_config('work_mem', %s, true)", [_COLLECT_WORK_MEM])
        platform.execute(
            read_sql(_HERE, "collect_signals"),
            {
                "execution_id": run.execution_id,
                "batch_id": TENANT_MONITORING.id,
                "check_at": check_at,
                "history_start": check_at - _MEASURED_AT_FIRST,
                "failures_since": check_at - _FAILURES_LOOKED_AT,
                "tenant_ids": list(tenant_ids),
            },
        )

    def process(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_ids: Sequence[str],  # noqa: ARG002 - the transaction's context says it
    ) -> list[TenantResult]:
        """Keep the hours' measures, run the checks, and move the incidents one step."""
        check_at = checked_at(run)
        hour = check_at - _HOUR
        about = {
            "execution_id": run.execution_id,
            "check_at": check_at,
            "kept_from": check_at - MEASURES_KEPT,
            "closed_since": check_at - REOPEN_WITHIN,
            "today": hour.date(),
            "month_start": hour.date().replace(day=1),
            "hours": [hour, *usual_hours(hour)],
        }
        connection.execute(read_sql(_HERE, "begin_tenants"), about)
        connection.execute(read_sql(_HERE, "lock_tenants"), about)
        connection.execute(read_sql(_HERE, "keep_measures"), about)
        connection.execute(read_sql(_HERE, "forget_measures"), about)
        with connection.cursor(row_factory=dict_row) as cursor:
            tenants = cursor.execute(read_sql(_HERE, "load_tenants"), about).fetchall()
            measures = _measures(cursor.execute(read_sql(_HERE, "load_measures"), about))
            incidents = _incidents(cursor.execute(read_sql(_HERE, "load_incidents"), about))
        checked = [
            self._check(row, measures.get(row["tenant_id"], {}), incidents, check_at) for row in tenants
        ]
        _keep(connection, about, [tenant for tenant in checked if tenant.is_kept])
        connection.execute(read_sql(_HERE, "use_up_signals"), about)
        return [_result(tenant) for tenant in checked]

    def digest(self, platform: psycopg.Connection, run: Run) -> Digest:
        """What has become news since the last digest; it counts as told once this transaction is committed."""
        news = announcements.take_news(
            platform,
            run.execution_id,
            checked_at(run),
            self._settings.monitoring,
            all_tenants=run.options["all_tenants"],
        )
        return Digest(digest_lines(news), news.is_critical)

    def _check(
        self,
        row: dict[str, Any],
        measures: dict[datetime, HourMeasure],
        incidents: _Incidents,
        check_at: datetime,
    ) -> _CheckedTenant:
        settings, usage, notes = self._tenant_settings(row, check_at)
        hour = check_at - _HOUR
        figures = Figures(
            hour=hour,
            measure=measures.pop(hour, None),
            past=measures,
            storage_bytes=int(row["storage_bytes"]),
            month_api_calls=int(row["month_api_calls"]),
            waiting=[WaitingMessages(**waiting) for waiting in row["waiting_messages"]],
            failing=[
                FailingBatch(**{**failing, "business_date": date.fromisoformat(failing["business_date"])})
                for failing in row["failing_batches"]
            ],
            contract_end=row["contract_end"],
            today=hour.date(),
        )
        results = run_checks(figures, settings, usage)
        before = {check: found for check in Check if (found := incidents.get((row["tenant_id"], check)))}
        recent = {Check(name): _recent(known) for name, known in row["recent"].items()}
        is_kept = row["checked_at"] is None or row["checked_at"] < check_at
        after = dict(before)
        for check, breach in results.items() if is_kept else ():
            recent[check], incident = step(recent.get(check, Recent()), before.get(check), breach, check_at)
            if incident is not None:
                after[check] = incident
        return _CheckedTenant(
            row["tenant_id"],
            figures,
            row["last_activity_at"],
            results,
            recent,
            before,
            after,
            is_kept,
            notes,
        )

    def _tenant_settings(
        self, row: dict[str, Any], check_at: datetime
    ) -> tuple[MonitoringSettings, UsageSettings, tuple[str, ...]]:
        """The tenant's thresholds and allowances; one that does not hold must not keep the tenant from being watched."""
        settings, notes = self._settings.monitoring.overridden_if_valid(row["monitoring_overrides"])
        allowances = with_allowances(
            self._settings.usage,
            self._price_list,
            plan=row["subscription_plan"],
            max_storage_gb=row["max_storage_gb"],
            day=(check_at - _HOUR).date(),
        )
        usage, usage_notes = allowances.overridden_if_valid(row["usage_overrides"])
        return settings, usage, notes + usage_notes


def checked_at(run: Run) -> datetime:
    """The full hour (Asia/Tokyo) that ends what the run looks at."""
    return run.as_of.replace(minute=0, second=0, microsecond=0)


def _measures(rows: Iterable[dict[str, Any]]) -> defaultdict[str, dict[datetime, HourMeasure]]:
    """Each tenant's measures by hour."""
    measures: defaultdict[str, dict[datetime, HourMeasure]] = defaultdict(dict)
    for row in rows:
        tenant_id, hour_at = row.pop("tenant_id"), row.pop("hour_at")
        measures[tenant_id][hour_at.astimezone(JAPAN)] = HourMeasure(**row)
    return measures


def _incidents(rows: Iterable[dict[str, Any]]) -> _Incidents:
    """The newest incident by tenant and check."""
    incidents = {}
    for row in rows:
        key = row.pop("tenant_id"), row.pop("check_name")
        incidents[key] = Incident(**{**row, "severity": Severity(row["severity"])})
    return incidents


def _recent(known: Mapping[str, str]) -> Recent:
    return Recent(known["results"], datetime.fromisoformat(known["at"]))


def _keep(
    connection: psycopg.Connection, about: Mapping[str, Any], tenants: Sequence[_CheckedTenant]
) -> None:
    """Write where the check has left the tenants, and the incidents that it has changed."""
    states = [
        {
            "tenant_id": tenant.tenant_id,
            "last_activity_at": tenant.last_activity_at and tenant.last_activity_at.isoformat(),
            "recent": {
                check: {"results": recent.results, "at": recent.at and recent.at.isoformat()}
                for check, recent in tenant.recent.items()
                if not recent.is_quiet or _is_open(tenant.after.get(check))
            },
        }
        for tenant in tenants
    ]
    connection.execute(read_sql(_HERE, "keep_tenants"), {**about, "tenants": Jsonb(states)})
    incidents = [
        {
            "tenant_id": tenant.tenant_id,
            "check_name": check,
            **{
                name: value.isoformat() if isinstance(value, datetime) else value
                for name, value in asdict(tenant.after[check]).items()
            },
        }
        for tenant in tenants
        for check in tenant.changed
    ]
    if incidents:
        connection.execute(read_sql(_HERE, "keep_incidents"), {**about, "incidents": Jsonb(incidents)})


def _is_open(incident: Incident | None) -> bool:
    return incident is not None and incident.closed_at is None


def _result(tenant: _CheckedTenant) -> TenantResult:
    breaches = {check: breach for check, breach in tenant.results.items() if breach is not None}
    is_open = [check for check, incident in tenant.after.items() if _is_open(incident)]
    measure = tenant.figures.measure
    details: dict[str, Any] = {
        "apiCalls": measure.api_calls if measure else None,
        "errors": measure.errors if measure else None,
        "failedLogins": measure.failed_logins if measure else None,
        "lastActivityAt": tenant.last_activity_at and tenant.last_activity_at.isoformat(),
        "judged": list(tenant.results),
        "breaching": list(breaches),
        "open": is_open,
        "openIncidents": len(is_open),
        "openedIncidents": len(tenant.opened),
        "closedIncidents": len(tenant.closed),
    }
    return TenantResult(
        tenant.tenant_id,
        details,
        records=measure.api_calls if measure else 0,
        notes=(*tenant.notes, *(f"異常の開始: {tenant.after[check].evidence}" for check in tenant.opened)),
        report=tuple(
            f"{tenant.tenant_id}: {breach.severity}: {breach.evidence}" for breach in breaches.values()
        ),
    )
