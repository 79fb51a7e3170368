"""An operator follows docs/operate/runs.md after two weeks without Airflow: the tables are those of a world without the outage."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest

from include.skillreport.batches import statistics, tenant_usage
from include.skillreport.core.catalog import (
    DATA_MANAGEMENT,
    INACTIVE_TENANTS,
    SCHEDULED_NOTIFICATIONS,
    STATISTICS,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN, business_date_of, utc_bounds
from include.skillreport.core.execution.schedule import firings_before
from include.skillreport.core.operation_catalog import APPROVE_RESUMPTION
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.stand_ins import StandIns
from tests.airflow_installation import PROJECT, AirflowInstallation, folder_of_dags
from tests.conftest import Database, Server, copied_database
from tests.dags.running_airflow import Api, StartAirflow, copy_run, forget_runs
from tests.fab_installation import commands_of
from tests.worlds import host_rows

pytestmark = [pytest.mark.long, pytest.mark.exclusive]

PAGE = PROJECT / "docs" / "operate" / "runs.md"
GAP = 14
REPAIRED = {TENANT_USAGE: tenant_usage.create_batch, STATISTICS: statistics.create_batch}
DAGS = (TENANT_USAGE, STATISTICS, INACTIVE_TENANTS, TENANT_MONITORING, SCHEDULED_NOTIFICATIONS)
RUN_SECONDS = 1800

# All columns but the ids and the times of the runs.
RESULTS = {
    "usage_day": "batch.usage_day",
    "usage_warning": "batch.usage_warning",
    "login_day": "batch.login_day",
    "statistics_day": "batch.statistics_day",
    "host usage": '"SYS_TenantUsage"',
}
OF_A_RUN = {
    "closed_by",
    "closed_at",
    "recorded_by",
    "recorded_at",
    "raised_by",
    "raised_at",
    "collection_timestamp",
    "id",
    "created_at",
    "updated_at",
}


@pytest.fixture
def world(database: Database) -> dict[BatchSpec, list[datetime]]:
    """A tenant with other traffic on each day, one that nobody uses, and the day before the outage.

    The firings of both batches, newest first: the newest runs by itself, then those of the outage, then that of the day before.
    """
    now = datetime.now(UTC)
    ticks = {spec: firings_before(spec.cron, now, GAP + 2) for spec in REPAIRED}
    days = [business_date_of(each, TENANT_USAGE.works_on) for each in ticks[TENANT_USAGE]]
    with database.connect() as host:
        host_rows.tenant(host, "SILENT", contact_email="contact@customer.example")
        host_rows.tenant(host, "BUSY")
        host_rows.user(host, "BUSY", "someone")
        for number, day in enumerate(days):
            noon = utc_bounds(day).start + timedelta(hours=12)
            for minute in range(1 + number):
                host_rows.request(host, "someone", noon + timedelta(minutes=minute))
            host_rows.audit(host, "someone", noon, action_type="LOGIN")
            host_rows.report(host, "BUSY", noon)
    run_days(database, ticks, slice(GAP + 1, None))
    return ticks


def run_days(database: Database, ticks: dict[BatchSpec, list[datetime]], chosen: slice) -> None:
    """The runs of these firings, oldest first, each on its day."""
    with database.working() as (platform, tenants):
        for spec, create_batch in REPAIRED.items():
            for tick in reversed(ticks[spec][chosen]):
                day = business_date_of(tick, spec.works_on)
                run_batch(platform, tenants, spec, create_batch(LOCAL), day, run_at=tick, ticked_at=tick)


def tables(database: Database) -> dict[str, list[dict[str, Any]]]:
    """The rows that both batches have written, without what differs from run to run."""
    with database.connect() as host:
        return {
            name: sorted(
                (
                    {column: value for column, value in row.items() if column not in OF_A_RUN}
                    for (row,) in host.execute(f"SELECT to_jsonb(result) FROM {table} AS result")
                ),
                key=repr,
            )
            for name, table in RESULTS.items()
        }


@pytest.fixture
def undisturbed(
    database: Database, world: dict[BatchSpec, list[datetime]], server: Server
) -> dict[str, list[dict[str, Any]]]:
    """The tables of a copy in which all firings have run."""
    with copied_database(server, database.name, "undisturbed") as copy:
        run_days(copy, world, slice(0, GAP + 1))
        return tables(copy)


@pytest.fixture
def api(start_airflow: StartAirflow, migrated_metadata: str, tmp_path: Path) -> Iterator[Api]:
    dags = folder_of_dags(
        tmp_path / "dags",
        *(spec.dag_id for spec in (*DAGS, APPROVE_RESUMPTION)),
        DATA_MANAGEMENT.dag_id,
    )
    with start_airflow(dags) as api:
        yield api
    forget_runs(migrated_metadata)


@pytest.mark.usefixtures("undisturbed")
def test_an_operator_makes_up_for_two_weeks_without_airflow(
    api: Api,
    world: dict[BatchSpec, list[datetime]],
    undisturbed: dict[str, list[dict[str, Any]]],
    database: Database,
    slack: StandIns,
    migrated_metadata: str,
) -> None:
    of = {spec: replace(api, dag_id=spec.dag_id) for spec in DAGS}
    for spec in (*REPAIRED, INACTIVE_TENANTS):
        # Airflow runs the last firing by itself. Before the outage there was a run.
        of[spec].rest()
    for spec, ticks in world.items():
        copy_run(migrated_metadata, spec.dag_id, "before the outage", ticks[-1])
    assert tables(database) != undisturbed

    ranges = _read_the_alerts(of[TENANT_MONITORING], slack, world)
    for command in _backfills(ranges):
        assert _run(api, command).returncode == 0
    for spec in REPAIRED:
        _wait_for_backfill(of[spec], GAP)
    assert tables(database) == undisturbed

    _each_run_has_the_business_date_of_its_tick(database, world)
    _a_failed_run_is_done_again(of[TENANT_USAGE], ranges)
    _no_alert_comes_again(of[TENANT_MONITORING], slack)
    _the_loop_changes_nothing(replace(api, dag_id=DATA_MANAGEMENT.dag_id), database, undisturbed, world)
    _the_past_sends_no_letter(of[INACTIVE_TENANTS], database, slack)
    _others_are_refused(of[SCHEDULED_NOTIFICATIONS])


def _read_the_alerts(
    api: Api, slack: StandIns, world: dict[BatchSpec, list[datetime]]
) -> dict[str, tuple[str, str]]:
    """The first and the last missing firing of each DAG, as the alerts say them."""
    api.rest()
    found = {}
    for spec, ticks in world.items():
        (alert,) = (each.text for each in slack.messages if each.text.startswith(f"バッチ未開始: {spec.id}"))
        first, last = re.search(rf"予定: (.+) から (.+) までの {GAP} 回", alert).groups()  # type: ignore[union-attr]
        assert f"対処: {spec.dag_id} を、予定 {first} から {last} まで、過去分再実行" in alert
        assert first == f"{ticks[GAP]:%Y-%m-%d %H:%M}"
        found[spec.dag_id] = first, last
    return found


def _backfills(ranges: dict[str, tuple[str, str]]) -> Iterator[list[str]]:
    """The commands of the page, with the times of the alerts."""
    for command in commands_of(PAGE, "bash"):
        options = dict(zip(command[2::2], command[3::2], strict=True))
        first, last = ranges[options["--dag-id"]]
        times = {"--from-date": first, "--to-date": last}
        for option, moment in times.items():
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d\+09:00", options[option])
            options[option] = f"{moment.replace(' ', 'T')}+09:00"
        yield [*command[:2], *(each for pair in options.items() for each in pair)]


def _run(api: Api, command: list[str]) -> subprocess.CompletedProcess[str]:
    done = AirflowInstallation(dict(api.airflow.environment)).run(*command)
    print(done.stdout[-3000:])
    return done


def _wait_for_backfill(api: Api, runs: int) -> None:
    """Until as many runs of backfills have succeeded, and the scheduler has noticed it."""
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        path = f"/api/v2/dags/{api.dag_id}/dagRuns?run_type=backfill&limit=100"
        states = [run["state"] for run in api.call("GET", path)["dag_runs"]]
        assert "failed" not in states
        backfills = api.call("GET", f"/api/v2/backfills?dag_id={api.dag_id}")["backfills"]
        if states == ["success"] * runs and all(each["completed_at"] for each in backfills):
            return
        assert time.monotonic() < deadline, states
        time.sleep(2)


def _each_run_has_the_business_date_of_its_tick(
    database: Database, world: dict[BatchSpec, list[datetime]]
) -> None:
    with database.connect() as host:
        for spec, ticks in world.items():
            rows = host.execute(
                "SELECT run_id, business_date FROM batch.execution_log WHERE batch_id = %s AND run_id LIKE 'backfill%%'",
                [spec.id],
            ).fetchall()
            run = {
                datetime.fromisoformat(run_id.partition("__")[2]).astimezone(JAPAN): day
                for run_id, day in rows
            }
            assert run == {tick: business_date_of(tick, spec.works_on) for tick in ticks[1 : GAP + 1]}


def _a_failed_run_is_done_again(api: Api, ranges: dict[str, tuple[str, str]]) -> None:
    """As if the database had been down: the run of the last tick is red."""
    path = f"/api/v2/dags/{api.dag_id}/dagRuns"
    runs = api.call("GET", f"{path}?run_type=backfill&order_by=-logical_date")["dag_runs"]
    one = f"{path}/{quote(runs[0]['dag_run_id'])}"
    api.call("PATCH", one, {"state": "failed"})
    assert api.call("GET", one)["state"] == "failed"
    option = "--reprocess-behavior failed"
    assert option in PAGE.read_text(encoding="utf-8")
    (command,) = (each for each in _backfills(ranges) if api.dag_id in each)
    assert _run(api, [*command, *option.split()]).returncode == 0
    _wait_for_backfill(api, len(runs))


def _no_alert_comes_again(api: Api, slack: StandIns) -> None:
    before = len(slack.messages)
    with_alerts = api.trigger()
    assert api.wait(with_alerts) == "success"
    assert [each.text for each in slack.messages[before:] if "バッチ未開始" in each.text] == []


def _the_loop_changes_nothing(
    api: Api,
    database: Database,
    undisturbed: dict[str, list[dict[str, Any]]],
    world: dict[BatchSpec, list[datetime]],
) -> None:
    """The loop of the page, over the last two days of the outage. A run of a user reads the application again."""
    (loop,) = re.findall(r"```bash\n(for day in .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    days = [business_date_of(tick, STATISTICS.works_on) for tick in world[STATISTICS][2:0:-1]]
    loop = re.sub(r"in (\S+ \S+);", f"in {days[0]} {days[1]};", loop)
    api.unpause()
    done = subprocess.run(["bash", "-ec", loop], env=api.airflow.environment, check=False)
    assert done.returncode == 0
    runs = api.call("GET", f"/api/v2/dags/{api.dag_id}/dagRuns")["dag_runs"]
    assert {run["conf"]["business_date"] for run in runs} == set(map(str, days))
    assert [api.wait(run["dag_run_id"]) for run in runs] == ["success"] * 2
    with database.connect() as host:
        rows = host.execute(
            "SELECT batch_id, business_date FROM batch.execution_log WHERE dag_id = %s ORDER BY started_at",
            [api.dag_id],
        ).fetchall()
    assert rows == [(STATISTICS.id, day) for day in days]
    assert tables(database) == undisturbed


def _the_past_sends_no_letter(api: Api, database: Database, slack: StandIns) -> None:
    """The last run has failed for this tenant, so the backfill is the first to judge it."""
    mails = [each for each in slack.messages if each.channel == "email"]
    with database.connect() as host:
        for table in ("inactivity_change", "tenant_inactivity", "outbox", "started_tick"):
            host.execute(f"DELETE FROM batch.{table}")
    past: date = datetime.now(JAPAN).date() - timedelta(days=4)
    times = [f"{past}T{hour}:00+09:00" for hour in ("03", "05")]
    command = ["backfill", "create", "--dag-id", api.dag_id, "--max-active-runs", "1"]
    assert _run(api, [*command, "--from-date", times[0], "--to-date", times[1]]).returncode == 0
    _wait_for_backfill(api, 1)
    with database.connect() as host:
        held = host.execute("SELECT tenant_id, deferred_for FROM batch.outbox").fetchall()
    assert held == [("SILENT", INACTIVE_TENANTS.id)]
    assert [each for each in slack.messages if each.channel == "email"] == mails


def _others_are_refused(api: Api) -> None:
    """By the command, and by the API, which the UI uses."""
    range_ = {"from_date": "2026-11-01T00:00:00Z", "to_date": "2026-11-03T00:00:00Z"}
    command = ["backfill", "create", "--dag-id", api.dag_id, "--max-active-runs", "1"]
    done = _run(api, [*command, "--from-date", range_["from_date"], "--to-date", range_["to_date"]])
    assert done.returncode != 0
    assert "does not allow backfill runs" in done.stdout
    with pytest.raises(HTTPError) as refused:
        api.call("POST", "/api/v2/backfills", {"dag_id": api.dag_id, "max_active_runs": 1, **range_})
    assert refused.value.code in (400, 409, 422)
    assert api.call("GET", f"/api/v2/dags/{api.dag_id}/details")["is_backfillable"] is False
