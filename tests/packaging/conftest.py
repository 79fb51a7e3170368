"""The environments of production, created once, and a database with demo data for their runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database, Server, copied_database
from tests.packaging.all_batches import demo_connections
from tests.packaging.production import Layout, ProductionEnvironment, build_wheel, create_environment


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
    with demo_connections(database, storage) as variables:
        yield variables
