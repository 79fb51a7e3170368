"""Divide a run's tenants into shards, one per mapped task instance.

XCom carries the shards without their tenants. The mapped instance finds its tenants by the shard number in the outcome rows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.worker_slots import CONCURRENCY

# Airflow cannot map over more than core.max_map_length (1024) items. Parts may add a few shards.
_MOST_SHARDS = 1000

# The last number of shards is kept if it is within this share of the wanted number.
_NEAR = 0.25

# A label has up to two codes. Airflow stores 250 characters and fails an instance with a longer label.
_LONGEST_CODE = 100


@dataclass(frozen=True)
class Unit:
    """An item of a run with its own outcome. Rows contain the id; operators see code and name."""

    id: str
    code: str
    name: str


@dataclass(frozen=True)
class Tenant(Unit):
    """A tenant as a unit of a run."""


@dataclass(frozen=True)
class Shard:
    """A mapped instance: its number in the run (from 0), its label in the UI, and the part of its tenants' work."""

    number: int
    label: str
    part: str = ""


@dataclass(frozen=True)
class PastRuns:
    """Data of a batch's earlier runs for planning the next one.

    ``records``: records processed in the last run, by tenant id. ``seconds``: expected work of all instances together (wall time), or None.
    ``shards``: the number of shards in the last complete run. ``assigned``: the shard of each tenant id and part in an earlier execution of
    the same run, if there is one.
    """

    records: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    shards: int = 0
    assigned: Mapping[tuple[str, str], int] = field(default_factory=dict)


def shard_tenants(
    tenants: Sequence[Unit],
    settings: ExecutionSettings,
    parts: Mapping[str, Sequence[str]] | None = None,
    past: PastRuns | None = None,
) -> dict[Shard, list[str]]:
    """The tenant ids of each shard: one tenant each up to ``max_mapped_tenants``, otherwise shards with about equal work.

    A tenant with ``parts`` (by tenant id) counts once per part, and a shard of several tenants has only one part. A shard is a range of
    ``tenants``; its label names the first and the last one. The same input gives the same shards. A cleared run with the same tenants keeps
    its shards, because Airflow shows the instances with their labels.
    """
    past = past or PastRuns()
    work = [(tenant, part) for tenant in tenants for part in (parts or {}).get(tenant.id) or ("",)]
    if len(work) <= settings.max_mapped_tenants:
        return {
            Shard(number, _label(_code(tenant), part), part): [tenant.id]
            for number, (tenant, part) in enumerate(work)
        }
    kept = past.assigned if past.assigned.keys() == {(tenant.id, part) for tenant, part in work} else {}
    count = _number_of_shards(len(work), settings, past)
    groups: defaultdict[tuple[int, str], list[Unit]] = defaultdict(list)
    for tenant, part in work:
        groups[kept.get((tenant.id, part), 0), part].append(tenant)
    ranges = [
        (part, members)
        for (_, part), units in sorted(groups.items())
        for members in _ranges(units, 1 if kept else max(1, count * len(units) // len(work)), past.records)
    ]
    return {
        Shard(number, _label(_range_label(members), part), part): [tenant.id for tenant in members]
        for number, (part, members) in enumerate(ranges)
    }


def _number_of_shards(units: int, settings: ExecutionSettings, past: PastRuns) -> int:
    """Each shard costs Airflow a third of a second, so little work gets few shards (decision record 0013).

    The last run's number is kept within a quarter of the wanted number, so that labels do not change every day.
    """
    by_memory = math.ceil(units / settings.tenants_per_shard)
    most = min(_MOST_SHARDS, max(settings.shards, by_memory))
    if past.seconds is None:
        return most
    least = min(most, max(CONCURRENCY, by_memory))
    wanted = min(most, max(least, math.ceil(past.seconds / settings.seconds_per_shard)))
    is_near = abs(past.shards - wanted) <= wanted * _NEAR
    return past.shards if is_near and least <= past.shards <= most else wanted


def _ranges(tenants: Sequence[Unit], count: int, records: Mapping[str, int]) -> Iterator[Sequence[Unit]]:
    """Divide the tenants into up to ``count`` ranges with about equal work.

    Half of a tenant's weight is constant, because an idle tenant costs time too. The other half follows its records.
    """
    weights = _weights(tenants, records)
    rest, start = sum(weights), 0
    for missing in range(min(count, len(tenants)), 0, -1):
        # Divide the remaining work among the remaining ranges, so that a very large tenant does not empty the ranges after it.
        target, weight, end = rest / missing, 0.0, start
        last_end = len(tenants) - (missing - 1)
        while end < last_end and (
            end == start or missing == 1 or weight + weights[end] / 2 <= target * (1 + 1e-9)
        ):
            weight += weights[end]
            end += 1
        yield tenants[start:end]
        rest, start = rest - weight, end


def _weights(tenants: Sequence[Unit], records: Mapping[str, int]) -> list[float]:
    mean = sum(records.get(tenant.id, 0) for tenant in tenants) / max(1, len(tenants))
    return [1 + (records.get(tenant.id, 0) / mean if mean else 0) for tenant in tenants]


def _range_label(tenants: Sequence[Unit]) -> str:
    return f"{_code(tenants[0])} – {_code(tenants[-1])} ({len(tenants)})"


def _code(tenant: Unit) -> str:
    code = tenant.code
    return code if len(code) <= _LONGEST_CODE else f"{code[: _LONGEST_CODE - 1]}…"


def _label(tenants: str, part: str) -> str:
    return f"{tenants} {part}" if part else tenants
