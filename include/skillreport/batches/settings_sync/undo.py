"""The changes of a run that can be undone, and the restored rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from include.skillreport.batches.settings_sync.rules import ChangeKind

ACTOR_PREFIX = "batch:"


def actor_of(execution_id: str) -> str:
    """The value of ``last_modified_by`` for a run's changes."""
    return f"{ACTOR_PREFIX}{execution_id}"


@dataclass
class Restored:
    """A setting's state before the run, with its ``applied_value`` and ``applied_source`` (None: not applied)."""

    tenant_id: str
    setting_key: str
    setting_value: str | None
    is_deleted: bool
    last_modified_by: str | None
    applied_value: str | None
    applied_source: str | None


@dataclass
class UndoPlan:
    """The restored settings, and the settings (tenant and key) that were changed since the run."""

    restored: list[Restored] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)


def plan_undo(changes: Iterable[Mapping[str, Any]], execution_id: str, undone_by: str) -> UndoPlan:
    """Undo a run's changes, for each setting all of them (newest first) or none.

    ``changes`` are rows ordered by tenant, key and descending time, each with the present setting.
    """
    plan = UndoPlan()
    for (tenant_id, key), group in groupby(changes, key=lambda row: (row["tenant_id"], row["setting_key"])):
        of_setting = list(group)
        now = of_setting[0]
        value, is_deleted, modified_by = now["setting_value"], now["is_deleted"], now["last_modified_by"]
        for change in of_setting:
            if (
                is_deleted is not False
                or value != change["new_value"]
                or modified_by != actor_of(execution_id)
            ):
                plan.conflicts.append((tenant_id, key))
                break
            is_deleted = change["kind"] != ChangeKind.UPDATED
            if change["kind"] == ChangeKind.INSERTED:
                modified_by = actor_of(undone_by)
            else:
                value, modified_by = change["old_value"], change["old_modified_by"]
        else:
            oldest = of_setting[-1]
            plan.restored.append(
                Restored(
                    tenant_id,
                    key,
                    value,
                    is_deleted,
                    modified_by,
                    oldest["old_applied_value"],
                    oldest["old_applied_source"],
                )
            )
    return plan
