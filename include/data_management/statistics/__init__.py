"""BATCH-003 統計データ更新."""

from include.data_management.statistics.batch import StatisticsBatch


def create_batch() -> StatisticsBatch:
    """The batch as deployed."""
    return StatisticsBatch()
