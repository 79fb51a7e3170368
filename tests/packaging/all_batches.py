"""An installation whose database has the demo's tenants with one day of use, and a run of each batch on it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg

from include.skillreport.core.catalog import (
    EXTERNAL_SYNC,
    NOTIFICATION_RETRY,
    TENANT_BILLING,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.run_spec import BatchSpec
from local_stack.generator import DataShape, load_demo_data
from local_stack.notifications import plant_notifications
from local_stack.stack import postgres_programs
from local_stack.stand_ins import StandIns
from local_stack.tenants import DEMO_TENANTS
from tests.airflow_installation import PROJECT, AirflowInstallation, slack_connection, smtp_connection
from tests.conftest import Database
from tests.packaging.production import ProductionEnvironment, run_python

ONE_DAY = DataShape(
    tenants=len(DEMO_TENANTS),
    users_per_tenant=5,
    first_day=date(2026, 10, 31),
    days=1,
    requests_per_day=100,
)


@contextmanager
def demo_connections(database: Database, storage: Path) -> Iterator[dict[str, str]]:
    """The environment variables of the installation; ``storage`` is the folder of its object store."""
    with StandIns() as services:
        with database.connect() as connection:
            load_demo_data(connection, ONE_DAY)
            Statements(PROJECT / "local_stack").execute(connection, "billing_facts")
            plant_notifications(connection, services.http_port)
        yield {
            "AIRFLOW_CONN_SKILL_BATCH_TENANT_DB": database.airflow_connection("batch_tenant"),
            "AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB": database.airflow_connection("batch_platform"),
            "AIRFLOW_CONN_SKILL_BATCH_BACKUP_DB": _backup_connection(database),
            "AIRFLOW_CONN_SKILL_BATCH_SMTP": smtp_connection(services),
            "AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK": slack_connection(services.slack_base_url),
            "AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL": f"file://{storage}",
            "AIRFLOW_VAR_SKILL_BATCH_POSTGRES_BIN": postgres_programs(),
            "AIRFLOW_VAR_SKILL_BATCH_ALLOWED_HOSTS": f"127.0.0.1:{services.http_port}",
        }


def run_batches(
    environment: ProductionEnvironment,
    airflow: AirflowInstallation,
    database: Database,
    batches: Collection[BatchSpec],
) -> None:
    """Run each of them, and check that they succeed except for the demo's faults."""
    forms: Mapping[str, dict[str, bool]] = {TENANT_BILLING.id: {"allow_incomplete": True}}
    runs = [[batch.dag_id, "2026-11-01T00:00:00+00:00", forms.get(batch.id, {})] for batch in batches]

    states = run_python(environment, airflow, Path(__file__).with_name("run_dags.py"), json.dumps(runs))

    # The demo's tenants have broken channels, which these two report.
    reports_faults = {NOTIFICATION_RETRY, EXTERNAL_SYNC}
    expected = {batch.dag_id: "failed" if batch in reports_faults else "success" for batch in batches}
    with database.connect() as connection:
        outcomes = connection.execute(
            "SELECT DISTINCT error_code FROM batch.tenant_outcome WHERE status = 'failed' ORDER BY error_code"
        ).fetchall()
        problems = connection.execute(
            """
            SELECT batch_id, tenant_id, error_code, outcome.error_message
            FROM batch.tenant_outcome AS outcome INNER JOIN batch.execution_log USING (execution_id)
            WHERE outcome.status = 'failed'
            """
        ).fetchall()
    wrong = {dag_id: state for dag_id, state in states.items() if state != expected[dag_id]}
    assert (wrong, states.keys()) == ({}, expected.keys()), (wrong, problems)
    assert outcomes == [("CHANNEL_CLOSED",), ("CREDENTIALS_REFUSED",)]


def _backup_connection(database: Database) -> str:
    """The superuser of the tests' server, as JSON."""
    parts = psycopg.conninfo.conninfo_to_dict(database.dsn)
    login = {"login": parts["user"], "password": parts.get("password")}
    host = {"host": parts["host"], "port": int(str(parts["port"])), "schema": parts["dbname"]}
    return json.dumps({"conn_type": "postgres", **login, **host})
