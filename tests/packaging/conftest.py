"""The environments of production, created once, and a database with demo data for their runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from include.database import Statements
from local_stack.generator import DataShape, load_demo_data
from local_stack.notifications import plant_notifications
from local_stack.stack import postgres_programs
from local_stack.stand_ins import StandIns
from local_stack.tenants import DEMO_TENANTS
from tests.airflow_installation import PROJECT, slack_connection, smtp_connection
from tests.conftest import Database, Server, copied_database
from tests.packaging.production import Layout, ProductionEnvironment, build_wheel, create_environment

ONE_DAY = DataShape(
    tenants=len(DEMO_TENANTS),
    users_per_tenant=5,
    first_day=date(2026, 10, 31),
    days=1,
    requests_per_day=100,
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def without_wheel(tmp_path_factory: pytest.TempPathFactory) -> ProductionEnvironment:
    return create_environment(tmp_path_factory.mktemp("production") / "environment")


@pytest.fixture(scope="session")
def with_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> ProductionEnvironment:
    environment = create_environment(tmp_path_factory.mktemp("production") / "environment")
    environment.install("--no-deps", str(wheel))
    return environment


@pytest.fixture(scope="session")
def migrated(
    without_wheel: ProductionEnvironment, airflow_metadata: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A metadata database, migrated by the tested version of Airflow; its SQLAlchemy URL."""
    layout = Layout.plain(tmp_path_factory.mktemp("migrating") / "project")
    airflow = layout.airflow(without_wheel, layout.folder.parent / "home", airflow_metadata)
    done = airflow.run("db", "migrate")
    assert done.returncode == 0, done.stdout
    return airflow_metadata


@pytest.fixture
def metadata(server: Server, migrated: str) -> Iterator[str]:
    """A copy for one test. Airflow 3.3.1 stores no deadlines for a DAG that changes in the same database."""
    address, _, name = migrated.rpartition("/")
    with copied_database(server, name, "packaging") as copy:
        yield f"{address}/{copy.name}"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The folder of the object store."""
    return tmp_path / "storage"


@pytest.fixture
def connections(database: Database, storage: Path) -> Iterator[dict[str, str]]:
    """The environment variables of an installation whose database has the demo's tenants with one day of use."""
    with StandIns() as services:
        with database.connect() as connection:
            load_demo_data(connection, ONE_DAY)
            Statements(PROJECT / "local_stack").execute(connection, "billing_facts")
            plant_notifications(connection, services.http_port)
        yield {
            "AIRFLOW_CONN_BATCH_TENANT_DB": database.airflow_connection("batch_tenant"),
            "AIRFLOW_CONN_BATCH_PLATFORM_DB": database.airflow_connection("batch_platform"),
            "AIRFLOW_CONN_BATCH_BACKUP_DB": _backup_connection(database),
            "AIRFLOW_CONN_BATCH_SMTP": smtp_connection(services),
            "AIRFLOW_CONN_OPS_SLACK": slack_connection(services.slack_base_url),
            "AIRFLOW_VAR_BATCH_STORAGE_URL": f"file://{storage}",
            "AIRFLOW_VAR_BATCH_POSTGRES_BIN": postgres_programs(),
            "AIRFLOW_VAR_BATCH_ALLOWED_HOSTS": f"127.0.0.1:{services.http_port}",
        }


def _backup_connection(database: Database) -> str:
    """The superuser of the tests' server, as JSON."""
    parts = psycopg.conninfo.conninfo_to_dict(database.dsn)
    login = {"login": parts["user"], "password": parts.get("password")}
    host = {"host": parts["host"], "port": int(str(parts["port"])), "schema": parts["dbname"]}
    return json.dumps({"conn_type": "postgres", **login, **host})
