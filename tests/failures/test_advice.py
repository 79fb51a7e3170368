"""The advice about every kind of failure ends the failure: each kind happens, and the operator does what alert and board say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from skill_batch.board.pages.overview import load_overview
from include.skillreport.core.catalog import (
    BATCHES,
    TENANT_USAGE,
)
from include.skillreport.core.failure_kinds import failure_kinds, kind_of
from include.skillreport.core.operation_catalog import (
    OPERATE_CONTRACTS,
    OPERATE_INVOICES,
    OPERATE_NOTIFICATIONS,
    OPERATIONS,
    RESTORE_BACKUP,
)
from include.skillreport.core.run_spec import BatchSpec, OperationSpec, RunSpec
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.failures.cases import CASES, IN_AIRFLOW, Scene

# These take seconds each: pg_dump and pg_restore.
BACKUPS = {"dump_smaller", "tables_unverified", "backup_closed", "dump_damaged"}
# BATCH-018-03 alerts about them, and the board has no row of a run that was not opened.
WITHOUT_ALERT, NOT_ON_THE_BOARD = (
    {"lost", "operation_gone", "unclosed"},
    {"parameters", "installation", "unclosed", "rows_gone"},
)


@pytest.fixture
def scene(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    return Scene(database, host, services, tmp_path, monkeypatch)


def test_every_kind_of_failure_has_a_case() -> None:
    assert sorted([*CASES, *IN_AIRFLOW]) == sorted(kind.name for kind in failure_kinds())


def test_every_advice_says_whether_a_clear_helps() -> None:
    assert [kind.name for kind in failure_kinds() if "消去（Clear）" not in kind.remedy()] == []


@pytest.mark.parametrize("spec", OPERATIONS, ids=lambda spec: spec.id)
def test_no_lost_operation_is_told_to_run_a_business_date_again(spec: OperationSpec) -> None:
    assert spec.cron or kind_of(spec, "RUN_LOST").name == "operation_gone"


@pytest.mark.parametrize(
    ("spec", "code", "name"),
    [
        # The value is right and the installation is not: the same operation again would book twice.
        (OPERATE_INVOICES, "NO_EXCHANGE_RATE", "cause"),
        (OPERATE_INVOICES, "NO_SUCH_PAYMENT", "refused"),
        (OPERATE_INVOICES, "RecordsDeletedError", "operation_gone"),
        (OPERATE_CONTRACTS, "CONTRACT_OVERLAP", "refused"),
        (OPERATE_CONTRACTS, "CONTRACT_ROW_UNKNOWN", "refused"),
        (OPERATE_NOTIFICATIONS, "CHANNEL_CLOSED", "channel_closed"),
        (OPERATE_NOTIFICATIONS, "CHANNEL_FAILED", "cause"),
        (RESTORE_BACKUP, "BackupError", "cause"),
        (TENANT_USAGE, "AirflowTaskTimeout", "killed"),
        (TENANT_USAGE, "AirflowUnavailableError", "unreachable"),
        (TENANT_USAGE, "InstancesFailedError", "killed"),
    ],
)
def test_a_code_has_the_kind_whose_advice_helps(spec: RunSpec, code: str, name: str) -> None:
    assert kind_of(spec, code).name == name


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in BACKUPS else ()) for name in CASES]
)
def test_the_advice_ends_the_failure(scene: Scene, name: str) -> None:
    failure = CASES[name](scene)
    run = failure.run
    kind = kind_of(run.spec, name)
    if name not in WITHOUT_ALERT:
        assert run.kinds == (name,)
        assert kind.action in run.alerts[-1].as_text()
    if name not in NOT_ON_THE_BOARD:
        assert run.kinds_on_the_board == (name,)
    if not kind.clear and "要りません" not in kind.action:
        run.clear()
        assert run.has_failed
        assert run.kinds == (name,)

    ended = failure.mend()
    if kind.clear:
        run.clear(kind.clear)
        ended = run

    assert ended is not None
    assert not ended.has_failed, ended.alerts[-1].as_text()
    with scene.database.connect() as connection:
        overview = load_overview(connection, BATCHES, [], set(), [], datetime.now(UTC))
    failed = [each.spec for each in overview.failures if isinstance(run.spec, BatchSpec)]
    assert run.spec not in failed
