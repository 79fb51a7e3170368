"""The registry's assets in Airflow, and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import Asset

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
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


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:  # noqa: ARG001
    """The asset as OpenLineage's dataset, for example ``usage`` in the namespace ``x-skill-report://batches``.

    Airflow calls it if the OpenLineage provider is installed.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"{uri.scheme}://{uri.netloc}", name=uri.path.lstrip("/"))
