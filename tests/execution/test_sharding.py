"""Shards: every tenant once, in order, evenly, and never more of them than the settings allow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.execution.sharding import Shard, Tenant, shard_tenants
from include.settings import ExecutionSettings, load_settings

SETTINGS = st.builds(
    ExecutionSettings,
    max_mapped_tenants=st.integers(1, 1000),
    shards=st.integers(1, 1000),
)


def tenants(count: int) -> list[Tenant]:
    return [Tenant(f"id-{number}", f"CODE{number}", f"Tenant {number}") for number in range(count)]


@given(st.integers(0, 3000), SETTINGS)
def test_every_tenant_is_in_exactly_one_shard_and_in_the_order_given(
    count: int, settings: ExecutionSettings
) -> None:
    shards = shard_tenants(tenants(count), settings)
    assert [tenant_id for shard in shards for tenant_id in shard.tenant_ids] == [
        tenant.id for tenant in tenants(count)
    ]
    assert all(shard.tenant_ids for shard in shards)


@given(st.integers(0, 3000), SETTINGS)
def test_shards_differ_by_one_tenant_at_most(count: int, settings: ExecutionSettings) -> None:
    sizes = [len(shard.tenant_ids) for shard in shard_tenants(tenants(count), settings)]
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(st.integers(0, 3000), SETTINGS)
def test_there_are_never_more_shards_than_the_settings_allow(count: int, settings: ExecutionSettings) -> None:
    shards = shard_tenants(tenants(count), settings)
    if count <= settings.max_mapped_tenants:
        assert len(shards) == count
    else:
        assert len(shards) == min(settings.shards, count)


def test_up_to_the_limit_a_shard_is_one_tenant_under_its_code() -> None:
    settings = ExecutionSettings(max_mapped_tenants=2, shards=1)
    assert shard_tenants(tenants(2), settings) == [Shard("CODE0", ["id-0"]), Shard("CODE1", ["id-1"])]


def test_above_the_limit_a_shard_is_labelled_with_its_first_and_last_tenant_and_their_number() -> None:
    settings = ExecutionSettings(max_mapped_tenants=4, shards=2)
    assert shard_tenants(tenants(5), settings) == [
        Shard("CODE0 – CODE2 (3)", ["id-0", "id-1", "id-2"]),
        Shard("CODE3 – CODE4 (2)", ["id-3", "id-4"]),
    ]


def test_no_tenants_make_no_shards() -> None:
    assert shard_tenants([], ExecutionSettings(max_mapped_tenants=1, shards=1)) == []


@given(st.integers(0, 20_000))
def test_the_deployed_settings_stay_below_airflows_limit_of_1024_mapped_instances(count: int) -> None:
    assert len(shard_tenants(tenants(count), load_settings().execution)) <= 1024
