"""The local installation of ``make demo`` and ``make up``: database, demo data, and Airflow's home in one ignored folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from include.skillreport.batches import statistics, tenant_usage
from include.skillreport.core.catalog import (
    STATISTICS,
    TENANT_USAGE,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.deploy import PLATFORM, TENANT, upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.airflow_settings import (
    BACKUP_CONNECTION,
    AirflowSettings,
    DatabaseAddress,
    load_airflow_settings,
)
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.cluster_roles import BATCH_ROLES, claim_roles
from local_stack.data_management import create_backup_login, plant_log_files, plant_old_rows
from local_stack.directories import put_directories
from local_stack.generator import DEMO_SHAPE, load_demo_data
from local_stack.host_fixture import MADE_HERE, create_host_schema, mark
from local_stack.monitoring import plant_incidents
from local_stack.notifications import (
    BOUNCING_AT_STAND_INS,
    REFUSED_BY_STAND_INS,
    move_channels,
    plant_notifications,
)
from local_stack.ports import UI_PORT, Ports, read_offset, require_free
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

_SQL = Statements(Path(__file__).parent)

PROJECT = Path(__file__).resolve().parents[1]

# The URL of a database on an external server (PostgreSQL 15 to 18), with a superuser. Without it the embedded server is used.
EXTERNAL_DATABASE = "SKILL_BATCH_DATABASE_URL"

# Overrides the sample price list and issuer with those of the demo.
DEMO_SETTINGS = Path(__file__).with_name("settings.yaml")

# The two databases of the embedded server. An external server has only the first one.
SKILL_REPORT, AIRFLOW_METADATA = "skill_report", "airflow"

# The administrators of `make up`.
SAMPLE_USERS = ("suzuki", "tanaka")

_IMPORTED_SETTINGS = "imported_settings.sha256"

# The mark until the demo data are complete.
_INCOMPLETE = "incomplete, made by the local stack of skill-report-batches"


def postgres_programs() -> str:
    """The value of the Variable ``skill_batch_postgres_bin``: the embedded server's programs, and those of Debian's packages."""
    return os.pathsep.join((str(EmbeddedPostgres.binary("pg_dump").parent), "/usr/lib/postgresql/18/bin"))


def airflow_environment(home: Path, metadata_url: str) -> dict[str, str]:
    """The environment variables of an ``airflow`` process for this project, with LocalExecutor."""
    return {
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": str(PROJECT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # The default of 32 forks 32 worker processes.
        "AIRFLOW__CORE__PARALLELISM": "8",
        # Every user is an administrator, so the API server listens only on this machine.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__SECRET_MASK_ADAPTER": "skill_batch.masking.parts",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url,
        SETTINGS_VARIABLE: str(DEMO_SETTINGS),
    }


def prepare_stand_ins(stand_ins: StandIns, connection: psycopg.Connection) -> None:
    """Give the stand-ins the errors of the demo, and directories made from the employees of its tenants."""
    for recipient, code in REFUSED_BY_STAND_INS.items():
        stand_ins.refuse_recipient(recipient, code)
    for recipient, status in BOUNCING_AT_STAND_INS.items():
        stand_ins.bounce_later(recipient, status)
    put_directories(stand_ins, connection)


@dataclass(frozen=True)
class LocalStack:
    """The local installation. It writes only to ``directory``."""

    directory: Path = PROJECT / ".local"

    # The database with Airflow's metadata, on the embedded server.
    metadata_name: ClassVar[str] = AIRFLOW_METADATA

    @cached_property
    def _settings_file(self) -> AirflowSettings:
        return load_airflow_settings(PROJECT / "airflow_settings.yaml").with_ports_moved_by(self.port_offset)

    @property
    def _remembered_offset(self) -> Path:
        return self.directory / "port_offset"

    @cached_property
    def port_offset(self) -> int:
        """The number that is added to every port: from the environment, otherwise from the last start in this folder."""
        return read_offset(self._remembered_offset)

    @property
    def settings(self) -> AirflowSettings:
        """``airflow_settings.yaml`` with the addresses of the actual database and folders."""
        external = os.environ.get(EXTERNAL_DATABASE)
        address = self._settings_file.database
        if external:
            url = urlsplit(external)
            address = DatabaseAddress(url.hostname or "127.0.0.1", url.port or 5432, url.path.strip("/"))
        return self._settings_file.at(address, self.storage, postgres_programs(), self.application_logs)

    @property
    def storage(self) -> Path:
        """The folder of the object store: invoices, reports, backups."""
        return self.directory / "storage"

    @property
    def application_logs(self) -> Path:
        """The folder of the application's log files."""
        return self.directory / "logs"

    @property
    def server(self) -> EmbeddedPostgres:
        """The embedded server, on the port of the settings file."""
        return EmbeddedPostgres(self.directory / "postgres", self._settings_file.database.port)

    @property
    def ports(self) -> Ports:
        """The ports of the settings file and of Airflow's UI, moved by the offset."""
        connections = self._settings_file.connections
        url = urlsplit(connections["skill_batch_alert_slack"]["extra"]["base_url"])
        assert url.port is not None
        return Ports(
            database=self._settings_file.database.port,
            http=url.port,
            smtp=connections["skill_batch_smtp"]["port"],
            imap=connections["skill_batch_mailbox"]["port"],
            ui=UI_PORT + self.port_offset,
        )

    @property
    def airflow_home(self) -> Path:
        """Airflow's home: configuration and task logs."""
        return self.directory / "airflow"

    def environment(self) -> dict[str, str]:
        """The environment variables of a shell in which ``airflow`` uses this project."""
        server = self.server
        socket = quote(str(server.socket_directory), safe="")
        metadata = f"postgresql+psycopg2://postgres@/{self.metadata_name}?host={socket}&port={server.port}"
        return airflow_environment(self.airflow_home, metadata) | {
            "AIRFLOW__API__PORT": str(self.ports.ui),
            "AIRFLOW__API__BASE_URL": f"http://localhost:{self.ports.ui}",
        }

    def sample_users(self) -> dict[str, str]:
        """The environment variables of an API server with two administrators instead of an anonymous one: some acts need a second person.
        The password of each is the name.
        """
        passwords = self.directory / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in SAMPLE_USERS}), encoding="utf-8")
        return {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:admin" for name in SAMPLE_USERS),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }

    def admin_dsn(self) -> str:
        """The skill report database as the role that owns the host's tables."""
        return os.environ.get(EXTERNAL_DATABASE) or self.server.admin_dsn(SKILL_REPORT)

    def start_database(self) -> None:
        """Start the embedded server and create its databases. An external server replaces only the skill report database."""
        self._prepare_port()
        self.server.start()
        self._remembered_offset.write_text(f"{self.port_offset}\n")
        with psycopg.connect(self.server.admin_dsn(), autocommit=True) as connection:
            existing = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for name in {SKILL_REPORT, self.metadata_name} - existing:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    @property
    def arrived(self) -> Path:
        """The file with the messages that the stand-ins have received."""
        return self.directory / "arrived.jsonl"

    @contextmanager
    def stand_ins(self) -> Iterator[StandIns]:
        """Run the stand-ins on the ports of the settings file, with the errors and directories of the demo."""
        ports = self.ports
        require_free(ports.of_stand_ins)
        with (
            self.in_use(),
            StandIns(ports.http, ports.smtp, imap_port=ports.imap, record=self.arrived) as stand_ins,
        ):
            with self.database() as connection:
                prepare_stand_ins(stand_ins, connection)
            yield stand_ins

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """During the block no other command moves the ports of this folder, or deletes its database."""
        with self._users_file.open("w") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            yield

    def reset(self) -> None:
        """Delete the embedded database, including Airflow's metadata, and the messages and files that its batches have sent and written.

        :raises BatchError: another command uses them; nothing was deleted.
        """
        if self.directory.exists() and self._is_in_use():
            raise BatchError(
                "Another command uses the database of this checkout. End it first (`make down` ends `make up`)."
            )
        self.server.reset()
        self.arrived.unlink(missing_ok=True)
        shutil.rmtree(self.storage, ignore_errors=True)
        for imported in self.directory.glob(f"*/{_IMPORTED_SETTINGS}"):
            imported.unlink()

    @property
    def _imported_settings(self) -> Path:
        """The checksum of the settings that Airflow's metadata database has."""
        return self.airflow_home / _IMPORTED_SETTINGS

    @property
    def _users_file(self) -> Path:
        return self.directory / "port_users.lock"

    def _is_in_use(self) -> bool:
        """Whether the embedded server has sessions, or a command deploys, or runs Airflow or the demo, even without a session."""
        with self._users_file.open("w") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        if self.server.is_running():
            # A server that accepts no session has no users.
            with suppress(psycopg.OperationalError), psycopg.connect(self.server.admin_dsn()) as connection:
                (sessions,) = _SQL.row(connection, "other_sessions")
                return bool(sessions)
        return False

    def _prepare_port(self) -> None:
        """Stop the embedded server if the offset has changed since it started, unless it is in use.

        :raises BatchError: it is in use, or another program uses its new port.
        """
        server, port = self.server, self.ports.database
        if server.is_running():
            if (current := server.port) == port:
                return
            if self._is_in_use():
                raise BatchError(
                    f"The database of this checkout runs on port {current} and is in use, so it cannot move to port {port}. "
                    "Run `make down` first, or leave PORT_OFFSET as it was."
                )
            server.stop()
        require_free({"the embedded PostgreSQL": port})

    def deploy(self) -> None:
        """Deploy the host schema, schema batch and demo data, each only if it is missing.

        All days of the demo data except the last are closed, as if BATCH-003 and BATCH-018-01 had run every night. Some tenants have
        discounts, commitments and billing addresses, and channels whose services are the stand-ins.

        A second command waits for the first.

        :raises BatchError: an earlier command was interrupted before the demo data were complete.
        """
        with (self.directory / "deploy.lock").open("w") as deploying:
            fcntl.flock(deploying, fcntl.LOCK_EX)
            self._deploy()

    def _deploy(self) -> None:
        with psycopg.connect(self.admin_dsn()) as connection:
            fresh = connection.execute(
                """SELECT to_regclass('public."MST_Tenant"') IS NULL"""
            ).fetchone() == (True,)
            if os.environ.get(EXTERNAL_DATABASE):
                self._claim_server(connection, fresh=fresh)
            if not fresh and _mark_of(connection) == _INCOMPLETE:
                raise BatchError(
                    "The demo data are incomplete, because an earlier command was interrupted. Delete them with `make db-reset`"
                    f" (or name an empty database in {EXTERNAL_DATABASE}), and start again."
                )
            if fresh:
                create_host_schema(connection, HostVariant.MULTI_TENANT)
                mark(connection, _INCOMPLETE)
                load_demo_data(connection, DEMO_SHAPE)
        upgrade(self.admin_dsn(), passwords=self.settings.passwords)
        with self.database() as connection:
            create_backup_login(connection, self.settings.connections[BACKUP_CONNECTION])
        if fresh:
            with ThreadPoolExecutor() as threads:
                closing = [
                    threads.submit(self._close_days, STATISTICS, statistics.create_batch(LOCAL)),
                    threads.submit(self._close_days, TENANT_USAGE, tenant_usage.create_batch(LOCAL)),
                ]
                for each in closing:
                    each.result()
            with self.database() as connection:
                _SQL.execute(connection, "billing_facts")
                plant_notifications(connection, self.ports.http)
                plant_incidents(connection)
                plant_old_rows(connection)
            plant_log_files(self.application_logs)
            with psycopg.connect(self.admin_dsn()) as connection:
                mark(connection, MADE_HERE)
        else:
            with self.database() as connection:
                move_channels(connection, self.ports.http)

    def _close_days(self, spec: BatchSpec, batch: Batch) -> None:
        """Run a batch for all days of the demo data but the last."""
        with self.database(PLATFORM) as platform, self.database(TENANT) as connection:
            for each in (platform, connection):
                # Thousands of small transactions that can be made again.
                each.execute("SET synchronous_commit = off")
            for offset in range(DEMO_SHAPE.days - 1):
                run_batch(platform, connection, spec, batch, DEMO_SHAPE.first_day + timedelta(days=offset))

    def _claim_server(self, admin: psycopg.Connection, *, fresh: bool) -> None:
        """Create the batch roles on an external server, unless the server or its database has another owner.

        :raises BatchError: names what was found there; nothing was changed.
        """
        backup_login = self.settings.connections[BACKUP_CONNECTION]["login"]
        with admin.transaction():
            claim_roles(admin, (*BATCH_ROLES, backup_login), "the local stack")
            if not fresh and _mark_of(admin) not in (MADE_HERE, _INCOMPLETE):
                raise BatchError(
                    f"The database '{admin.info.dbname}' holds an application's tables that the local stack has not made. "
                    f"Name an empty database in {EXTERNAL_DATABASE}."
                )

    def prepare_airflow(self, run: Callable[[Sequence[Sequence[str]]], None] | None = None) -> None:
        """Create Airflow's metadata database, and import the connections, variables and pools of the settings file.

        ``run`` runs Airflow's commands; by default each has a process of its own.
        """
        run = run or self._run_commands
        self.airflow_home.mkdir(parents=True, exist_ok=True)
        commands = [["db", "migrate"]]
        settings = self.settings
        parts = {
            "connections": settings.connections,
            "variables": settings.variables,
            "pools": settings.pools,
        }
        text = json.dumps(parts, sort_keys=True)
        imported = self._imported_settings
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not imported.exists() or imported.read_text() != digest:
            for part, content in parts.items():
                if content:
                    file = self.airflow_home / f"{part}.json"
                    file.write_text(json.dumps(content), encoding="utf-8")
                    overwrite = ["--overwrite"] if part == "connections" else []
                    commands.append([part, "import", str(file), *overwrite])
        run(commands)
        imported.write_text(digest)

    def _run_commands(self, commands: Sequence[Sequence[str]]) -> None:
        for command in commands:
            self.airflow(*command)

    def airflow(self, *arguments: str) -> None:
        """Run one Airflow command; show its log only if it fails."""
        log = self.directory / "airflow-command.log"
        with log.open("w") as output:
            done = subprocess.run(
                ["airflow", *arguments],
                env=os.environ | self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            sys.stderr.write(log.read_text())
            raise SystemExit(f"`airflow {' '.join(arguments)}` failed with exit code {done.returncode}.")

    @contextmanager
    def database(self, role: str | None = None) -> Iterator[psycopg.Connection]:
        """The skill report database, as its owner or acting as ``role``."""
        with psycopg.connect(self.admin_dsn(), autocommit=True) as connection:
            if role:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            yield connection


def _mark_of(connection: psycopg.Connection) -> str | None:
    (mark,) = connection.execute(
        """SELECT obj_description(to_regclass('public."MST_Tenant"'), 'pg_class')"""
    ).fetchone() or (None,)
    return None if mark is None else str(mark)
