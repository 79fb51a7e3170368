"""Convert ``airflow_settings.yaml`` (Astro format) to the JSON that the Airflow command line imports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.skillreport.core.yaml_files import load_yaml

# The connections to the database.
DATABASE_CONNECTIONS = (
    "skill_batch_tenant_db",
    "skill_batch_platform_db",
    "skill_batch_board_db",
    "skill_batch_cleanup_db",
)

# The connection for backups, with a separate login.
BACKUP_CONNECTION = "skill_batch_backup_db"

# The Variables with the folders of files, of pg_dump, and of the application's log files.
STORAGE_VARIABLE = "skill_batch_storage_url"
UPLOAD_VARIABLE = "skill_batch_upload_url"
TOOLS_VARIABLE = "skill_batch_postgres_bin"
LOG_ROOTS_VARIABLE = "skill_batch_log_roots"


_LOOPBACK = "127.0.0.1"
_LOCAL_ADDRESS = re.compile(rf"(?<![\w.]){re.escape(_LOOPBACK)}:(\d+)")


@dataclass(frozen=True)
class DatabaseAddress:
    """The TCP address of the skill report database."""

    host: str
    port: int
    dbname: str


@dataclass(frozen=True)
class AirflowSettings:
    """Connections, Variables and pools, as ``airflow ... import`` reads them from JSON."""

    connections: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, str]
    pools: Mapping[str, Mapping[str, Any]]

    def with_ports_moved_by(self, offset: int) -> AirflowSettings:
        """The same settings, with ``offset`` added to each port on 127.0.0.1."""
        connections = {
            conn_id: {
                **{name: _move_addresses(value, offset) for name, value in connection.items()},
                **({"port": connection["port"] + offset} if connection.get("host") == _LOOPBACK else {}),
            }
            for conn_id, connection in self.connections.items()
        }
        variables = {name: _move_addresses(value, offset) for name, value in self.variables.items()}
        return AirflowSettings(connections, variables, self.pools)

    def at(self, address: DatabaseAddress, storage: Path, tools: str, logs: Path) -> AirflowSettings:
        """The same settings with ``address`` in the database connections, and these folders in the Variables."""
        moved = {
            conn_id: {
                **connection,
                **(
                    {"host": address.host, "port": address.port, "schema": address.dbname}
                    if conn_id in (*DATABASE_CONNECTIONS, BACKUP_CONNECTION)
                    else {}
                ),
            }
            for conn_id, connection in self.connections.items()
        }
        folders = {
            STORAGE_VARIABLE: f"file://{storage}",
            UPLOAD_VARIABLE: f"file://{storage}",
            TOOLS_VARIABLE: tools,
            LOG_ROOTS_VARIABLE: str(logs),
        }
        return AirflowSettings(moved, {**self.variables, **folders}, self.pools)

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each database login, by role."""
        return {
            self.connections[conn_id]["login"]: self.connections[conn_id]["password"]
            for conn_id in DATABASE_CONNECTIONS
        }

    @property
    def database(self) -> DatabaseAddress:
        """The address of the database in the settings file."""
        connection = self.connections[DATABASE_CONNECTIONS[0]]
        return DatabaseAddress(connection["host"], connection["port"], connection["schema"])


def _move_addresses(value: Any, offset: int) -> Any:
    """Add ``offset`` to the port of each ``127.0.0.1:port`` in a text or in the fields of an extra."""
    if isinstance(value, str):
        return _LOCAL_ADDRESS.sub(lambda found: f"{_LOOPBACK}:{int(found[1]) + offset}", value)
    if isinstance(value, dict):
        return {name: _move_addresses(field, offset) for name, field in value.items()}
    return value


def load_airflow_settings(path: Path) -> AirflowSettings:
    """:raises KeyError: an entry has no name. :raises SettingsError: the file is not YAML, or cannot be read."""
    document = load_yaml(path)["airflow"]
    return AirflowSettings(
        connections={
            entry["conn_id"]: {
                name: value
                for name, value in {
                    "conn_type": entry["conn_type"],
                    "host": entry.get("conn_host"),
                    "port": entry.get("conn_port"),
                    "schema": entry.get("conn_schema"),
                    "login": entry.get("conn_login"),
                    "password": entry.get("conn_password"),
                    "extra": entry.get("conn_extra"),
                }.items()
                if value is not None
            }
            for entry in document["connections"] or []
        },
        variables={entry["variable_name"]: entry["variable_value"] for entry in document["variables"] or []},
        pools={
            entry["pool_name"]: {
                "slots": entry["pool_slot"],
                "description": entry.get("pool_description", ""),
                "include_deferred": False,
            }
            for entry in document["pools"] or []
        },
    )
