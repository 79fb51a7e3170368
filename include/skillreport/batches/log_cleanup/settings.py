"""The settings of BATCH-002."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.skillreport.core.setting_types import LONGEST_DAYS, Days, Flag, Range
from include.skillreport.core.settings import Part, Section


class LogClassSettings(Part):
    """The days after which a class of log files is deleted, and whether it is archived before."""

    retention_days: Days
    archived: Flag


class LogRowSettings(Part):
    """The days after which BATCH-002 deletes old rows."""

    system_log: Days
    expired_token: Days
    execution_log: Days
    performance_metric: Days
    closed_incident: Days
    settled_alert: Days
    # Shorter times would delete rows that a batch still reads.
    login_day: Annotated[int, Range(400, LONGEST_DAYS)]
    statistics: Annotated[int, Range(800, LONGEST_DAYS)]
    statistics_group: Annotated[int, Range(62, LONGEST_DAYS)]
    usage_warning: Annotated[int, Range(62, LONGEST_DAYS)]
    inactivity_change: Days
    setting_change: Days
    directory_change: Days
    ended_suppression: Days
    service_limit: Annotated[int, Range(7, LONGEST_DAYS)]


class MarkedRowSettings(Part):
    """If and after how many days BATCH-002 archives and deletes rows that the application has marked as deleted."""

    enabled: Flag
    days: Days
    archive_days: Days


class LogCleanupSettings(Section):
    """The settings of BATCH-002; the same for all tenants."""

    key = "log_cleanup"

    compress_days: Days
    chunk_rows: Annotated[int, Range(1, 100_000)]
    classes: Annotated[dict[str, LogClassSettings], Field(min_length=1)]
    row_days: LogRowSettings
    marked_rows: MarkedRowSettings
