"""The events about complete runs as Airflow stores them, and which runs have none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from airflow.sdk import DAG, Asset

from skill_batch.assets import asset_of
from include.skillreport.batches.data_backup import create_batch as create_backup
from include.skillreport.batches.tenant_billing import create_batch as create_billing
from include.skillreport.core.assets import USAGE_DAY
from include.skillreport.core.catalog import (
    BATCHES,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.batch_runs import LOCAL
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.dag_runs import DagRun, DagRuns
from tests.worlds import host_rows
from tests.worlds.billing_rows import close_month

USAGE, BILLING = TENANT_USAGE.dag_id, TENANT_BILLING.dag_id
FAMILY = TENANT_USAGE.family.dag_id
RUN_DATE = "2026-11-01"
ANNOUNCED = {"close_run": "success", "announce": "success"}
SILENT = {"close_run": "success", "announce": "skipped"}


@pytest.fixture
def tenants(database: Database) -> None:
    """Two tenants on BASIC with a report each."""
    with database.connect() as host:
        for name in ("T001", "T002"):
            host_rows.tenant(host, name, subscription_plan="BASIC", contact_email="keiri@customer.example")
            host_rows.report(host, name, datetime(2026, 10, 31, 3, 0))


def events(runs: DagRuns, run: DagRun) -> list[tuple[str, str | None, bool]]:
    """Asset, key and ``repeated`` of the run's events, by asset."""
    return runs.metadata.execute(
        "SELECT asset.name, event.partition_key, (event.extra ->> 'repeated')::boolean FROM asset_event AS event"
        " INNER JOIN asset ON asset.id = event.asset_id WHERE event.source_run_id = %s ORDER BY asset.name",
        [run.run_id],
    ).fetchall()


def last_tasks(runs: DagRuns, run: DagRun, group: str = "") -> dict[str, str]:
    """The states of the tasks that close and announce a run."""
    rows = runs.metadata.execute(
        "SELECT task_id, state FROM task_instance WHERE run_id = %s AND task_id = ANY (%s)",
        [run.run_id, [f"{group}close_run", f"{group}announce"]],
    )
    return {task_id.removeprefix(group): state for task_id, state in rows.fetchall()}


# Runs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_a_closed_day_is_announced_and_again_as_repeated(runs: DagRuns, slack: StandIns) -> None:
    first, second = runs.test(USAGE, RUN_DATE), runs.test(USAGE, "2026-11-01 01:00")

    assert (first.state, second.state) == ("success", "success")
    assert last_tasks(runs, first) == last_tasks(runs, second) == ANNOUNCED
    assert events(runs, first) == [(USAGE_DAY.name, "2026-10-31", False)]
    assert events(runs, second) == [(USAGE_DAY.name, "2026-10-31", True)]
    assert slack.messages == []


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("conf", [{"dry_run": True}, {"tenants": ["T001"]}])
def test_a_run_that_leaves_tenants_out_stays_green_and_silent(runs: DagRuns, conf: dict[str, object]) -> None:
    run = runs.test(USAGE, RUN_DATE, **conf)

    assert (run.state, last_tasks(runs, run), events(runs, run)) == ("success", SILENT, [])


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_a_partial_run_stays_red_and_silent(runs: DagRuns, database: Database, slack: StandIns) -> None:
    with database.connect() as host:
        host_rows.break_settings_of(host, "T002")

    run = runs.test(USAGE, RUN_DATE)

    assert (run.state, events(runs, run)) == ("failed", [])
    assert last_tasks(runs, run) == {"close_run": "failed", "announce": "upstream_failed"}
    assert len(slack.messages) == 1


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_a_refused_form_stays_red_and_silent(runs: DagRuns) -> None:
    run = runs.test(USAGE, RUN_DATE, tenants=["NOBODY"])

    assert (run.state, events(runs, run)) == ("failed", [])
    assert last_tasks(runs, run) == {"close_run": "failed", "announce": "upstream_failed"}


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_each_batch_of_a_family_announces_what_it_has_made(runs: DagRuns) -> None:
    run = runs.test(FAMILY, RUN_DATE, batches=["BATCH-018-01", "BATCH-018-04"], business_date="2026-10-31")

    assert run.state == "success"
    assert events(runs, run) == [
        ("skill_report_tenant_inactivity", "2026-10-31", False),
        ("skill_report_usage_day", "2026-10-31", False),
    ]
    assert last_tasks(runs, run, "tenant_usage.") == ANNOUNCED
    # BATCH-018-02 was not chosen.
    assert last_tasks(runs, run, "tenant_billing.") == dict.fromkeys(ANNOUNCED, "skipped")


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_a_billed_month_announces_invoices_and_files_with_the_month(
    runs: DagRuns, database: Database, tmp_path: Path
) -> None:
    runs.set_variable("skill_batch_storage_url", f"file://{tmp_path / 'storage'}")
    with database.connect() as host:
        for name in ("T001", "T002"):
            close_month(host, name, date(2026, 10, 1))

    run = runs.test(BILLING, RUN_DATE)

    assert run.state == "success"
    assert events(runs, run) == [
        ("skill_report_accounting_files", "2026-10", False),
        ("skill_report_invoices", "2026-10", False),
    ]


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_drafts_are_not_announced(runs: DagRuns, database: Database, tmp_path: Path) -> None:
    """With a sample price list, and in the first run after a pause."""
    held = Run("e", date(2026, 10, 1), date(2026, 11, 1), deferral_reason="止まっていました")
    assert [create_billing(LOCAL).announces(run) for run in (held, replace(held, deferral_reason=None))] == [
        False,
        True,
    ]
    runs.environment.delenv(SETTINGS_VARIABLE)
    runs.set_variable("skill_batch_storage_url", f"file://{tmp_path / 'storage'}")
    with database.connect() as host:
        for name in ("T001", "T002"):
            close_month(host, name, date(2026, 10, 1))

    run = runs.test(BILLING, RUN_DATE)

    assert (run.state, last_tasks(runs, run), events(runs, run)) == ("success", SILENT, [])


def test_a_backup_for_an_earlier_day_is_not_announced() -> None:
    run = Run("e", date(2026, 11, 1), date(2026, 11, 1))
    later = replace(run, run_date=date(2026, 11, 2))
    assert [create_backup(LOCAL).announces(each) for each in (run, later)] == [True, False]


@contextmanager
def name_taken(runs: DagRuns) -> Iterator[None]:
    """The DAG of another team uses the asset's name with another URI, and came first: Airflow does not activate ours."""
    other = "x-other://day"
    runs.metadata.execute(
        """
        INSERT INTO asset (name, uri, "group", extra, created_at, updated_at) VALUES (%s, %s, '', '{}', now(), now())
        """,
        [USAGE_DAY.name, other],
    )
    runs.metadata.execute("DELETE FROM asset_active WHERE name = %s", [USAGE_DAY.name])
    runs.metadata.execute("INSERT INTO asset_active (name, uri) VALUES (%s, %s)", [USAGE_DAY.name, other])
    try:
        yield
    finally:
        runs.metadata.execute("DELETE FROM asset WHERE uri = %s", [other])
        runs.metadata.execute(
            "INSERT INTO asset_active (name, uri) VALUES (%s, %s)", [USAGE_DAY.name, USAGE_DAY.uri]
        )


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_a_day_that_cannot_be_announced_is_closed_and_its_run_red(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with name_taken(runs):
        run = runs.test(USAGE, RUN_DATE)

    assert (run.state, events(runs, run)) == ("failed", [])
    assert last_tasks(runs, run) == {"close_run": "success", "announce": "failed"}
    (message,) = slack.messages
    assert "重要度: MEDIUM" in message.text
    assert "影響: バッチは完了しています。完了を待つほかの DAG だけが動きません。" in message.text
    with database.connect() as host:
        assert host.execute("SELECT status, announced_at FROM batch.execution_log").fetchall() == [
            ("completed", None)
        ]
    # The failed run has announced nothing, so the next one is not a repetition.
    assert events(runs, runs.test(USAGE, RUN_DATE)) == [(USAGE_DAY.name, "2026-10-31", False)]


# The registry ----------------------------------------------------------------------------------------------------------


def test_assets_have_names_of_ours_and_uris_that_airflow_keeps() -> None:
    assets = {each for spec in BATCHES for each in (*spec.makes, *spec.reads)}
    names, uris = {each.name for each in assets}, {each.uri for each in assets}
    assert len(names) == len(uris) == len(assets)
    for each in assets:
        assert re.fullmatch(r"skill_report_\w+", each.name)
        assert asset_of(each).uri == each.uri
    with pytest.raises(ValueError, match="must contain a host"):
        Asset("postgres without a host", "postgres:///skill_report/batch/usage_day")


def test_a_batch_reads_the_tables_that_its_page_names(dags: dict[str, DAG]) -> None:
    for spec in BATCHES:
        inputs = re.search(r"### 入力\n(.*?)\n### ", dags[spec.dag_id].doc_md or "", re.DOTALL)
        assert inputs
        named = set(re.findall(r"`((?:MST|SYS|HIS|TRN)_[\w*]+)`", inputs[1]))
        tables = {each.uri.rpartition("/")[2] for each in spec.reads if "//application/" in each.uri}
        if spec.makes:
            assert {name for name in named if not any(fnmatchcase(table, name) for table in tables)} == set()
            assert {table for table in tables if not any(fnmatchcase(table, name) for name in named)} == set()
        else:
            assert not tables
