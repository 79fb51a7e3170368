"""Divide a run's tenants into shards, one per mapped task instance.

XCom carries the shards without their tenants. Each outcome row has the number of its shard, and the mapped instance reads them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from include.skillreport.core.execution.settings import ExecutionSettings

# Airflow refuses to map over more than core.max_map_length (1024) items. The tenants' parts may add a few shards.
_MOST_SHARDS = 1000

# A label has up to two codes. Airflow stores 250 characters of it, and fails an instance with a longer one.
_LONGEST_CODE = 100


@dataclass(frozen=True)
class Unit:
    """An item of a run that has its own outcome. Rows contain the id; operators see code and name."""

    id: str
    code: str
    name: str


@dataclass(frozen=True)
class Tenant(Unit):
    """A tenant as a unit of a run."""


@dataclass(frozen=True)
class Shard:
    """A mapped instance: its number in the run (from 0), its label in the UI, and the part of its tenants' work that it does."""

    number: int
    label: str
    part: str = ""


def shard_tenants(
    tenants: Sequence[Unit],
    settings: ExecutionSettings,
    parts: Mapping[str, Sequence[str]] | None = None,
    records: Mapping[str, int] | None = None,
) -> dict[Shard, list[str]]:
    """The tenant ids of each shard: one tenant each up to ``max_mapped_tenants``; above that, shards with about equal work.

    A tenant with ``parts`` (by tenant id) counts once per part, and a shard of several tenants has one part only. ``records`` is the number
    of records that the last run has processed for each tenant (None or 0 for an unknown tenant). A shard is a range of ``tenants``, so its
    label names the first and the last one. The same input gives the same shards.
    """
    work = [(tenant, part) for tenant in tenants for part in (parts or {}).get(tenant.id) or ("",)]
    if len(work) <= settings.max_mapped_tenants:
        return {
            Shard(number, _label(_code(tenant), part), part): [tenant.id]
            for number, (tenant, part) in enumerate(work)
        }
    count = min(_MOST_SHARDS, max(settings.shards, math.ceil(len(work) / settings.tenants_per_shard)))
    by_part: defaultdict[str, list[Unit]] = defaultdict(list)
    for tenant, part in work:
        by_part[part].append(tenant)
    ranges = [
        (part, members)
        for part, units in sorted(by_part.items())
        for members in _ranges(units, max(1, count * len(units) // len(work)), records or {})
    ]
    return {
        Shard(number, _label(_range_label(members), part), part): [tenant.id for tenant in members]
        for number, (part, members) in enumerate(ranges)
    }


def _ranges(tenants: Sequence[Unit], count: int, records: Mapping[str, int]) -> Iterator[Sequence[Unit]]:
    """Divide the tenants into ``count`` ranges with about the same work, or into one range per tenant if there are fewer tenants.

    Half of the expected work is the same for each tenant, because an idle tenant costs time too. The other half follows the records.
    """
    weights = _weights(tenants, records)
    rest, start = sum(weights), 0
    for missing in range(min(count, len(tenants)), 0, -1):
        # The remaining work is divided among the remaining ranges, so a very large tenant does not empty the ranges after it.
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
