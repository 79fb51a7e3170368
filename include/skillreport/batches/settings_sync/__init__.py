"""BATCH-018-05 テナント設定同期."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.settings_sync.batch import SettingsSyncBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(_: Installation) -> SettingsSyncBatch:
    """The batch with the deployed plans. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.settings_sync.batch import SettingsSyncBatch
    from include.skillreport.batches.settings_sync.plan_settings import load_plan_settings

    return SettingsSyncBatch(load_plan_settings())
