"""BATCH-018-05 テナント設定同期."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.execution.installation import Installation
    from include.tenant_management.settings_sync.batch import SettingsSyncBatch


def create_batch(_: Installation) -> SettingsSyncBatch:
    """The batch with the deployed plans. A task calls this; parsing a DAG file loads nothing."""
    from include.tenant_management.settings_sync.batch import SettingsSyncBatch
    from include.tenant_management.settings_sync.plan_settings import load_plan_settings

    return SettingsSyncBatch(load_plan_settings())
