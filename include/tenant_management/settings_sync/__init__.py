"""BATCH-018-05 テナント設定同期."""

from include.tenant_management.settings_sync.batch import SettingsSyncBatch
from include.tenant_management.settings_sync.plan_settings import load_plan_settings


def create_batch() -> SettingsSyncBatch:
    """The batch with the deployed plans."""
    return SettingsSyncBatch(load_plan_settings())
