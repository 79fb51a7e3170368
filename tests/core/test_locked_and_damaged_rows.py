"""Rows that another session holds, and rows that the disk has damaged: they concern their own tenant."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.blockers import LockedError
from include.skillreport.core.execution.shard_work import ShardReport, prepare
from local_stack.batch_runs import process_tenants
from tests.conftest import Database
from tests.waiting import wait_until
from tests.worlds.seat_batch import DAY, SeatBatch, kept, open_run, outcomes, plant_tenants

LOGIN, APPLICATION = "skill_application", "nightly export"


@pytest.fixture
def application(shared_database: Database, host: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A session of another login, in a transaction."""
    host.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(LOGIN)))
    try:
        with psycopg.connect(shared_database.dsn, user=LOGIN, application_name=APPLICATION) as session:
            yield session
            session.rollback()
    finally:
        host.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(LOGIN)))


def lock_row(host: psycopg.Connection, application: psycopg.Connection, tenant_id: str) -> None:
    """The tenant has a row that the batch updates. The application holds it."""
    host.execute(
        "INSERT INTO batch.login_day (tenant_id, login_date, user_ids) VALUES (%s, %s, '{old}')",
        [tenant_id, DAY],
    )
    application.execute("SELECT FROM batch.login_day WHERE tenant_id = %s FOR UPDATE", [tenant_id])


@pytest.mark.slow("waits for locks")
@pytest.mark.parametrize("position", [0, 33, 49])
def test_a_locked_row_delays_only_its_tenant(
    host: psycopg.Connection,
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    application: psycopg.Connection,
    position: int,
) -> None:
    ids = plant_tenants(host, 50)
    lock_row(host, application, ids[position])
    run = open_run(platform, ids)
    others = {each: ["10"] for each in ids if each != ids[position]}

    with ThreadPoolExecutor() as threads:
        working = threads.submit(process_tenants, connection, platform, SeatBatch(), run, ids)
        wait_until(lambda: kept(host) == others | {ids[position]: ["old"]}, "the others are done meanwhile")
        application.rollback()
        report: ShardReport = working.result()

    assert kept(host) == {each: ["10"] for each in ids}
    assert len(report.results) == 50
    assert report.failures == []


@pytest.mark.slow("waits for locks")
def test_a_row_that_stays_locked_fails_its_tenant_and_names_the_session(
    host: psycopg.Connection,
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    application: psycopg.Connection,
) -> None:
    ids = plant_tenants(host, 20)
    lock_row(host, application, ids[7])
    run = open_run(platform, ids)
    connection.execute("SET statement_timeout = '6s'")

    report = process_tenants(connection, platform, SeatBatch(), run, ids)

    (failure,) = report.failures
    assert (failure.unit_id, failure.code, failure.recoverable) == (ids[7], "55P03", True)
    named = f"PID {application.info.backend_pid}、ログイン {LOGIN}、アプリケーション {APPLICATION}"
    assert f"ほかの処理（{named}）が行や表を占有" in failure.message
    assert outcomes(host, run)[ids[7]][0] == "failed"
    assert kept(host) == {each: ["10"] for each in ids if each != ids[7]} | {ids[7]: ["old"]}
    # The session keeps its limit.
    assert connection.execute("SHOW statement_timeout").fetchone() == ("6s",)


@pytest.mark.slow("waits for locks")
def test_the_tenants_of_a_locked_table_wait_together(
    host: psycopg.Connection,
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    application: psycopg.Connection,
) -> None:
    ids = plant_tenants(host, 20)
    application.execute("LOCK TABLE batch.login_day")
    batch, run = SeatBatch(), open_run(platform, ids)

    with ThreadPoolExecutor() as threads:
        working = threads.submit(process_tenants, connection, platform, batch, run, ids)
        # Halving has stopped, and one transaction waits for all.
        wait_until(lambda: batch.processed.count(ids) == 2, "the work waits for the table")
        application.rollback()
        report: ShardReport = working.result()

    assert len(report.results) == 20
    assert kept(host) == {each: ["10"] for each in ids}


@pytest.mark.slow("waits for locks")
def test_a_table_that_stays_locked_fails_the_shard(
    host: psycopg.Connection,
    platform: psycopg.Connection,
    connection: psycopg.Connection,
    application: psycopg.Connection,
) -> None:
    ids = plant_tenants(host, 20)
    application.execute("LOCK TABLE batch.login_day")
    connection.execute("SET statement_timeout = '6s'")

    with pytest.raises(LockedError, match=f"ログイン {LOGIN}.*その処理を終わらせてから"):
        process_tenants(connection, platform, SeatBatch(), open_run(platform, ids), ids)

    application.rollback()
    assert kept(host) == {}


def test_a_session_of_the_batches_is_waited_for(
    shared_database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    connection: psycopg.Connection,
) -> None:
    """Another shard that holds a lock ends soon, for example after it has taken the numbers of its invoices."""
    ids = plant_tenants(host, 4)
    batch, run = SeatBatch(), open_run(platform, ids)
    with ThreadPoolExecutor() as threads, shared_database.connect() as shard:
        with shard.transaction():
            shard.execute("LOCK TABLE batch.login_day")
            working = threads.submit(process_tenants, connection, platform, batch, run, ids)
            # The watch asks several times meanwhile.
            host.execute("SELECT pg_sleep(2.5)")
        working.result()

    assert batch.processed == [ids]


# Damaged rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.own_database
def test_a_damaged_row_fails_its_tenant(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 50)
    run = open_run(platform, ids)
    lose_rows(host, ids[20:22])
    batch = SeatBatch(before_work=lambda tenants: tenants.execute("SELECT batch.read_page()"))

    report = process_tenants(connection, platform, batch, run, ids)

    assert [(each.unit_id, each.code) for each in report.failures] == [(each, "XX001") for each in ids[20:22]]
    assert "壊れています" in report.failures[0].message
    assert len(report.results) == 48


def lose_rows(host: psycopg.Connection, tenant_ids: list[str]) -> None:
    """The server finds a damaged page when a transaction reads the rows of one of these tenants. SQL cannot damage a page itself."""
    host.execute(
        sql.SQL(
            """
            CREATE FUNCTION batch.read_page() RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                IF batch.current_tenants() && {}::text[] THEN
                    RAISE EXCEPTION 'invalid page in block 7' USING ERRCODE = 'XX001';
                END IF;
            END $$
            """
        ).format(tenant_ids)
    )


def test_a_damaged_table_fails_the_step_after_few_calls(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    ids = plant_tenants(host, 100)
    calls: list[int] = []

    class Damaged(SeatBatch):
        def prepare(self, work: Work) -> None:
            calls.append(len(work.tenant_ids))
            platform.execute("DO $$ BEGIN RAISE EXCEPTION 'invalid page' USING ERRCODE = 'XX001'; END $$")

    with pytest.raises(psycopg.errors.DataCorrupted):
        prepare(Damaged(), Work(open_run(platform, ids), platform, ids))
    assert len(calls) < 30
