"""The registry's assets in Airflow, and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.skillreport.core.assets import AssetSpec
    from include.skillreport.core.execution.announcement import Announcement
    from include.skillreport.core.run_spec import BatchSpec


def asset_of(spec: AssetSpec) -> Asset:
    """The asset as other teams' DAGs see it."""
    return Asset(spec.name, spec.uri, group=spec.group, extra={"about": spec.about} if spec.about else None)


def add_events(spec: BatchSpec, announcement: Announcement, context: Context) -> None:
    """Add an event for each asset that the batch produces. Airflow stores them when the task succeeds."""
    for made in spec.makes:
        event = context["outlet_events"][asset_of(made)]
        event.add_partitions(announcement.partition_key)
        event.extra.update(announcement.facts)
