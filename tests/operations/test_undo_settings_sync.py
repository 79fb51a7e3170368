"""Undoing a run of BATCH-018-05: the exact old values, without settings that a person has changed since."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import SETTINGS_SYNC
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import UNDO_SETTINGS_SYNC
from include.skillreport.operations.undo_settings_sync import create_batch as settings_sync_undo
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds.settings_rows import (
    DAY,
    STANDARD,
    change,
    counts,
    create_batch,
    everything_written,
    move,
    notes,
    run,
    setting,
    tenant,
    undo,
    values,
)

# By tenant and key: the setting's value, whether it is deleted, and its last author; the value and source that count as applied.
States = dict[tuple[str, str], tuple[Any, ...]]


def states(host: psycopg.Connection) -> States:
    """The present states of all tenants' settings."""
    rows = host.execute(
        """
        SELECT tenant_id, setting_key, setting_value, is_deleted, last_modified_by, applied.value, applied.source
        FROM "MST_TenantSettings" FULL JOIN batch.applied_setting AS applied USING (tenant_id, setting_key)
        """
    )
    return {(tenant_id, key): tuple(state) for tenant_id, key, *state in rows}


def move_two_tenants(database: Database, host: psycopg.Connection) -> str:
    """In one run, A gets from BASIC to STANDARD and B from FREE to PREMIUM, which changes more settings; returns the execution id."""
    move(host, "STANDARD")
    move(host, "PREMIUM", "B")
    return run(database, DAY + timedelta(days=1)).execution_id


@pytest.fixture
def before(database: Database, host: psycopg.Connection) -> States:
    """The states of A with BASIC and of B with FREE."""
    tenant(host)
    tenant(host, "B", "FREE")
    run(database)
    return states(host)


def test_undo_restores_the_exact_old_values_and_the_next_run_leaves_them(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    setting(host, "limits.storage_gb", "10.0", last_modified_by=None)
    run(database)
    state = (
        'SELECT setting_key, setting_value, is_deleted, last_modified_by FROM "MST_TenantSettings" ORDER BY 1'
    )
    first, applied = host.execute(state).fetchall(), everything_written(host)[2]
    move(host, "STANDARD")
    second = run(database, DAY + timedelta(days=1))
    assert values(host) == STANDARD

    assert undo(database, second.execution_id).status == "completed"

    assert host.execute(state).fetchall() == first
    assert values(host)["limits.storage_gb"] == "10.0"
    assert [row[:4] for row in everything_written(host)[2]] == [row[:4] for row in applied]
    assert counts(host, "undone", "undoConflicts") == (4, 0)
    run(database, DAY + timedelta(days=2))
    assert host.execute(state).fetchall() == first
    assert counts(host, "fixed", "low") == (0, 4)

    move(host, "PREMIUM")
    run(database, DAY + timedelta(days=3))
    assert values(host)["limits.max_users"] == "200"


def test_undo_of_the_first_run_takes_its_rows_away_again(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    setting(host, "ui.theme", "dark")
    first = run(database)
    move(host, "STANDARD")
    second = run(database, DAY + timedelta(days=1))

    undo(database, first.execution_id)
    assert counts(host, "undone", "undoConflicts") == (
        2,
        4,
    )  # the settings that the second run has changed stay
    undo(database, second.execution_id)
    last = undo(database, first.execution_id).execution_id

    assert values(host) == {"ui.theme": "dark"}
    assert host.execute(
        'SELECT setting_value, is_deleted, last_modified_by FROM "MST_TenantSettings"'
        " WHERE setting_key = 'limits.max_users'"
    ).fetchall() == [("20", True, f"batch:{last}")]
    assert everything_written(host)[2] == []
    with pytest.raises(ParameterError, match="すべて取り消し済み"):
        undo(database, first.execution_id)


def test_settings_changed_since_are_reported_and_not_restored(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    done = run(database)
    change(host, "limits.max_users", "33")
    change(host, "features.report_pdf", "true")  # away and back: it is theirs now
    host.execute("""DELETE FROM "MST_TenantSettings" WHERE setting_key = 'features.api_access'""")

    undo(database, done.execution_id)

    assert values(host) == {"limits.max_users": "33", "features.report_pdf": "true"}
    assert counts(host, "undone", "undoConflicts") == (3, 3)
    assert "limits.max_users: その後に変更されているため、元に戻しません" in notes(host)


@pytest.mark.parametrize(
    ("execution", "reason"),
    [
        ("", "「取り消す実行」（execution）が必要です"),
        ("no such", "記録はありません"),
        ("without Airflow", "run_id です。.*BATCH-018-05_"),
    ],
)
def test_an_undo_that_cannot_be_done_is_refused_before_the_run_opens(
    database: Database, host: psycopg.Connection, execution: str, reason: str
) -> None:
    tenant(host)
    done = run(database)
    host.execute(
        "UPDATE batch.execution_log SET run_id = 'without Airflow' WHERE execution_id = %s",
        [done.execution_id],
    )
    before = everything_written(host)

    with pytest.raises(ParameterError, match=reason):
        undo(database, execution)

    assert everything_written(host) == before
    assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (1,)


def test_each_tenant_of_a_shard_gets_its_own_old_state_back(
    database: Database, host: psycopg.Connection, before: States
) -> None:
    both = move_two_tenants(database, host)
    assert values(host) == STANDARD

    undo(database, both)

    assert states(host) == before
    assert (counts(host, "undone"), counts(host, "undone", tenant_id="B")) == ((4,), (6,))


def test_a_conflict_of_one_tenant_is_none_of_another_tenant(
    database: Database, host: psycopg.Connection, before: States
) -> None:
    both = move_two_tenants(database, host)
    change(host, "limits.max_users", "33", "B")

    undo(database, both)

    theirs = ("B", "limits.max_users")
    assert states(host) == before | {theirs: ("33", False, "user-1", "200", "plan")}
    not_undone = host.execute(
        "SELECT tenant_id, setting_key FROM batch.setting_change WHERE execution_id = %s AND undone_by IS NULL",
        [both],
    )
    assert not_undone.fetchall() == [theirs]


def test_an_undo_that_is_retried_changes_nothing_more(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    done = run(database)
    batch = settings_sync_undo(LOCAL)
    with database.working() as (platform, connection):
        parameters = {"execution": done.execution_id, "reason": "誤った一覧"}
        opened, _ = open_run(platform, UNDO_SETTINGS_SYNC, batch, DAY, parameters=parameters)
        process_tenants(connection, platform, batch, opened, ["A"])
        change(host, "limits.max_users", "33")
        after = everything_written(host)
        report = process_tenants(connection, platform, batch, opened, ["A"])

    assert report.failures == []
    assert everything_written(host) == after


def test_an_undo_waits_for_the_run_that_writes_the_tenants_settings(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    done = run(database)
    move(host, "STANDARD")
    batch, results = create_batch(), list[RunResult]()
    later = threading.Thread(target=lambda: results.append(undo(database, done.execution_id)))
    with database.working() as (platform, connection):
        opened, _ = open_run(platform, SETTINGS_SYNC, batch, DAY)
        with tenant_transaction(connection, ["A"]):
            batch.process(Work(opened, connection, ["A"]))
            later.start()
            wait_for_blocked_statement(database)
        later.join()

    assert [result.status for result in results] == ["completed"]
    # The changes of the later run stay.
    assert counts(host, "undone", "undoConflicts") == (2, 4)


def test_a_setting_that_is_changing_stays_although_no_plan_has_it(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    done = run(database)
    for table in ('"MST_TenantSettings"', "batch.setting_change", "batch.applied_setting"):
        host.execute(
            f"UPDATE {table} SET setting_key = 'limits.former' WHERE setting_key = 'limits.max_users'"
        )
    results: list[RunResult] = []
    ours = threading.Thread(target=lambda: results.append(undo(database, done.execution_id)))
    with host.transaction():
        change(host, "limits.former", "77")
        ours.start()
        wait_for_blocked_statement(database)
    ours.join()

    assert [result.status for result in results] == ["completed"]
    assert values(host) == {"limits.former": "77"}
    assert counts(host, "undone", "undoConflicts") == (5, 1)
