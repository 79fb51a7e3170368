"""BATCH-004 レポート生成."""

from include.data_management.monthly_report.batch import MonthlyReportBatch
from include.settings import load_settings


def create_batch() -> MonthlyReportBatch:
    """The batch with the deployed settings."""
    return MonthlyReportBatch(load_settings())
