"""One tenant's failure never touches another's: a small batch against real tables, broken in every way that matters."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import errors

from include.skillreport.core.errors import is_recoverable
from include.skillreport.core.execution.batch import UnitFailure, Work
from include.skillreport.core.execution.shard_work import ShardReport, UnitsFailedError, prepare
from local_stack.batch_runs import process_tenants
from tests.conftest import Database
from tests.waiting import LIMIT_SECONDS
from tests.worlds.seat_batch import SeatBatch, break_work, kept, open_run, outcomes, plant_tenants

DIVISION = "0 で割ろうとしました（division by zero、SQLSTATE 22012）"


def test_a_broken_tenant_among_fifty_fails_alone(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 50)
    break_work(host, ids[33])
    batch, run = SeatBatch(), open_run(platform, ids)

    report = process_tenants(connection, platform, batch, run, ids)

    healthy = [tenant_id for tenant_id in ids if tenant_id != ids[33]]
    assert kept(host) == {tenant_id: ["10"] for tenant_id in healthy}
    assert sorted(result.unit_id for result in report.results) == healthy
    assert report.failures == [UnitFailure(ids[33], "22012", DIVISION, recoverable=False)]
    assert outcomes(host, run) == {
        tenant_id: ("success", {"seats": 10}, None, None, 1) for tenant_id in healthy
    } | {ids[33]: ("failed", {}, "22012", DIVISION, 1)}


@pytest.mark.parametrize("position", [0, 33, 49])
def test_finding_one_broken_tenant_takes_a_logarithmic_number_of_tries(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection, position: int
) -> None:
    ids = plant_tenants(host, 50)
    break_work(host, ids[position])
    batch = SeatBatch()

    process_tenants(connection, platform, batch, open_run(platform, ids), ids)

    assert len(batch.prepared) == 1
    assert 2 < len(batch.processed) <= 2 * math.ceil(math.log2(50)) + 1


def test_healthy_tenants_are_done_together_in_one_try(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 50)
    batch = SeatBatch()

    report = process_tenants(connection, platform, batch, open_run(platform, ids), ids)

    assert (batch.prepared, batch.processed) == ([ids], [ids])
    assert (len(report.results), report.failures) == (50, [])


def test_several_broken_tenants_fail_each_under_its_own_name(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 10)
    broken = [ids[0], ids[1], ids[7]]
    for tenant_id in broken:
        break_work(host, tenant_id)
    run = open_run(platform, ids)

    report = process_tenants(connection, platform, SeatBatch(), run, ids)

    assert [failure.unit_id for failure in report.failures] == broken
    assert sorted(kept(host)) == sorted(set(ids) - set(broken))
    assert [
        tenant_id for tenant_id, outcome in outcomes(host, run).items() if outcome[0] == "failed"
    ] == broken


def test_a_tenant_that_cannot_be_prepared_fails_at_its_own_turn(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 8)
    host.execute("""UPDATE "MST_Tenant" SET max_users = 0 WHERE tenant_id = %s""", [ids[2]])
    batch, run = SeatBatch(), open_run(platform, ids)

    left_out = prepare(batch, Work(run, platform, ids))
    assert {tenant_id: type(error) for tenant_id, error in left_out.items()} == {
        ids[2]: errors.DivisionByZero
    }

    first = process_tenants(connection, platform, batch, run, ids[4:])
    assert (len(first.results), first.failures) == (4, [])
    second = process_tenants(connection, platform, batch, run, ids[:4])
    assert second.failures == [UnitFailure(ids[2], "22012", DIVISION, recoverable=False)]
    assert sorted(kept(host)) == [tenant_id for tenant_id in ids if tenant_id != ids[2]]
    assert outcomes(host, run)[ids[2]] == ("failed", {}, "22012", DIVISION, 1)

    host.execute("""UPDATE "MST_Tenant" SET max_users = 10""")
    mended = process_tenants(connection, platform, batch, run, [ids[2]])
    assert mended.failures == []
    assert outcomes(host, run)[ids[2]] == ("success", {"seats": 10}, None, None, 2)


def test_a_repeated_shard_leaves_the_same_rows_and_counts_attempts(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 5)
    break_work(host, ids[3])
    run = open_run(platform, ids)

    process_tenants(connection, platform, SeatBatch(), run, ids)
    rows, first = kept(host), outcomes(host, run)
    process_tenants(connection, platform, SeatBatch(), run, ids)

    assert kept(host) == rows
    assert {outcome[-1] for outcome in first.values()} == {1}
    assert outcomes(host, run) == {tenant_id: (*outcome[:-1], 2) for tenant_id, outcome in first.items()}


def test_an_error_that_concerns_everybody_is_raised_at_once_and_leaves_nothing(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 5)
    batch = SeatBatch(after_write=lambda working: working.execute("SELECT FROM batch.no_such_table"))
    run = open_run(platform, ids)

    with pytest.raises(errors.UndefinedTable):
        process_tenants(connection, platform, batch, run, ids)

    assert len(batch.processed) == 1
    assert kept(host) == {}
    assert {outcome[0] for outcome in outcomes(host, run).values()} == {"pending"}


def test_a_connection_lost_in_the_middle_leaves_no_half_written_tenant(
    shared_database: Database, host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 6)
    break_work(host, ids[0])
    run = open_run(platform, ids)

    def break_when_the_second_half_was_written(working: psycopg.Connection) -> None:
        if batch.processed[-1] == ids[3:]:
            host.execute("SELECT pg_terminate_backend(%s, 5000)", [working.info.backend_pid])

    batch = SeatBatch(after_write=break_when_the_second_half_was_written)
    with (
        shared_database.connect("batch_tenant") as connection,
        pytest.raises(psycopg.OperationalError) as raised,
    ):
        process_tenants(connection, platform, batch, run, ids)

    assert is_recoverable(raised.value)
    # Work and outcomes that were committed before remain. The others have neither.
    assert sorted(kept(host)) == ids[1:3]
    assert {tenant_id: outcome[0] for tenant_id, outcome in outcomes(host, run).items()} == {
        ids[0]: "pending",
        ids[1]: "success",
        ids[2]: "success",
        **dict.fromkeys(ids[3:], "pending"),
    }

    with shared_database.connect("batch_tenant") as connection:
        report = process_tenants(connection, platform, SeatBatch(), run, ids)
    assert [failure.unit_id for failure in report.failures] == [ids[0]]
    assert sorted(kept(host)) == ids[1:]


def test_a_dry_run_writes_outcomes_and_nothing_else(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 6)
    break_work(host, ids[4])
    batch, run = SeatBatch(), open_run(platform, ids, dry_run=True)

    report = process_tenants(connection, platform, batch, run, ids)
    batch.discard(Work(run, platform))

    assert kept(host) == {}
    assert host.execute("SELECT count(*) FROM batch.usage_signal").fetchone() == (0,)
    assert len(report.results) == 5
    expected: dict[str, Any] = dict.fromkeys(ids, ("success", {"seats": 10}, None, None, 1))
    assert outcomes(host, run) == expected | {ids[4]: ("failed", {}, "22012", DIVISION, 1)}


def test_two_concurrent_tries_of_a_shard_leave_one_set_of_rows(
    shared_database: Database, host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 20)
    run = open_run(platform, ids)
    together = threading.Barrier(2, timeout=LIMIT_SECONDS)

    def one_try() -> ShardReport:
        batch = SeatBatch(before_work=lambda _: together.wait())
        with (
            shared_database.working() as (own_platform, own_connection),
        ):
            return process_tenants(own_connection, own_platform, batch, run, ids)

    prepare(SeatBatch(), Work(run, platform, ids))
    with ThreadPoolExecutor() as threads:
        tries = [threads.submit(one_try) for _ in range(2)]
        assert [attempt.result().failures for attempt in tries] == [[], []]

    assert kept(host) == {tenant_id: ["10"] for tenant_id in ids}
    assert {tenant_id: outcome[:2] for tenant_id, outcome in outcomes(host, run).items()} == dict.fromkeys(
        ids, ("success", {"seats": 10})
    )


def test_a_shard_without_tenants_asks_the_batch_for_nothing(
    platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    batch = SeatBatch()
    assert process_tenants(connection, platform, batch, open_run(platform, []), []) == ShardReport()
    assert (batch.prepared, batch.processed) == ([], [])


def test_a_shard_error_names_tenants_and_is_recoverable_if_one_is() -> None:
    permanent = UnitFailure("T1", "22012", "division by zero", recoverable=False)
    passing = UnitFailure("T2", "40001", "could not serialize", recoverable=True)

    error = UnitsFailedError([permanent, passing])
    assert str(error) == "テナント T1: division by zero、テナント T2: could not serialize"
    assert is_recoverable(error)
    assert not is_recoverable(UnitsFailedError([permanent]))


def test_the_error_of_a_shard_names_ten_of_thousands() -> None:
    failures = [
        UnitFailure(f"T{number}", "22012", "division by zero", recoverable=number == 4_999)
        for number in range(5_000)
    ]

    error = UnitsFailedError(failures)
    assert str(error).endswith("、テナント T9: division by zero、ほか 4,990 件")
    assert is_recoverable(error)
