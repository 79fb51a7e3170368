"""Undo the changes of a run of BATCH-018-05."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.operations.undo_settings_sync.batch import SettingsSyncUndo


def create_batch(_: Installation) -> SettingsSyncUndo:
    """The undo. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.operations.undo_settings_sync.batch import SettingsSyncUndo

    return SettingsSyncUndo()
