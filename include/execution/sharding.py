"""How a run's tenants are spread over mapped task instances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from include.settings import ExecutionSettings


@dataclass(frozen=True)
class Tenant:
    """An active tenant: its id is what rows carry, its code and name are what people read."""

    id: str
    code: str
    name: str


@dataclass(frozen=True)
class Shard:
    """The tenants of one mapped instance, the part of their work that it does, and the label under which the UI shows it."""

    label: str
    tenant_ids: list[str]
    part: str = ""


def shard_tenants(
    tenants: Sequence[Tenant],
    settings: ExecutionSettings,
    parts: Mapping[str, Sequence[str]] | None = None,
) -> list[Shard]:
    """One shard per tenant while the UI can show them; above that, balanced shards.

    Where a tenant's work falls into ``parts`` (by tenant id), each of them counts as one, and a balanced shard holds one part only. A
    mapped instance costs about 0.2 s of scheduling, whatever it does. The order of ``tenants`` is kept, so that the same tenants
    make the same shards.
    """
    work = [(tenant, part) for tenant in tenants for part in (parts or {}).get(tenant.id) or ("",)]
    if len(work) <= settings.max_mapped_tenants:
        return [Shard(_label(tenant.code, part), [tenant.id], part) for tenant, part in work]
    of_part: defaultdict[str, list[Tenant]] = defaultdict(list)
    for tenant, part in work:
        of_part[part].append(tenant)
    return [
        shard
        for part, its_tenants in sorted(of_part.items())
        for shard in _balanced(its_tenants, max(1, settings.shards * len(its_tenants) // len(work)), part)
    ]


def _balanced(tenants: Sequence[Tenant], shards: int, part: str) -> Iterator[Shard]:
    size, larger = divmod(len(tenants), shards)
    start = 0
    for index in range(shards):
        those = tenants[start : start + size + (index < larger)]
        start += len(those)
        if those:
            label = f"{those[0].code} – {those[-1].code} ({len(those)})"
            yield Shard(_label(label, part), [tenant.id for tenant in those], part)


def _label(tenants: str, part: str) -> str:
    return f"{tenants} {part}" if part else tenants
