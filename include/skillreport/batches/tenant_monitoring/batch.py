"""BATCH-018-03: checks each tenant's last hour, opens and closes incidents, and reports the changes to the operators.

A run checks the last full hour at or before its start. Each hour is judged once: a second run of the same or an older hour measures
again and changes no incident. The next run measures missed hours, but does not judge them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.activity.hours import begin_hours, day_to_read_again
from include.skillreport.activity.signals import remember_logs
from include.skillreport.batches.tenant_monitoring import announcements
from include.skillreport.batches.tenant_monitoring.anomalies import HISTORY_DAYS, MEASURES_KEPT, usual_hours
from include.skillreport.batches.tenant_monitoring.checks import (
    Check,
    FailingBatch,
    Figures,
    HourMeasure,
    Results,
    WaitingMessages,
    run_checks,
)
from include.skillreport.batches.tenant_monitoring.digest import digest_lines
from include.skillreport.batches.tenant_monitoring.incidents import (
    REOPEN_WITHIN,
    BreachSeverity,
    Incident,
    Recent,
    step,
)
from include.skillreport.batches.tenant_monitoring.settings import MonitoringSettings
from include.skillreport.billing.allowances import with_allowances
from include.skillreport.billing.ledger.contract_changes import expire as expire_entries
from include.skillreport.billing.pricing.price_list import PriceList
from include.skillreport.billing.settings import UsageSettings
from include.skillreport.core.catalog import (
    BATCHES,
    TENANT_BILLING,
    TENANT_MONITORING,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Request, Run, StagingBatch, UnitResult, Work
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.people import keep_people
from include.skillreport.core.execution.reconciliation import (
    FILES,
    LOGINS,
    REQUESTS,
    begin_tallies,
    find_logins,
    find_sources,
    record_silences,
)
from include.skillreport.core.operation_catalog import OPERATE_INVOICES

_SQL = Statements(Path(__file__).parent)

_HOUR = timedelta(hours=1)

# One day more than the baseline, because the first hour of the log may be incomplete.
_MEASURED_AT_FIRST = timedelta(days=HISTORY_DAYS + 1)
# Sources without a row are searched once a day.
_SOURCES_KNOWN = timedelta(hours=20)
# A failed monthly batch counts as failing until its next run.
_FAILURES_LOOKED_AT = timedelta(days=35)

_Incidents: TypeAlias = Mapping[tuple[str, str], Incident]


@dataclass(frozen=True)
class _CheckedTenant:
    """One tenant's checks and the states after them. ``is_new``: neither this nor a later hour was judged before."""

    tenant_id: str
    figures: Figures
    last_activity_at: datetime | None
    results: Results
    recent: Mapping[Check, Recent]
    before: Mapping[Check, Incident]
    after: Mapping[Check, Incident]
    is_new: bool
    notes: tuple[str, ...]

    @property
    def changed(self) -> list[Check]:
        """The checks whose incident has changed."""
        return [check for check, incident in self.after.items() if incident != self.before.get(check)]

    @property
    def opened(self) -> list[Check]:
        """The checks whose incident has opened."""
        return [
            check
            for check in self.changed
            if _is_open(self.after[check]) and not _is_open(self.before.get(check))
        ]

    @property
    def closed(self) -> list[Check]:
        """The checks whose incident has closed."""
        return [check for check in self.changed if not _is_open(self.after[check])]


class TenantMonitoringBatch(StagingBatch):
    """The steps of BATCH-018-03; see ``include.skillreport.core.execution.batch``."""

    effects = frozenset({"openedIncidents", "closedIncidents"})
    states = frozenset({"apiCalls", "errors", "failedLogins", "openIncidents"})

    staging_table = "monitoring_signal"

    def __init__(self, settings: MonitoringSettings, usage: UsageSettings, price_list: PriceList) -> None:
        self._settings = settings
        self._usage = usage
        self._price_list = price_list

    def options(self, request: Request) -> dict[str, Any]:
        """``all_tenants``: true if the run covers all tenants, so that it can check the platform."""
        return {"all_tenants": not request.codes}

    def prepare(self, work: Work) -> None:
        """Read every host log table once and write one ``batch.monitoring_signal`` row per tenant, and the counted hours."""
        connection, check_at = work.connection, checked_at(work.run)
        keep_people(connection)
        scope = {
            "check_at": check_at,
            "history_start": check_at - _MEASURED_AT_FIRST,
            "tenant_ids": list(work.tenant_ids),
        }
        (first_hour,) = _SQL.row(connection, "first_hour", **scope)
        read_from = min(first_hour, day_to_read_again(connection, check_at) or first_hour)
        sources = find_sources(connection, patience=_SOURCES_KNOWN)
        begin_tallies(connection, work.run.execution_id)
        _SQL.execute(
            connection,
            "collect_signals",
            **scope,
            execution_id=work.run.execution_id,
            batch_ids=[spec.id for spec in BATCHES if spec is not TENANT_MONITORING],
            billing_id=TENANT_BILLING.id,
            invoice_operations_id=OPERATE_INVOICES.id,
            first_hour=first_hour,
            read_from=read_from,
            kept_from=begin_hours(connection, read_from, check_at),
            failures_since=check_at - _FAILURES_LOOKED_AT,
            has_requests=REQUESTS in sources,
            has_logins=LOGINS in sources,
            has_files=any(each in sources for each in FILES),
        )
        remember_logs(connection, work.run, (check_at - _HOUR).date())
        if LOGINS not in sources and find_logins(connection):
            sources |= {LOGINS}
            _SQL.execute(connection, "mark_logins", execution_id=work.run.execution_id)
        missing = [each for each in (REQUESTS, LOGINS, *FILES) if each not in sources]
        record_silences(connection, work.run.execution_id, missing, {})

    def process(self, work: Work) -> list[UnitResult]:
        """Save the hourly measures, run the checks, and update the incidents."""
        check_at = checked_at(work.run)
        hour = check_at - _HOUR
        about = {
            "execution_id": work.run.execution_id,
            "check_at": check_at,
            "kept_from": check_at - MEASURES_KEPT,
            "closed_since": check_at - REOPEN_WITHIN,
            "today": hour.date(),
            "month_start": hour.date().replace(day=1),
            "hours": [hour, *usual_hours(hour)],
        }
        _SQL.execute(work.connection, "begin_tenants", **about)
        _SQL.execute(work.connection, "lock_tenants", **about)
        _SQL.execute(work.connection, "save_measures", **about)
        _SQL.execute(work.connection, "delete_measures", **about)
        tenants = _SQL.rows(work.connection, "load_tenants", **about)
        measures = _measures(_SQL.rows(work.connection, "load_measures", **about))
        incidents = _incidents(_SQL.rows(work.connection, "load_incidents", **about))
        checked = [
            self._check(row, measures.get(row["tenant_id"], {}), incidents, check_at) for row in tenants
        ]
        _save(work.connection, about, [tenant for tenant in checked if tenant.is_new])
        self.discard(work)
        return [_result(tenant) for tenant in checked]

    def digest(self, work: Work) -> Digest:
        """The news since the last digest. It counts as reported once this transaction is committed."""
        # This hourly batch deletes expired personal values on time, even if nobody changes a contract.
        expire_entries(work.connection)
        news = announcements.take_news(
            work.connection,
            work.run.execution_id,
            checked_at(work.run),
            self._settings,
            all_tenants=work.run.options["all_tenants"],
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
            storage_bytes=_whole(row["storage_bytes"]),
            month_api_calls=_whole(row["month_api_calls"]),
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
        is_new = row["checked_at"] is None or row["checked_at"] < check_at
        after = dict(before)
        for check, breach in results.items() if is_new else ():
            recent[check], incident = step(recent.get(check, Recent()), before.get(check), breach, check_at)
            if incident is not None:
                after[check] = incident
        return _CheckedTenant(
            row["tenant_id"], figures, row["last_activity_at"], results, recent, before, after, is_new, notes
        )

    def _tenant_settings(
        self, row: dict[str, Any], check_at: datetime
    ) -> tuple[MonitoringSettings, UsageSettings, tuple[str, ...]]:
        """The tenant's thresholds and allowances. An invalid override is ignored, so that the tenant is still monitored."""
        settings, notes = self._settings.overridden_if_valid(row["monitoring_overrides"])
        allowances = with_allowances(
            self._usage,
            self._price_list,
            plan=row["subscription_plan"],
            max_storage_gb=row["max_storage_gb"],
            day=(check_at - _HOUR).date(),
        )
        usage, usage_notes = allowances.overridden_if_valid(row["usage_overrides"])
        return settings, usage, notes + usage_notes


def checked_at(run: Run) -> datetime:
    """The full hour (Asia/Tokyo) at which the checked period ends."""
    return run.as_of.replace(minute=0, second=0, microsecond=0)


def _whole(figure: Decimal | None) -> int | None:
    return None if figure is None else int(figure)


def _measures(rows: Iterable[dict[str, Any]]) -> defaultdict[str, dict[datetime, HourMeasure]]:
    measures: defaultdict[str, dict[datetime, HourMeasure]] = defaultdict(dict)
    for row in rows:
        tenant_id, hour_at = row.pop("tenant_id"), row.pop("hour_at")
        measures[tenant_id][hour_at.astimezone(JAPAN)] = HourMeasure(**row)
    return measures


def _incidents(rows: Iterable[dict[str, Any]]) -> _Incidents:
    incidents = {}
    for row in rows:
        key = row.pop("tenant_id"), row.pop("check_name")
        incidents[key] = Incident(**{**row, "severity": BreachSeverity(row["severity"])})
    return incidents


def _recent(known: Mapping[str, str]) -> Recent:
    return Recent(known["results"], datetime.fromisoformat(known["at"]))


def _save(
    connection: psycopg.Connection, about: Mapping[str, Any], tenants: Sequence[_CheckedTenant]
) -> None:
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
    _SQL.execute(connection, "save_tenants", **about, tenants=Jsonb(states))
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
        _SQL.execute(connection, "save_incidents", **about, incidents=Jsonb(incidents))


def _is_open(incident: Incident | None) -> bool:
    return incident is not None and incident.closed_at is None


def _result(tenant: _CheckedTenant) -> UnitResult:
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
    return UnitResult(
        tenant.tenant_id,
        details,
        records=(measure.api_calls or 0) if measure else 0,
        notes=(*tenant.notes, *(f"異常の開始: {tenant.after[check].evidence}" for check in tenant.opened)),
        report=tuple(
            f"{tenant.tenant_id}: {breach.severity}: {breach.evidence}" for breach in breaches.values()
        ),
    )
