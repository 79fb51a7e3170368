"""One Airflow for the worker: its metadata database, the commands on it, and the project's DAGs in the worker's own process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from psycopg.rows import TupleRow

from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation, connect_metadata, environment_of
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns, known_dags
from tests.dags.running_airflow import Api, StartAirflow, forget_runs, running_airflow
from tests.worlds.shared_database import database, shared_copy, shared_database

__all__ = ["database", "shared_copy", "shared_database"]


@pytest.fixture(scope="session")
def airflow(migrated_metadata: str, tmp_path_factory: pytest.TempPathFactory) -> AirflowInstallation:
    """Airflow's commands on that database, without any connection of the project."""
    return AirflowInstallation(environment_of(tmp_path_factory.mktemp("airflow"), migrated_metadata))


@pytest.fixture(scope="session")
def dags(dag_bag: DagBag) -> dict[str, DAG]:
    """All DAGs by their ids."""
    return dict(dag_bag.dags)


@pytest.fixture
def slack() -> Iterator[StandIns]:
    """The operators' Slack."""
    with StandIns() as stand_in:
        yield stand_in


@pytest.fixture
def start_airflow(
    airflow: AirflowInstallation,
    migrated_metadata: str,
    database: Database,
    slack: StandIns,
    unused_port: int,
    tmp_path: Path,
) -> StartAirflow:
    """Starts all of Airflow's processes on the test's database and Slack, without the runs that other tests have left."""

    def start(variables: Mapping[str, str]) -> AbstractContextManager[Api]:
        forget_runs(migrated_metadata)
        return running_airflow(airflow, database, slack, tmp_path, unused_port, variables)

    return start


@pytest.fixture(scope="session")
def synced_dags(stored_dags: str) -> list[list[TupleRow]]:
    """What the worker's runs leave for each other (``DagRuns.synced``)."""
    with connect_metadata(stored_dags) as metadata:
        return [known_dags(metadata)]


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
    with connect_metadata(migrated_metadata, autocommit=True) as metadata:
        files = {dag.dag_id: dag.fileloc for dag in dags.values()}
        runs = DagRuns(files, metadata, monkeypatch, synced_dags)
        runs.connect(database, slack)
        yield runs
