"""Through a whole Airflow: what a run reports after clears, a locked row and a killed worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

from include.skillreport.batches.tenant_usage import create_batch
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS, TENANT_USAGE
from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.stand_ins import StandIns
from tests.airflow_installation import folder_of_dags
from tests.conftest import Database
from tests.dags.running_airflow import CONF, NO_SCHEDULE, USAGE, Api, StartAirflow, kill_tasks_of, wait_until
from tests.worlds import host_rows, outbox_rows

pytestmark = [pytest.mark.long, pytest.mark.exclusive]

SENDING = SCHEDULED_NOTIFICATIONS.dag_id
RUN_DATE, DAY = date(2026, 11, 1), date(2026, 10, 31)
TENANTS = [f"T{number:03}" for number in range(1000)]


@pytest.fixture
def api(start_airflow: StartAirflow, tmp_path: Path) -> Iterator[Api]:
    """All tenants in two instances."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("execution: {max_mapped_tenants: 1, shards: 2, seconds_per_shard: 3600}\n")
    variables = {SETTINGS_VARIABLE: str(settings)} | folder_of_dags(tmp_path / "dags", USAGE, SENDING)
    with start_airflow(NO_SCHEDULE | variables) as api:
        yield api


def totals(host: psycopg.Connection, run_id: str) -> dict[str, int]:
    """The figures of the run's newest execution."""
    row = host.execute(
        "SELECT result -> 'totals' FROM batch.execution_log WHERE run_id = %s ORDER BY started_at DESC LIMIT 1",
        [run_id],
    ).fetchone()
    assert row is not None
    return dict(row[0])


def clear_instances(api: Api, run_id: str, state: str) -> None:
    """Clear the mapped instances in this state with what follows, as the alert asks."""
    cleared = [
        [each["task_id"], each["map_index"]]
        for each in api.instances(run_id)
        if each["map_index"] >= 0 and each["state"] == state
    ]
    assert cleared
    body = {"dag_run_id": run_id, "task_ids": cleared, "include_downstream": True, "only_failed": False}
    api.call("POST", f"/api/v2/dags/{api.dag_id}/clearTaskInstances", {**body, "dry_run": False})


def test_a_cleared_run_reports_every_letter_that_arrived(
    api: Api, database: Database, slack: StandIns
) -> None:
    api = replace(api, dag_id=SENDING)
    with database.connect() as host:
        for tenant_id in TENANTS[:40]:
            host_rows.tenant(host, tenant_id)
            outbox_rows.waiting(host, tenant_id, recipient_address=f"{tenant_id}@example.jp")
        host.execute("ALTER TABLE batch.outbox ADD CONSTRAINT broken CHECK (tenant_id <> 'T007')")
        api.unpause()
        run_id = api.trigger(business_date=str(RUN_DATE))

        assert api.wait(run_id) == "failed"
        *letters, alert = slack.messages
        assert (totals(host, run_id)["sentCount"], len(letters)) == (39, 39)
        assert "T007" in alert.text
        assert "下流ごと消去（Clear）してください" in alert.text

        host.execute("ALTER TABLE batch.outbox DROP CONSTRAINT broken")
        clear_instances(api, run_id, "failed")
        assert api.wait(run_id) == "success"
        assert totals(host, run_id)["sentCount"] == 40

        clear_instances(api, run_id, "success")
        assert api.wait(run_id) == "success"
        assert totals(host, run_id)["sentCount"] == 40

        # A new execution of the same run.
        api.clear_task(run_id, "open_run")
        assert api.wait(run_id) == "success"
        assert totals(host, run_id)["sentCount"] == 40
    arrived = sorted(each.destination for each in slack.messages if each is not alert)
    assert arrived == [f"{tenant_id}@example.jp" for tenant_id in TENANTS[:40]]


def test_a_killed_worker_repeats_only_the_locked_tenant(
    api: Api, database: Database, slack: StandIns
) -> None:
    api = replace(api, dag_id=USAGE)
    with database.connect() as host, psycopg.connect(database.dsn, application_name="export") as application:
        for tenant_id in TENANTS:
            host_rows.tenant(host, tenant_id)
        run_batch_of_usage(database)
        application.execute(
            "SELECT FROM batch.usage_day WHERE tenant_id = 'T003' AND usage_date = %s FOR UPDATE", [DAY]
        )
        api.unpause()
        run_id = api.trigger(**CONF)

        def outcomes() -> dict[str, tuple[str, int]]:
            found = host.execute(
                """
                SELECT tenant_id, tenant_outcome.status, attempts
                FROM batch.tenant_outcome INNER JOIN batch.execution_log USING (execution_id)
                WHERE run_id = %s
                """,
                [run_id],
            )
            return {name: (status, attempts) for name, status, attempts in found}

        done = dict.fromkeys(TENANTS, ("success", 1))
        wait_until(lambda: outcomes() == done | {"T003": ("pending", 0)})
        wait_until(lambda: waits(host))
        kill_tasks_of(database)
        application.rollback()

        assert api.wait(run_id) == "success"
        assert outcomes() == done
        assert host.execute(
            "SELECT status, success_count, error_count FROM batch.execution_log WHERE run_id = %s", [run_id]
        ).fetchall() == [("completed", len(TENANTS), 0)]
    assert max(each["try_number"] for each in api.instances(run_id)) == 2
    assert slack.messages == []


def waits(host: psycopg.Connection) -> bool:
    """Whether a session of this database waits for a lock."""
    return bool(
        host.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).rowcount
    )


def run_batch_of_usage(database: Database) -> None:
    """BATCH-018-01 for the day, without Airflow."""
    with database.working() as (platform, connection):
        run_batch(platform, connection, TENANT_USAGE, create_batch(LOCAL), DAY)
