"""The settings of BATCH-018-03."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from include.skillreport.core.setting_types import (
    LONGEST_DAYS,
    Hours,
    Percent,
    Positive,
    PositiveInt,
    Range,
    below,
)
from include.skillreport.core.settings import TenantSection


class MonitoringSettings(TenantSection):
    """Thresholds of BATCH-018-03. A tenant may override each setting, except those in ``same_for_all``."""

    key = "monitoring"
    same_for_all = frozenset({"platform_percent", "platform_min_tenants", "reminder_hour"})

    error_rate_warning_percent: Percent
    error_rate_critical_percent: Percent
    response_warning_seconds: Positive
    response_critical_seconds: Positive
    min_calls: PositiveInt
    quota_warning_percent: Percent
    quota_critical_percent: Percent
    failed_logins_warning: PositiveInt
    failed_logins_critical: PositiveInt
    failing_batches_warning: PositiveInt
    failing_batches_critical: PositiveInt
    stuck_outbox_hours: Hours
    stuck_host_hours: Hours
    stuck_messages_warning: PositiveInt
    stuck_messages_critical: PositiveInt
    contract_end_days: Annotated[int, Range(0, LONGEST_DAYS)]
    anomaly_score: Positive
    anomaly_min_calls: PositiveInt
    anomaly_min_failed_logins: PositiveInt
    anomaly_min_change_percent: Percent
    anomaly_floor_percent: Percent
    platform_percent: Percent
    platform_min_tenants: PositiveInt
    reminder_hour: Annotated[int, Range(0, 23)]

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        values = self.model_dump()
        for name, warning in values.items():
            critical = name.replace("_warning", "_critical")
            if critical != name and warning >= values[critical]:
                raise ValueError(below(name, critical))
        return self
