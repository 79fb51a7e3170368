"""The DAG of the page about assets, which a scheduler starts when BATCH-018-01 has closed a day."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from include.skillreport.core.assets import USAGE_DAY
from include.skillreport.core.catalog import TENANT_USAGE
from tests.airflow_installation import PROJECT, folder_of_dags
from tests.conftest import Database
from tests.dags.running_airflow import Api, StartAirflow, forget_runs
from tests.waiting import wait_until
from tests.worlds import host_rows

FOLLOWER, PLAIN = "usage_follower", "plain_follower"
DAY = "2026-10-31"

# What a reader might try first.
PLAIN_FOLLOWER = """
from airflow.sdk import Asset, dag, task


@dag(schedule=[Asset.ref(name="skill_report_usage_day")])
def plain_follower():
    @task
    def nothing():
        pass

    nothing()


plain_follower()
"""


@pytest.fixture
def api(start_airflow: StartAirflow, migrated_metadata: str, tmp_path: Path) -> Iterator[Api]:
    folder = folder_of_dags(tmp_path / "dags", TENANT_USAGE.dag_id)
    shutil.copy(PROJECT / "docs" / "examples" / f"{FOLLOWER}.py", tmp_path / "dags")
    (tmp_path / "dags" / f"{PLAIN}.py").write_text(PLAIN_FOLLOWER, encoding="utf-8")
    with start_airflow(folder) as api:
        yield replace(api, dag_id=TENANT_USAGE.dag_id)
    # Events of other tests must not queue runs of the followers.
    forget_runs(migrated_metadata)


def followed(api: Api, count: int) -> list[dict[str, Any]]:
    """The follower's runs for the day, oldest first, as soon as there are so many and they have ended."""

    def runs() -> list[dict[str, Any]]:
        found = api.call("GET", f"/api/v2/dags/{FOLLOWER}/dagRuns?order_by=run_after")["dag_runs"]
        return [run for run in found if run["partition_key"] == DAY]

    wait_until(lambda: len(runs()) >= count, f"{count} runs of the follower")
    for run in runs():
        assert replace(api, dag_id=FOLLOWER).wait(run["dag_run_id"]) == "success"
    return runs()


def counted(api: Api, run: dict[str, Any]) -> Any:
    """What a run of the follower has returned."""
    path = f"/api/v2/dags/{FOLLOWER}/dagRuns/{quote(run['dag_run_id'])}/taskInstances/count_users"
    return api.call("GET", f"{path}/xcomEntries/return_value")["value"]


def events(api: Api, run: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Asset, key and ``repeated`` of the events that started a run of the follower."""
    path = f"/api/v2/dags/{FOLLOWER}/dagRuns/{quote(run['dag_run_id'])}/upstreamAssetEvents"
    found = api.call("GET", path)["asset_events"]
    return [(each["name"], each["partition_key"], each["extra"]["repeated"]) for each in found]


@pytest.mark.long
@pytest.mark.exclusive
def test_another_teams_dag_runs_when_a_day_is_closed(api: Api, database: Database) -> None:
    with database.connect() as host:
        for name in ("T001", "T002"):
            host_rows.tenant(host, name)
            host_rows.report(host, name, datetime(2026, 10, 31, 3, 0))
        healthy = host_rows.break_settings_of(host, "T002")
    for dag_id in (FOLLOWER, PLAIN):
        replace(api, dag_id=dag_id).unpause()
    # The missed run of the schedule is partial, so it announces nothing.
    api.rest()

    run_id = api.trigger(business_date=DAY)
    assert api.wait(run_id) == "failed"
    assert (api.states(run_id)["close_run"], api.states(run_id)["announce"]) == ("failed", "upstream_failed")
    with database.connect() as host:
        host.execute(healthy.encode())
    api.clear(run_id, "T002")
    assert api.wait(run_id) == "success"

    assert api.states(run_id)["announce"] == "success"
    (first,) = followed(api, 1)
    assert events(api, first) == [(USAGE_DAY.name, DAY, False)]
    assert counted(api, first) == {"T001": 0, "T002": 0}

    api.clear(run_id, "T002")
    assert api.wait(run_id) == "success"

    _, again = followed(api, 2)
    assert events(api, again) == [(USAGE_DAY.name, DAY, True)]
    plain = api.call("GET", f"/api/v2/dags/{PLAIN}/dagRuns")
    assert plain["total_entries"] == 0
