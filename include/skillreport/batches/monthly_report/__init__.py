"""BATCH-004 レポート生成."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.monthly_report.batch import MonthlyReportBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> MonthlyReportBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.monthly_report.batch import MonthlyReportBatch
    from include.skillreport.batches.monthly_report.settings import MonthlyReportSettings

    return MonthlyReportBatch(MonthlyReportSettings.load())
