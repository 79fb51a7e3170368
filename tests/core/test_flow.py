"""The flow of a run without Airflow: refusals and repairs at the opening, and the result of a failed run at the closing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typing_extensions import override

from include.skillreport.core.catalog import (
    DATA_BACKUP,
    LOG_CLEANUP,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import (
    Batch,
    NotDueError,
    Run,
    TenantBatch,
    UnitResult,
    WiringError,
    Work,
)
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.flow import RunRequest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.run_log import (
    EarlierStepFailedError,
    InstancesFailedError,
    MappedInstance,
    RecordsDeletedError,
    RunFailedError,
)
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.network import Network
from include.skillreport.core.operation_catalog import APPROVE_RESUMPTION, IMPORT_PAYMENTS
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.core.version import VERSION
from local_stack.batch_runs import LocalInstallation
from tests.worlds import host_rows

NIGHT = datetime(2026, 11, 1, 1, 30, tzinfo=UTC)
AFTER_MIDNIGHT_IN_JAPAN = datetime(2026, 11, 4, 15, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Installation(LocalInstallation):
    """One without a store and a mail server, in which the named runs have ended."""

    moment: datetime = NIGHT
    ended: tuple[str, ...] = ()

    def is_alive(self, dag_id: str, run_id: str) -> bool:
        return bool(dag_id) and run_id not in self.ended

    def store(self) -> ObjectStore | None:
        if self.object_store is None:
            raise SettingsError("no store")
        return self.object_store

    def network(self, *, with_mail: bool) -> Network | None:
        raise SettingsError("no mail server" if with_mail else "no network")


class Plain(TenantBatch):
    """Succeeds for every tenant."""

    def process(self, work: Work) -> list[UnitResult]:
        return [UnitResult(tenant_id, {}, 1) for tenant_id in work.tenant_ids]


class Digesting(Plain):
    """Marks its log row as reported in the digest's transaction."""

    def digest(self, work: Work) -> Digest:
        work.connection.execute(
            "UPDATE batch.execution_log SET execution_host = 'reported' WHERE execution_id = %s",
            [work.run.execution_id],
        )
        return Digest(("something",))


class Finishing(Plain):
    """Cannot write its last file."""

    @override
    def finish(self, work: Work) -> None:
        raise OSError("disk full")


class HalfPrepared(Plain):
    def prepare(self, work: Work) -> None:
        work.connection.execute("SELECT 1")


class Writing(Plain):
    def write_files(self, work: Work, tenant_id: str) -> None:
        work.files.write(tenant_id, b"")


class Sending(Plain):
    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[UnitResult]:
        return results if work.services else []


@pytest.fixture
def installation(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> Installation:
    """With two tenants, T1 and T2."""
    for tenant_id in ("T1", "T2"):
        host_rows.tenant(host, tenant_id)
    return Installation(platform, connection)


def open_run(
    installation: Installation,
    batch: Batch | None = None,
    run_id: str = "r",
    spec: RunSpec = TENANT_USAGE,
    *,
    parameters: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[Run, list[Shard]]:
    request = RunRequest(spec.dag_id, run_id, NIGHT, parameters or {}, **fields)
    return flow.open_run(spec, batch or Plain(), request, installation)


def processed(installation: Installation, batch: Batch, **fields: Any) -> Run:
    """A run whose tenants have all succeeded."""
    run, shards = open_run(installation, batch, **fields)
    for index, shard in enumerate(shards):
        flow.process_shard(TENANT_USAGE, batch, run, shard, installation, TaskKey("process", index))
    return run


def log_rows(host: psycopg.Connection, columns: str = "run_id, status") -> list[tuple[Any, ...]]:
    """Columns of the execution log, in the order of opening."""
    return host.execute(f"SELECT {columns} FROM batch.execution_log ORDER BY started_at").fetchall()


# Opening ---------------------------------------------------------------------------------------------------------------


def test_the_log_records_the_version_of_the_code(
    host: psycopg.Connection, installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        open_run(installation)

    assert log_rows(host, "version") == [(VERSION,)]
    assert f"by version {VERSION}" in caplog.text


@pytest.mark.parametrize("triggered_by", [None, "keiri@example.jp"])
def test_the_log_records_who_triggered_and_how_often_cleared(
    host: psycopg.Connection, installation: Installation, triggered_by: str | None
) -> None:
    open_run(installation, triggered_by=triggered_by, attempt=2)

    assert log_rows(host, "triggered_by, attempt, status") == [(triggered_by, 2, "running")]


def test_opening_closes_rows_of_ended_runs_and_no_living_one(
    host: psycopg.Connection, installation: Installation
) -> None:
    for run_id in ("alive", "ended", "again", "stuck"):
        open_run(installation, run_id=run_id)
    host.execute(
        "UPDATE batch.execution_log SET started_at = now() - %s WHERE run_id = 'stuck'",
        [2 * TENANT_USAGE.time_limit + timedelta(seconds=1)],
    )

    # How long a run takes is a matter of the database's clock, not of the worker's.
    later = replace(installation, ended=("ended",), moment=NIGHT + timedelta(days=3650))
    open_run(later, run_id="again")

    assert sorted(log_rows(host)) == [
        ("again", "failed"),
        ("again", "running"),
        ("alive", "running"),
        ("ended", "failed"),
        ("stuck", "failed"),
    ]


def test_a_refused_form_leaves_no_row_and_closes_none(
    host: psycopg.Connection, installation: Installation
) -> None:
    open_run(installation, run_id="ended")

    for parameters in ({"tenants": ["NOBODY"]}, {"business_date": "2026-11-01"}):
        with pytest.raises(ParameterError):
            open_run(replace(installation, ended=("ended",)), parameters=parameters)

    assert log_rows(host) == [("ended", "running")]


def test_an_unfinished_month_is_not_due_among_many_and_refused_alone(
    host: psycopg.Connection, installation: Installation
) -> None:
    november = {"business_date": "2026-11-01"}

    with pytest.raises(NotDueError, match="2026-11 はまだ終わっていないため、BATCH-018-02 は対象外です"):
        open_run(installation, spec=TENANT_BILLING, parameters=november, one_of_many=True)
    with pytest.raises(ParameterError, match="まだ終わっていません"):
        open_run(installation, spec=TENANT_BILLING, parameters=november)
    assert log_rows(host) == []

    october = {"business_date": "2026-10-31"}
    run, _ = open_run(installation, spec=TENANT_BILLING, parameters=october, one_of_many=True)
    assert f"{run.business_date}" == "2026-10-01"


@pytest.mark.parametrize(
    "spec", [DATA_BACKUP, LOG_CLEANUP, APPROVE_RESUMPTION, IMPORT_PAYMENTS], ids=lambda spec: spec.id
)
def test_named_tenants_skip_or_refuse_what_always_works_on_all(
    host: psycopg.Connection, installation: Installation, spec: RunSpec
) -> None:
    named = {"tenants": ["T1"]}

    with pytest.raises(NotDueError, match=f"{spec.id} は常に全体を対象とします"):
        open_run(installation, spec=spec, parameters=named, one_of_many=True)
    with pytest.raises(ParameterError, match="テナントコード（tenants）を空にしてください"):
        open_run(installation, spec=spec, parameters=named)
    assert log_rows(host) == []


@pytest.mark.parametrize(
    ("create", "missing"),
    [(Writing, "no store"), (Finishing, "no store"), (Sending, "no mail server")],
)
def test_a_missing_service_stops_real_runs_before_writing(
    host: psycopg.Connection, installation: Installation, create: Callable[[], Batch], missing: str
) -> None:
    open_run(installation, create(), "dry", parameters={"dry_run": True})
    with pytest.raises(SettingsError, match=missing):
        open_run(installation, create())

    assert log_rows(host) == [("dry", "running")]


@pytest.mark.parametrize("has_store", [True, False])
def test_a_batch_that_sends_gets_the_store_if_there_is_one(
    installation: Installation, tmp_path: Path, has_store: bool
) -> None:
    stores = []

    class Keeping(Sending):
        def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[UnitResult]:
            stores.append(work.store)
            return results

    class WithMail(Installation):
        def network(self, *, with_mail: bool) -> Network | None:
            return Network() if with_mail else None

    store = ObjectStore(tmp_path) if has_store else None
    connected = WithMail(installation.platform_connection, installation.tenant_connection, store)

    processed(connected, Keeping())

    assert set(stores) == {store}


def plant_tenants(host: psycopg.Connection, numbers: range) -> None:
    host.execute(
        """
        INSERT INTO "MST_Tenant" SELECT (jsonb_populate_record(model, jsonb_build_object(
            'tenant_id', 'U' || n, 'tenant_code', 'U' || n, 'domain_name', 'u' || n, 'subdomain', 'u' || n,
            'domain', 'u' || n, 'api_key', 'u' || n
        ))).*
        FROM "MST_Tenant" AS model, unnest(%s::integer[]) AS n
        WHERE model.tenant_id = 'T1'
        """,
        [list(numbers)],
    )


def test_a_large_run_is_divided_by_what_the_last_run_has_processed(
    host: psycopg.Connection, installation: Installation
) -> None:
    plant_tenants(host, range(11, 19))

    class Counting(Plain):
        def process(self, work: Work) -> list[UnitResult]:
            return [UnitResult(each, {}, 9_000 if each == "U12" else 1) for each in work.tenant_ids]

    few = ExecutionSettings(max_mapped_tenants=1, shards=9, tenants_per_shard=100, seconds_per_shard=5)
    opened = []
    for run_id in ("first", "second", "first"):
        request = RunRequest(TENANT_USAGE.dag_id, run_id, NIGHT, {})
        run, shards = flow.open_run(TENANT_USAGE, Counting(), request, installation, few)
        opened.append([shard.label for shard in shards])
        for index, shard in enumerate(shards):
            flow.process_shard(TENANT_USAGE, Counting(), run, shard, installation, TaskKey("process", index))
        result = flow.close_run(TENANT_USAGE, Counting(), run, installation).result
        assert (result.total_tenants, result.success_count) == (10, 10)

    assert (len(opened[0]), opened[0][0]) == (9, "T1 – T1 (1)")
    # One for each worker slot, because the first run worked for less than a second.
    assert opened[1] == ["T1 – U11 (3)", "U12 – U12 (1)", "U13 – U14 (2)", "U15 – U16 (2)", "U17 – U18 (2)"]
    # The first run was cleared: Airflow has instances with these labels.
    assert opened[2] == opened[0]


def test_a_large_shard_works_on_250_tenants_at_a_time(
    host: psycopg.Connection, installation: Installation
) -> None:
    plant_tenants(host, range(1000, 1299))
    called = []

    class Broken(Plain):
        def process(self, work: Work) -> list[UnitResult]:
            called.append(len(work.tenant_ids))
            if "U1297" in work.tenant_ids:
                work.connection.execute("SELECT 1 / 0")
            return super().process(work)

    one = ExecutionSettings(max_mapped_tenants=1, shards=1, tenants_per_shard=1000, seconds_per_shard=5)
    request = RunRequest(TENANT_USAGE.dag_id, "r", NIGHT, {})
    run, (shard,) = flow.open_run(TENANT_USAGE, Broken(), request, installation, one)
    report = flow.process_shard(TENANT_USAGE, Broken(), run, shard, installation, TaskKey("process", 0))

    assert called[:4] == [250, 51, 25, 26]
    assert len(report.results) == 300
    assert [failure.unit_id for failure in report.failures] == ["U1297"]


def test_a_worker_killed_in_the_second_250_keeps_the_first(
    host: psycopg.Connection, installation: Installation
) -> None:
    plant_tenants(host, range(1000, 1299))

    class WorkerKilledError(BaseException):
        pass

    class Killed(Plain):
        def process(self, work: Work) -> list[UnitResult]:
            if "U1297" in work.tenant_ids:
                raise WorkerKilledError
            return super().process(work)

    one = ExecutionSettings(max_mapped_tenants=1, shards=1, tenants_per_shard=1000, seconds_per_shard=5)
    request = RunRequest(TENANT_USAGE.dag_id, "r", NIGHT, {})
    run, (shard,) = flow.open_run(TENANT_USAGE, Plain(), request, installation, one)
    key = TaskKey("process", 0)
    with pytest.raises(WorkerKilledError):
        flow.process_shard(TENANT_USAGE, Killed(), run, shard, installation, key)
    done = "SELECT count(*) FROM batch.tenant_outcome WHERE status = 'success'"
    assert host.execute(done).fetchone() == (250,)

    report = flow.process_shard(TENANT_USAGE, Plain(), run, shard, installation, key)

    assert (len(report.results), report.failures) == (301, [])
    assert host.execute(done).fetchone() == (301,)


def test_a_shard_whose_tenants_are_not_recorded_says_what_to_do(
    host: psycopg.Connection, installation: Installation
) -> None:
    run, shards = open_run(installation)
    host.execute("DELETE FROM batch.tenant_outcome")

    with pytest.raises(RecordsDeletedError, match="テナントの記録がありません"):
        flow.process_shard(TENANT_USAGE, Plain(), run, shards[0], installation, TaskKey("process", 0))


def test_a_shard_cleared_later_keeps_its_business_date(
    installation: Installation,
) -> None:
    dates = []

    class Dated(Plain):
        def process(self, work: Work) -> list[UnitResult]:
            dates.append((work.run.business_date.isoformat(), work.run.run_date.isoformat()))
            return super().process(work)

    run, shards = open_run(installation)
    for moment in (NIGHT, NIGHT + timedelta(days=3), AFTER_MIDNIGHT_IN_JAPAN, NIGHT - timedelta(days=3)):
        cleared = replace(installation, moment=moment)
        flow.process_shard(TENANT_USAGE, Dated(), run, shards[0], cleared, TaskKey("process", 0))

    assert dates == [("2026-10-31", day) for day in ("2026-11-01", "2026-11-04", "2026-11-05", "2026-11-01")]


def test_a_run_closed_later_finishes_on_that_day(installation: Installation, tmp_path: Path) -> None:
    dates = []

    class Dated(Plain):
        @override
        def finish(self, work: Work) -> None:
            dates.append((work.run.business_date.isoformat(), work.run.run_date.isoformat()))

    with_store = replace(installation, object_store=ObjectStore(tmp_path))
    run = processed(with_store, Dated())
    for moment in (NIGHT, NIGHT + timedelta(days=3), AFTER_MIDNIGHT_IN_JAPAN, NIGHT - timedelta(days=3)):
        flow.close_run(TENANT_USAGE, Dated(), run, replace(with_store, moment=moment))

    assert dates == [("2026-10-31", day) for day in ("2026-11-01", "2026-11-04", "2026-11-05", "2026-11-01")]


def test_another_tenant_status_is_logged_and_noted_once_in_the_tenants_result(
    host: psycopg.Connection, installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    host.execute("UPDATE \"MST_Tenant\" SET tenant_status = 'suspended' WHERE tenant_id = 'T1'")
    run = processed(installation, Plain())
    assert "T1 ('T1') has status ACTIVE and tenant_status SUSPENDED" in caplog.text

    for _ in range(2):
        assert flow.close_run(TENANT_USAGE, Plain(), run, installation).result.status == "completed"

    assert host.execute(
        "SELECT tenant_id, notes FROM batch.tenant_outcome ORDER BY tenant_id"
    ).fetchall() == [
        ("T1", ["tenant_status は SUSPENDED ですが、status の ACTIVE に従いました"]),
        ("T2", []),
    ]


# Closing ---------------------------------------------------------------------------------------------------------------


def test_a_failed_digest_is_rolled_back_and_a_dry_run_has_none(
    host: psycopg.Connection, installation: Installation
) -> None:
    reporting = replace(installation, reports=True)
    run, _ = open_run(installation, Digesting())
    dry = processed(installation, Digesting(), run_id="dry", parameters={"dry_run": True})
    marked = "status, execution_host = 'reported'"

    flow.close_run(TENANT_USAGE, Digesting(), run, installation)
    flow.close_run(TENANT_USAGE, Digesting(), dry, reporting)
    assert log_rows(host, marked) == [("failed", False), ("completed", False)]

    flow.close_run(TENANT_USAGE, Digesting(), run, reporting)
    assert log_rows(host, marked) == [("failed", True), ("completed", False)]


def test_lost_instances_fail_a_run_with_outcomes_of_earlier_attempts(
    installation: Installation,
) -> None:
    run = processed(installation, Plain())

    lost = [MappedInstance("process", 1, "T2"), MappedInstance("process", 0, "T1")]
    closed = flow.close_run(TENANT_USAGE, Plain(), run, installation, failed_instances=lost)

    assert closed.result.status == "partial"
    assert isinstance(closed.failure, InstancesFailedError)
    assert closed.result.error == str(closed.failure)
    assert "process [T1]、process [T2] が失敗しました。テナントの結果は成功です" in str(closed.failure)


def test_an_instance_with_a_failed_tenant_is_not_reported_as_lost(
    installation: Installation,
) -> None:
    run, shards = open_run(installation)
    flow.process_shard(TENANT_USAGE, Plain(), run, shards[0], installation, TaskKey("process", 0))
    flow.fail_shard(TENANT_USAGE, run, shards[1], MemoryError("no memory"), installation)

    failed = [MappedInstance("process", 1, "T2")]
    closed = flow.close_run(TENANT_USAGE, Plain(), run, installation, failed_instances=failed)

    assert (closed.result.status, closed.error) == ("partial", None)
    assert isinstance(closed.failure, RunFailedError)
    assert "no memory" in str(closed.failure)


def test_a_run_with_a_failed_step_is_closed_with_its_reason(
    installation: Installation, tmp_path: Path
) -> None:
    with_store = replace(installation, object_store=ObjectStore(tmp_path))
    error = EarlierStepFailedError("prepare", "installation")

    run, _ = open_run(with_store, Finishing(), "before")
    before = flow.close_run(TENANT_USAGE, Finishing(), run, with_store, error=error)
    run = processed(with_store, Finishing(), run_id="after")
    after = flow.close_run(TENANT_USAGE, Finishing(), run, with_store)

    assert (before.result.status, before.result.error, before.failure) == ("failed", str(error), error)
    assert (after.result.status, after.result.success_count) == ("partial", 2)
    assert after.result.error == str(after.failure) == "disk full"


@pytest.mark.parametrize(
    ("batch", "step", "missing"),
    [
        (Plain(), "read_logs", "Plain には処理 prepare、unprepared がありません"),
        (HalfPrepared(), "tenant_usage.read_logs", "HalfPrepared には処理 unprepared がありません"),
        (Plain(), "dump", "Plain には処理 dump がありません"),
    ],
)
def test_a_task_for_a_step_that_the_batch_lacks_is_an_error(
    installation: Installation, batch: Batch, step: str, missing: str
) -> None:
    run, _ = open_run(installation)
    with pytest.raises(WiringError, match=missing):
        flow.run_step(TENANT_USAGE, batch, run, installation, TaskKey(step))
