"""The advice about every kind of failure ends the failure: each kind happens, and the operator does what alert and board say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from skill_batch.board.pages.overview import load_overview
from include.skillreport.core.catalog import (
    BATCHES,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.failure_kinds import FAILED, NO_RESULT, failure_kinds, kind_of
from include.skillreport.core.operation_catalog import (
    APPROVE_INVOICES,
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
BACKUPS = {
    "no_backup",
    "dump_smaller",
    "tables_unverified",
    "entry_unproved",
    "backup_closed",
    "dump_damaged",
}
# BATCH-018-03 alerts about them, and the board has no row of a run that was not opened.
WITHOUT_ALERT, NOT_ON_THE_BOARD = (
    {"lost", "operation_gone", "unclosed"},
    {"parameters", "installation", "unclosed", "rows_gone", "operation_cleared", "no_backup"},
)

# The packages of billing and of all operations, and how their sources write the code of an error or of a failure: as a text in capitals.
PRODUCT = Path(__file__).parents[2] / "include" / "skillreport"
PACKAGES = ("approvals", "billing", "operations")
CODE = re.compile(r'"([A-Z]+(?:_[A-Z]+)+)"|BillingError\(\s*"([A-Z]+)"')

# The codes whose cause is outside of the form: somebody removes it, and then a clear with the same values succeeds.
REMOVABLE_CAUSES = {
    # The settings, the price list, the store
    *(
        "BEFORE_FIRST_MONTH",
        "BILLED_EARLIER",
        "IMAGE_MISSING",
        "NOT_QUALIFIED",
        "NO_ENGLISH_ISSUER",
        "NO_FIRST_MONTH",
    ),
    *("NO_PRICE", "NO_PRICE_LIST", "SAMPLE_TERMS", "UNKNOWN_PLAN"),
    # The contract, the rates, the application's rows, the entered lines
    *("COMMITMENT_CURRENCY", "CONTRACT_END_UNKNOWN", "CONTRACT_START_UNKNOWN", "DISCOUNT_CURRENCY"),
    *("EXTRA_CHARGE_CURRENCY", "METERED_CURRENCY", "NEGATIVE_TOTAL", "NOT_PRICEABLE", "NO_EXCHANGE_RATE"),
    *("NO_PLAN", "NO_RECIPIENT", "PAID_IN_APPLICATION", "PLAN_UNKNOWN", "RATE_WAITS", "UNKNOWN_CURRENCY"),
    *("UNPRINTABLE_CHARACTER", "USED_OUTSIDE_CONTRACT"),
    # Another operation on the invoice comes first
    *("ADJUSTED", "LETTER_STOPPED", "NOT_PAID", "RECOVERED", "REFUNDED"),
    # Only for programs that use the hook
    "UNKNOWN_FORMAT",
}


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


def test_every_code_of_an_operation_is_sorted_on_purpose() -> None:
    files = [file for name in PACKAGES for file in (PRODUCT / name).rglob("*.py")]
    sources = [file.read_text(encoding="utf-8") for file in files]
    codes = {first or second for source in sources for first, second in CODE.findall(source)}
    of_no_kind = {code for code in codes if {kind_of(spec, code).name for spec in OPERATIONS} == {"cause"}}
    assert of_no_kind == REMOVABLE_CAUSES


@pytest.mark.parametrize("spec", OPERATIONS, ids=lambda spec: spec.id)
def test_no_lost_operation_is_told_to_run_a_business_date_again(spec: OperationSpec) -> None:
    assert spec.cron or kind_of(spec, "RUN_LOST").name == "operation_gone"


@pytest.mark.parametrize(
    ("spec", "code", "name"),
    [
        # The value is right and the installation is not: the same operation again would book twice.
        (OPERATE_INVOICES, "NO_EXCHANGE_RATE", "cause"),
        (OPERATE_INVOICES, "NO_SUCH_PAYMENT", "refused"),
        (OPERATE_INVOICES, "AMOUNT_NEEDED", "refused"),
        # An approval of a draft that has changed since it was held.
        (OPERATE_INVOICES, "APPROVAL_NEEDED", "refused"),
        (TENANT_BILLING, "APPROVAL_NEEDED", "held"),
        (APPROVE_INVOICES, "MONTH_CLOSED", "refused"),
        (OPERATE_INVOICES, "RecordsDeletedError", "operation_gone"),
        # Airflow's and Jinja's words for an XCom that is gone
        (APPROVE_INVOICES, "UndefinedError", "operation_gone"),
        (OPERATE_INVOICES, "XComNotFound", "operation_gone"),
        (TENANT_USAGE, "XComNotFound", "rows_gone"),
        (OPERATE_CONTRACTS, "CONTRACT_OVERLAP", "refused"),
        (OPERATE_CONTRACTS, "CONTRACT_ROW_UNKNOWN", "refused"),
        (OPERATE_NOTIFICATIONS, "CHANNEL_CLOSED", "channel_closed"),
        (OPERATE_NOTIFICATIONS, "CHANNEL_FAILED", "cause"),
        (RESTORE_BACKUP, "BackupError", "cause"),
        (TENANT_USAGE, "AirflowTaskTimeout", "killed"),
        (TENANT_USAGE, "AirflowUnavailableError", "unreachable"),
        (TENANT_USAGE, "InstancesFailedError", "killed"),
        # A standby before its promotion
        (TENANT_USAGE, "25006", "unreachable"),
        (TENANT_USAGE, "StandbyError", "unreachable"),
        (TENANT_USAGE, "53100", "disk_full"),
        (TENANT_USAGE, "53300", "unreachable"),
    ],
)
def test_a_code_has_the_kind_whose_advice_helps(spec: RunSpec, code: str, name: str) -> None:
    assert kind_of(spec, code).name == name


def test_a_full_disk_of_the_server_cannot_wait_in_any_batch() -> None:
    """The words of BATCH-018-01 are that a failure can usually wait."""
    assert {kind_of(spec, "53100").urgency for spec in BATCHES} == {"now"}


@pytest.mark.parametrize(
    ("code", "clear"), [(NO_RESULT, FAILED), ("AirflowTaskTimeout", FAILED), ("InstancesFailedError", "")]
)
def test_only_an_interrupted_restore_is_cleared(code: str, clear: str) -> None:
    kind = kind_of(RESTORE_BACKUP, code)
    assert (kind.clear, bool(kind.again)) == (clear, not clear)


@pytest.mark.slow("compares what the service and the product say about every failure")
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
    if not kind.clear and "不要です" not in kind.action:
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
