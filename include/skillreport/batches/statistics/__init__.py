"""BATCH-003 統計データ更新."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.statistics.batch import StatisticsBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> StatisticsBatch:
    """The batch. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.statistics.batch import StatisticsBatch

    return StatisticsBatch()
