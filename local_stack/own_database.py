"""A shell on a database that the local stack has not made: an Airflow of its own, without the demo's settings, data and stand-ins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.batches.data_backup.command import DSN_VARIABLE
from include.skillreport.core.database import read_conninfo
from include.skillreport.core.errors import BatchError
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.command import ADMIN_VARIABLE, PASSWORD_VARIABLES
from include.skillreport.schema.deploy import PLATFORM, TENANT
from local_stack.airflow_settings import (
    BACKUP_CONNECTION,
    LOG_ROOTS_VARIABLE,
    STORAGE_VARIABLE,
    TOOLS_VARIABLE,
    UPLOAD_VARIABLE,
    AirflowSettings,
)
from local_stack.stack import DEMO_SETTINGS, LocalStack, postgres_programs


@dataclass(frozen=True)
class OwnDatabase(LocalStack):
    """Airflow for the database of SKILL_BATCH_ADMIN_DSN. Its home, metadata and files lie beside those of the demo."""

    metadata_name = "airflow_own"

    @property
    def airflow_home(self) -> Path:
        return self.directory / "airflow-own"

    @property
    def storage(self) -> Path:
        return self.directory / "storage-own"

    @property
    def settings(self) -> AirflowSettings:
        """The connections of the logins whose passwords the environment has, and the folders. No service is defined.

        :raises BatchError: the environment lacks what every batch needs.
        """
        passwords = {role: os.environ.get(name, "") for role, name in PASSWORD_VARIABLES.items()}
        missing = [PASSWORD_VARIABLES[role] for role in (TENANT, PLATFORM) if not passwords[role]]
        if missing:
            raise BatchError(
                f"{' and '.join(missing)} must be set: `upgrade` gives the roles these passwords (docs/try.md)."
            )
        server = read_conninfo(self.admin_dsn())
        connections = {
            f"skill_{role}_db": _connection(server | {"user": role, "password": password})
            for role, password in passwords.items()
            if password
        }
        if backup := os.environ.get(DSN_VARIABLE):
            connections[BACKUP_CONNECTION] = _connection(read_conninfo(backup))
        variables = {
            STORAGE_VARIABLE: f"file://{self.storage}",
            UPLOAD_VARIABLE: f"file://{self.storage}",
            TOOLS_VARIABLE: postgres_programs(),
            LOG_ROOTS_VARIABLE: "",
        }
        return AirflowSettings(connections, variables, {})

    def admin_dsn(self) -> str:
        """:raises BatchError: the environment does not name the database."""
        if dsn := os.environ.get(ADMIN_VARIABLE):
            return dsn
        raise BatchError(
            f"{ADMIN_VARIABLE} must name the database with the application's schema (docs/try.md)."
        )

    def environment(self) -> dict[str, str]:
        """As of the demo, but for the settings: those of the shell, without them the defaults, with which no invoice is finalised."""
        settings = os.environ.get(SETTINGS_VARIABLE, "")
        is_own = bool(settings) and Path(settings).resolve() != DEMO_SETTINGS
        return super().environment() | {SETTINGS_VARIABLE: settings if is_own else ""}

    def deploy(self) -> None:
        """:raises BatchError: the database has no schema `batch`; nothing has changed. An administrator deploys it."""
        with psycopg.connect(self.admin_dsn()) as connection:
            if connection.execute("SELECT to_regnamespace('batch') IS NULL").fetchone() == (True,):
                raise BatchError(
                    f"The database '{connection.info.dbname}' has no schema batch. Run `python -m include.skillreport upgrade` first."
                )


def _connection(parts: Mapping[str, Any]) -> dict[str, Any]:
    """A connection of Airflow, from libpq's parameters."""
    named = {"host": "host", "schema": "dbname", "login": "user", "password": "password"}
    fields: dict[str, Any] = {field: parts.get(name) or "" for field, name in named.items()}
    port = str(parts.get("port") or 5432)
    if port.isdecimal():  # of several servers it may be a list, which libpq reads in the extra
        fields["port"] = int(port)
        parts = {name: value for name, value in parts.items() if name != "port"}
    further = {name: value for name, value in parts.items() if name not in named.values()}
    # Airflow's import does not accept an empty extra.
    return {"conn_type": "postgres", **fields} | ({"extra": further} if further else {})
