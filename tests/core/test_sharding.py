"""Shards: every tenant once, in order, with about the same work, and never more of them than the settings allow."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.sharding import PastRuns, Shard, Tenant, shard_tenants

SETTINGS = st.builds(
    ExecutionSettings,
    max_mapped_tenants=st.integers(1, 1000),
    shards=st.integers(1, 1000),
    tenants_per_shard=st.integers(1, 1000),
    seconds_per_shard=st.integers(1, 100),
)


def tenants(count: int) -> list[Tenant]:
    return [Tenant(f"id-{number}", f"CODE{number}", f"Tenant {number}") for number in range(count)]


def records_of(figures: list[int]) -> dict[str, int]:
    return {f"id-{number}": figure for number, figure in enumerate(figures)}


@given(st.lists(st.integers(0, 10_000), max_size=1500), SETTINGS)
def test_every_tenant_is_in_exactly_one_shard_and_in_the_order_given(
    figures: list[int], settings: ExecutionSettings
) -> None:
    shards = shard_tenants(tenants(len(figures)), settings, past=PastRuns(records_of(figures)))
    assert [tenant_id for tenant_ids in shards.values() for tenant_id in tenant_ids] == list(
        records_of(figures)
    )
    assert all(shards.values())
    assert [shard.number for shard in shards] == list(range(len(shards)))


@given(st.integers(0, 3000), SETTINGS)
def test_shards_of_equal_tenants_differ_by_one_tenant_at_most(
    count: int, settings: ExecutionSettings
) -> None:
    sizes = [len(tenant_ids) for tenant_ids in shard_tenants(tenants(count), settings).values()]
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(st.integers(0, 3000), SETTINGS)
def test_the_number_of_shards_follows_the_settings_and_the_tenants(
    count: int, settings: ExecutionSettings
) -> None:
    shards = shard_tenants(tenants(count), settings)
    if count <= settings.max_mapped_tenants:
        assert len(shards) == count
    else:
        wanted = max(settings.shards, -(-count // settings.tenants_per_shard))
        assert len(shards) == min(wanted, count, 1000)


@given(st.lists(st.integers(0, 10_000), min_size=11, max_size=400), st.integers(1, 40))
def test_shards_have_about_the_same_expected_work(figures: list[int], count: int) -> None:
    settings = ExecutionSettings(
        max_mapped_tenants=1, shards=count, tenants_per_shard=1000, seconds_per_shard=5
    )
    shards = shard_tenants(tenants(len(figures)), settings, past=PastRuns(records_of(figures)))
    mean = sum(figures) / len(figures)
    work = {name: 1 + (figure / mean if mean else 0) for name, figure in records_of(figures).items()}
    largest = max(sum(work[tenant_id] for tenant_id in tenant_ids) for tenant_ids in shards.values())
    # Each range may lack half of the weight after it. The last of 40 ranges gets what all before it lack: half of 1 + 1/2 + … + 1/39.
    assert largest <= sum(work.values()) / len(shards) + 2.5 * max(work.values())


def test_a_tenant_with_half_of_the_records_is_alone() -> None:
    settings = ExecutionSettings(
        max_mapped_tenants=100, shards=10, tenants_per_shard=1000, seconds_per_shard=5
    )
    figures = [1000] * 1000
    figures[500] = 1_000_000
    shards = list(shard_tenants(tenants(1000), settings, past=PastRuns(records_of(figures))).values())
    (alone,) = (tenant_ids for tenant_ids in shards if "id-500" in tenant_ids)
    sizes = [len(tenant_ids) for tenant_ids in shards if tenant_ids is not alone]
    assert alone == ["id-500"]
    # Half of the work is the same for each tenant, so the others are not put together in a few shards.
    assert max(sizes) <= 1.5 * 999 / 9


def test_a_tenant_that_the_last_run_did_not_know_counts_as_idle() -> None:
    settings = ExecutionSettings(max_mapped_tenants=1, shards=2, tenants_per_shard=1000, seconds_per_shard=5)
    shards = shard_tenants(tenants(20), settings, past=PastRuns(records_of([100] * 10)))
    # Work of 3 for each of the ten known ones, and of 1 for each other one: 21 and 19.
    assert [len(tenant_ids) for tenant_ids in shards.values()] == [7, 13]


def test_up_to_the_limit_a_shard_is_one_tenant_under_its_code() -> None:
    settings = ExecutionSettings(max_mapped_tenants=2, shards=1, tenants_per_shard=1, seconds_per_shard=5)
    assert shard_tenants(tenants(2), settings) == {Shard(0, "CODE0"): ["id-0"], Shard(1, "CODE1"): ["id-1"]}


def test_above_the_limit_a_shard_is_labelled_by_first_and_last() -> None:
    settings = ExecutionSettings(max_mapped_tenants=4, shards=2, tenants_per_shard=10, seconds_per_shard=5)
    assert shard_tenants(tenants(5), settings) == {
        Shard(0, "CODE0 – CODE2 (3)"): ["id-0", "id-1", "id-2"],
        Shard(1, "CODE3 – CODE4 (2)"): ["id-3", "id-4"],
    }


@pytest.mark.parametrize(
    ("tenant_count", "past", "count"),
    [
        (1000, PastRuns(seconds=12.0), 5),  # never fewer than worker slots
        (1000, PastRuns(seconds=100.0), 20),
        (1000, PastRuns(seconds=9000.0), 40),  # never more than without a past
        (1000, PastRuns(seconds=100.0, shards=25), 25),
        (1000, PastRuns(seconds=100.0, shards=15), 15),
        (1000, PastRuns(seconds=100.0, shards=26), 20),
        (1000, PastRuns(seconds=100.0, shards=14), 20),
        (1000, PastRuns(seconds=12.0, shards=4), 5),
        (24_000, PastRuns(seconds=1.0), 24),  # at most a thousand tenants each
        (24_000, PastRuns(seconds=1.0, shards=19), 24),
        (48_000, PastRuns(seconds=9000.0), 48),
    ],
)
def test_the_number_of_shards_follows_the_work_of_earlier_runs(
    tenant_count: int, past: PastRuns, count: int
) -> None:
    settings = ExecutionSettings(
        max_mapped_tenants=100, shards=40, tenants_per_shard=1000, seconds_per_shard=5
    )
    assert len(shard_tenants(tenants(tenant_count), settings, past=past)) == count


@given(st.lists(st.integers(0, 100), min_size=2, max_size=50), SETTINGS)
def test_a_cleared_run_keeps_its_shards_while_the_tenants_are_equal(
    figures: list[int], settings: ExecutionSettings
) -> None:
    settings = settings.model_copy(update={"max_mapped_tenants": 1})
    every = tenants(len(figures))
    parts = {
        tenant.id: ["teams", "slack"][: figure % 3] for tenant, figure in zip(every, figures, strict=True)
    }
    first = shard_tenants(every, settings, parts, PastRuns(records_of(figures)))
    assigned = {(each, shard.part): shard.number for shard, ids in first.items() for each in ids}

    again = PastRuns({}, seconds=1.0, shards=1, assigned=assigned)

    assert shard_tenants(every, settings, parts, again) == first
    assert shard_tenants(every[1:], settings, parts, again) == shard_tenants(
        every[1:], settings, parts, PastRuns({}, 1.0, 1)
    )


def test_no_tenants_make_no_shards() -> None:
    assert shard_tenants([], ExecutionSettings.load()) == {}


# A million takes seconds.
@pytest.mark.parametrize(
    "count", [100, 101, 10_000, 100_000, pytest.param(1_000_000, marks=pytest.mark.long)]
)
def test_the_deployed_settings_stay_below_the_limits_of_airflow_and_of_xcom(count: int) -> None:
    _assert_below_the_limits(shard_tenants(tenants(count), ExecutionSettings.load()))


def test_the_largest_number_of_shards_stays_below_the_limits() -> None:
    smallest = ExecutionSettings.load().model_copy(update={"tenants_per_shard": 1})
    shards = shard_tenants(tenants(5_000), smallest)
    assert len(shards) == len(shard_tenants(tenants(6_000), smallest))
    _assert_below_the_limits(shards)


def _assert_below_the_limits(shards: dict[Shard, list[str]]) -> None:
    # 1024 mapped instances, and the maximum size of a database row.
    assert len(shards) <= 1024
    assert len(json.dumps([asdict(shard) for shard in shards])) < 100_000


def test_a_label_fits_its_column_and_keeps_both_ends() -> None:
    long = [Tenant(f"id-{name}", name * 300, name) for name in ("a", "b", "c")]
    settings = ExecutionSettings(max_mapped_tenants=1, shards=1, tenants_per_shard=3, seconds_per_shard=5)

    (shard,) = shard_tenants(long, settings, {tenant.id: ("teams",) for tenant in long})

    assert shard.label == f"{'a' * 99}… – {'c' * 99}… (3) teams"
    assert len(shard.label) <= 250


def test_a_code_of_a_hundred_characters_is_not_cut() -> None:
    (shard,) = shard_tenants([Tenant("id", "a" * 100, "A")], ExecutionSettings.load())
    assert shard.label == "a" * 100
