"""BATCH-002 ログクリーンアップ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.log_cleanup.batch import LogCleanupBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(installation: Installation) -> LogCleanupBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.log_cleanup.batch import LogCleanupBatch
    from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings

    return LogCleanupBatch(LogCleanupSettings.load(), installation)
