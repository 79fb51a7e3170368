"""Runs of the project's DAGs in the test's own process, like ``airflow dags test``. Airflow starts once per worker, not once per run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import pendulum
import psycopg
import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag
from psycopg.rows import TupleRow

from local_stack.stand_ins import StandIns
from tests.airflow_installation import http_connection, slack_connection
from tests.conftest import Database


@dataclass(frozen=True)
class DagRun:
    """The result of a run, and the project's log lines."""

    run_id: str
    state: str
    log: str


@dataclass(frozen=True)
class DagRuns:
    """The DAGs, by the files that define them, with their connections and Variables pointing at one test's things."""

    files: Mapping[str, str]
    metadata: psycopg.Connection
    environment: pytest.MonkeyPatch
    # What Airflow knew of the DAGs when they were stored and after each of the worker's runs; the last entry counts.
    synced: list[list[TupleRow]]

    def connect(self, database: Database, slack: StandIns) -> None:
        """Point the connections at the test's database and Slack."""
        for role in ("batch_tenant", "batch_platform"):
            self.set_connection(f"skill_{role}_db", database.airflow_connection(role))
        self.set_connection("skill_batch_alert_slack", slack_connection(slack.slack_base_url))

    def post_results_to(self, services: StandIns) -> None:
        """Define the operators' channel over HTTP, with the results of runs."""
        self.set_connection(
            "skill_batch_alert_http", http_connection(services.http_port, extra={"results": True})
        )

    def set_connection(self, conn_id: str, value: str | None) -> None:
        """Define an Airflow connection, or (None) see that there is none."""
        self._set(f"AIRFLOW_CONN_{conn_id.upper()}", value)

    def set_variable(self, name: str, value: str | None) -> None:
        """Define an Airflow Variable, or (None) see that there is none."""
        self._set(f"AIRFLOW_VAR_{name.upper()}", value)

    def test(self, dag_id: str, date: str, **conf: Any) -> DagRun:
        """``airflow dags test DAG_ID DATE --conf CONF``; ``date`` is UTC unless it says otherwise."""
        moment = pendulum.parse(date)
        assert isinstance(moment, pendulum.DateTime)
        # Parsed anew: a run writes its parameters into the DAG's own.
        dag = DagBag(dag_folder=self.files[dag_id]).dags[dag_id]
        with _logged() as lines, self._only_needed_syncs():
            run = dag.test(logical_date=moment, run_conf=conf)
        return DagRun(run.run_id, str(run.state), "\n".join(lines))

    def tries(self, run: DagRun, task_id: str) -> list[int]:
        """How many tries each instance of a task took."""
        rows = self.metadata.execute(
            "SELECT try_number FROM task_instance WHERE run_id = %s AND task_id = %s ORDER BY map_index",
            [run.run_id, task_id],
        )
        return [try_number for (try_number,) in rows]

    @contextmanager
    def _only_needed_syncs(self) -> Iterator[None]:
        """No parsing of all DAGs before a run, if Airflow knows them. It takes several times as long as the run."""
        with self.environment.context() as patched:
            if self.synced and self.synced[-1] == known_dags(self.metadata):
                patched.setattr(DagBundlesManager, "get_all_dag_bundles", lambda _: iter(()))
            yield
        self.synced.append(known_dags(self.metadata))

    def _set(self, name: str, value: str | None) -> None:
        if value is None:
            self.environment.delenv(name, raising=False)
        else:
            self.environment.setenv(name, value)


def known_dags(metadata: psycopg.Connection) -> list[TupleRow]:
    """Changes with each parsing, also with one by an Airflow process of another test."""
    return metadata.execute("SELECT dag_id, last_parsed_time, is_stale FROM dag ORDER BY dag_id").fetchall()


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _logged() -> Iterator[list[str]]:
    """The lines that the project and the libraries log through Python's logging, from INFO on."""
    handler, root = _Lines(), logging.getLogger()
    ours = [logging.getLogger(name) for name in ("skill_batch", "include")]
    before = [logger.level for logger in ours]
    root.addHandler(handler)
    for logger in ours:
        logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
        for logger, level in zip(ours, before, strict=True):
            logger.setLevel(level)


def log_of_runs(database: Database) -> list[tuple[str, date]]:
    """Status and business date of each logged run, oldest first."""
    with database.connect() as connection:
        return connection.execute(
            "SELECT status, business_date FROM batch.execution_log ORDER BY started_at"
        ).fetchall()
