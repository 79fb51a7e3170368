"""The settings of a run: how its tenants are divided among task instances, and how rows find their person."""

from __future__ import annotations

from typing import Annotated

from include.skillreport.core.setting_types import Count, Range, Share
from include.skillreport.core.settings import Section


class ExecutionSettings(Section):
    """How a run's tenants are divided among mapped task instances."""

    key = "execution"
    # Airflow refuses to map over more than core.max_map_length (1024) items.
    max_mapped_tenants: Annotated[int, Range(1, 1000)]
    shards: Annotated[int, Range(1, 1000)]
    tenants_per_shard: Annotated[int, Range(1, 1_000_000)]


class IdentitySettings(Section):
    """Keys that identify no particular person, and how many unplaced rows make a run partial. Source: ``host_views/people.sql``.

    Some screens of the application write a fixed key for every user. Rows with ``placeholders`` are unplaced. ``watched_keys`` are also
    codes of real employees, so their rows are placed and counted. ``system_keys`` belong to the application itself.
    """

    key = "identity"

    placeholders: tuple[str, ...]
    watched_keys: tuple[str, ...]
    system_keys: tuple[str, ...]
    unplaced_percent: Share
    unplaced_events: Count

    def known_keys(self) -> dict[str, str]:
        """The kind of each key, as in ``batch.known_key``. A key in two lists has the kind of the last one."""
        return {
            **dict.fromkeys(self.watched_keys, "watched"),
            **dict.fromkeys(self.system_keys, "system"),
            **dict.fromkeys(self.placeholders, "placeholder"),
        }
