"""The settings of BATCH-001."""

from __future__ import annotations

from typing import Annotated

from include.skillreport.core.setting_types import Days, Flag, Range, Share
from include.skillreport.core.settings import Part, Section

# The maximum number of processes of pg_dump and pg_restore.
MOST_JOBS = 32


class RetentionSettings(Part):
    """The backups that BATCH-001 keeps: the last one of each of the newest days, ISO weeks and months with a backup."""

    daily: Days
    weekly: Annotated[int, Range(0, 5_300)]
    monthly: Annotated[int, Range(0, 1_200)]


class BackupSettings(Section):
    """The settings of BATCH-001; the same for all tenants."""

    key = "backup"

    jobs: Annotated[int, Range(1, MOST_JOBS)]
    compression_level: Annotated[int, Range(1, 19)]
    encrypted: Flag
    least_percent: Share
    compare_percent: Annotated[int, Range(1, 100)]
    retention: RetentionSettings
