"""An Airflow of the tests' own: its home, its metadata database, and the commands that a person would type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from local_stack.stack import PROJECT, airflow_environment
from local_stack.stand_ins import StandIns
from local_stack.stand_ins.alert_receiver import RECEIVER_KEY
from tests.conftest import Database

__all__ = [
    "PROJECT",
    "AirflowInstallation",
    "environment_of",
    "folder_of_dags",
    "slack_connection",
    "smtp_connection",
]


@dataclass(frozen=True)
class AirflowInstallation:
    """Commands run with these environment variables and no others of the caller's Airflow."""

    environment: dict[str, str] = field(repr=False)

    def with_connections(self, database: Database, slack_base_url: str | None = None) -> AirflowInstallation:
        """The same Airflow with its connections pointing at a test's database and Slack stand-in."""
        connections = {
            "AIRFLOW_CONN_SKILL_BATCH_TENANT_DB": database.airflow_connection("batch_tenant"),
            "AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB": database.airflow_connection("batch_platform"),
        }
        if slack_base_url:
            connections["AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK"] = slack_connection(slack_base_url)
        return AirflowInstallation(self.environment | connections)

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """``airflow ...``, with its output."""
        return subprocess.run(
            ["airflow", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )


def environment_of(home: Path, metadata_url: str) -> dict[str, str]:
    """The environment of an ``airflow`` process in the tests: the project's variables, without those of the caller's Airflow."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "PYTHONDONTWRITE"))
    }
    return (
        inherited
        | airflow_environment(home, metadata_url)
        | {
            "AIRFLOW__CORE__PARALLELISM": "4",
            "PYTHONPATH": str(PROJECT),
            # Processes that start at the same time in a new home would each make up one of their own.
            "AIRFLOW__API_AUTH__JWT_SECRET": "of the tests: " + "x" * 64,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        }
    )


def folder_of_dags(folder: Path, *dag_ids: str) -> dict[str, str]:
    """A DAG folder with these DAGs only, as an environment variable: each ``airflow`` process parses all that it finds there."""
    folder.mkdir()
    for dag_id in dag_ids:
        (file,) = (PROJECT / "dags").rglob(f"{dag_id}.py")
        shutil.copy(file, folder)
    return {"AIRFLOW__CORE__DAGS_FOLDER": str(folder)}


def slack_connection(base_url: str) -> str:
    """``skill_batch_alert_slack`` pointing at a stand-in, as JSON."""
    return (
        '{"conn_type": "slack", "password": "xoxb-test-token", '
        f'"extra": {{"base_url": "{base_url}", "channel": "#night-duty"}}}}'
    )


def smtp_connection(services: StandIns) -> str:
    """``skill_batch_smtp`` pointing at the stand-ins, as JSON."""
    return _mail_connection(services, from_email="no-reply@example.jp")


def email_connection(services: StandIns, **extra: Any) -> str:
    """``skill_batch_alert_email`` pointing at the stand-ins, as JSON. ``extra`` replaces fields of the extra, and adds others."""
    addresses = {"from_email": "alerts@example.jp", "to_email": "night@example.jp"}
    return _mail_connection(services, **(addresses | extra))


def http_connection(port: int, **fields: Any) -> str:
    """``skill_batch_alert_http`` pointing at the receiver of the stand-ins, as JSON. Further fields replace these; ``extra`` is added."""
    extra = {"endpoint": "/alerts", **fields.pop("extra", {})}
    receiver = {"host": "127.0.0.1", "schema": "http", "port": port, "password": RECEIVER_KEY}
    return json.dumps({"conn_type": "http", **receiver, **fields, "extra": extra})


def _mail_connection(services: StandIns, **fields: Any) -> str:
    extra = {"disable_ssl": True, "disable_tls": True, **fields}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": services.smtp_port, "extra": extra})


def connect_metadata(metadata_url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """A connection to Airflow's own database. ``metadata_url`` is that of SQLAlchemy."""
    return psycopg.connect(metadata_url.replace("postgresql+psycopg2", "postgresql"), autocommit=autocommit)
