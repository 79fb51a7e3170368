"""The settings of a run: dividing tenants among task instances, placement of tasks, and identification of users."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field, field_validator

from include.skillreport.core.catalog import FAMILIES
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_spec import BatchSpec, OperationSpec, RunSpec
from include.skillreport.core.setting_types import Count, Range, Share, refused
from include.skillreport.core.settings import Part, Section

# A name in Airflow (queue and pool: 256 characters), and a Kubernetes quantity
# (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/, read November 2026).
Name = Annotated[str, Field(min_length=1, max_length=256)]
Amount = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
Resource = Literal["cpu", "memory", "ephemeral-storage"]


class ExecutionSettings(Section):
    """Division of a run's tenants among mapped task instances."""

    key = "execution"
    # Airflow cannot map over more than core.max_map_length (1024) items.
    max_mapped_tenants: Annotated[int, Range(1, 1000)]
    shards: Annotated[int, Range(1, 1000)]
    tenants_per_shard: Annotated[int, Range(1, 1_000_000)]
    seconds_per_shard: Annotated[int, Range(1, 3_600)]


class IdentitySettings(Section):
    """Keys that identify no user, and the number of unplaced rows that makes a run partial. Source: ``host_views/people.sql``.

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
        """The kind of each key, as in ``batch.known_key``. For a key in several lists, a placeholder precedes a system key and a watched
        key.
        """
        return {
            **dict.fromkeys(self.watched_keys, "watched"),
            **dict.fromkeys(self.system_keys, "system"),
            **dict.fromkeys(self.placeholders, "placeholder"),
        }


class Resources(Part):
    """The resource requests and limits of a task's pod (``resources`` of a container in Kubernetes)."""

    requests: dict[Resource, Amount] = Field(default_factory=dict)
    limits: dict[Resource, Amount] = Field(default_factory=dict)


class Placement(Part):
    """Where Airflow runs a task. None: Airflow's default."""

    queue: Name | None = None
    pool: Name | None = None
    resources: Resources | None = None

    @field_validator("resources")
    @classmethod
    def _need_the_client(cls, resources: Resources | None) -> Resources | None:
        if resources is not None and find_spec("kubernetes") is None:
            raise refused(
                "resources には Python のパッケージ kubernetes が必要です。apache-airflow-providers-cncf-kubernetes を入れるか、"
                "resources を消してください"
            )
        return resources


class PlacementSettings(Section):
    """The placement of tasks, by family slug and by task id."""

    key = "placement"

    families: dict[str, Placement]
    tasks: dict[str, Placement]

    @field_validator("families")
    @classmethod
    def _are_families(cls, families: dict[str, Placement]) -> dict[str, Placement]:
        return _known(families, {family.slug for family in FAMILIES})

    @field_validator("tasks")
    @classmethod
    def _are_tasks(cls, tasks: dict[str, Placement]) -> dict[str, Placement]:
        return _known(
            tasks, {name for spec in RUN_SPECS.values() for name in (*spec.steps, spec.mapped_task)}
        )

    def of(self, spec: RunSpec, task_id: str) -> Placement:
        """The placement of a task of a batch or operation. The task's values override the family's."""
        batch = spec.batch if isinstance(spec, OperationSpec) else spec
        assert isinstance(batch, BatchSpec), "a run is of a batch or of an operation"
        family, task = self.families.get(batch.family.slug), self.tasks.get(task_id)
        own = {name: value for name, value in task or () if value is not None}
        return (family or Placement()).model_copy(update=own)


def _known(placements: dict[str, Placement], names: set[str]) -> dict[str, Placement]:
    for name in placements:
        if name not in names:
            raise refused(f"{name} はありません。{'、'.join(sorted(names))} のどれかにしてください", name)
    return placements
