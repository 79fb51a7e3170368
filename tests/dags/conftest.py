"""A migrated Airflow for the session, shared by the tests of the DAGs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.demo.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation, environment_of


@pytest.fixture(scope="session")
def airflow(airflow_metadata: str, tmp_path_factory: pytest.TempPathFactory) -> AirflowInstallation:
    """Airflow on PostgreSQL, without any connection of ours."""
    installation = AirflowInstallation(environment_of(tmp_path_factory.mktemp("airflow"), airflow_metadata))
    migrated = installation.run("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout
    return installation


@pytest.fixture
def slack() -> Iterator[StandIns]:
    """The operators' Slack."""
    with StandIns() as stand_in:
        yield stand_in
