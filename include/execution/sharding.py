"""How a run's tenants are spread over mapped task instances."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The tenants of one mapped instance, and the label under which the UI shows it."""

    label: str
    tenant_ids: list[str]


def shard_tenants(tenants: Sequence[Tenant], settings: ExecutionSettings) -> list[Shard]:
    """One shard per tenant while the UI can show them; above that, balanced shards.

    A mapped instance costs about 0.2 s of scheduling, whatever it does. The order of ``tenants`` is kept, so that the same
    tenants make the same shards.
    """
    if len(tenants) <= settings.max_mapped_tenants:
        return [Shard(tenant.code, [tenant.id]) for tenant in tenants]
    size, larger = divmod(len(tenants), settings.shards)
    shards, start = [], 0
    for index in range(settings.shards):
        part = tenants[start : start + size + (index < larger)]
        start += len(part)
        if part:
            shards.append(
                Shard(f"{part[0].code} – {part[-1].code} ({len(part)})", [tenant.id for tenant in part])
            )
    return shards
