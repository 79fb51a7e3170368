"""One Airflow for the worker: its metadata database, the commands on it, and the project's DAGs in the worker's own process."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from psycopg.rows import TupleRow

from local_stack.stand_ins import StandIns
from tests.airflow_installation import PROJECT, AirflowInstallation, environment_of
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns


@pytest.fixture(scope="session")
def airflow(migrated_metadata: str, tmp_path_factory: pytest.TempPathFactory) -> AirflowInstallation:
    """Airflow's commands on that database, without any connection of the project."""
    return AirflowInstallation(environment_of(tmp_path_factory.mktemp("airflow"), migrated_metadata))


@pytest.fixture(scope="session")
def dags() -> dict[str, DAG]:
    """All DAGs, parsed as the DAG processor does, without a database."""
    bag = DagBag(dag_folder=str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.fixture
def slack() -> Iterator[StandIns]:
    """The operators' Slack."""
    with StandIns() as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def synced_dags() -> list[list[TupleRow]]:
    """What the worker's runs leave for each other (``DagRuns.synced``)."""
    return []


@pytest.fixture
def runs(
    dags: dict[str, DAG],
    migrated_metadata: str,
    database: Database,
    slack: StandIns,
    synced_dags: list[list[TupleRow]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[DagRuns]:
    """Runs of the DAGs on the test's database, with the test's Slack for the operators."""
    url = migrated_metadata.replace("postgresql+psycopg2", "postgresql")
    with psycopg.connect(url, autocommit=True) as metadata:
        files = {dag.dag_id: dag.fileloc for dag in dags.values()}
        runs = DagRuns(files, metadata, monkeypatch, synced_dags)
        runs.connect(database, slack)
        yield runs
