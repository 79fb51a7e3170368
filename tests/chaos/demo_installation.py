"""An installation of the demo for trials: two PostgreSQL servers, the stand-ins, folders, and the environment of Airflow's processes.

The application's database has a server of its own, so that it can be killed without Airflow's metadata. Nothing is on a fixed port.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from local_stack.airflow_settings import BACKUP_CONNECTION, load_airflow_settings
from local_stack.data_management import create_backup_login
from local_stack.ports import LARGEST_OFFSET, port_problem
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import PROJECT, SKILL_REPORT, LocalStack, prepare_stand_ins
from local_stack.stand_ins import StandIns
from tests.airflow_installation import environment_of

# The state of the demo before any batch, as a database and a folder.
FRESH = "fresh"


def _operators() -> frozenset[tuple[str, str]]:
    """The channels and addresses of alerts, also of those to a person who has triggered an operation."""
    connections = load_airflow_settings(PROJECT / "airflow_settings.yaml").connections
    slack, email = (
        connections[name]["extra"] for name in ("skill_batch_alert_slack", "skill_batch_alert_email")
    )
    addresses = {email["to_email"], *email["people"].values()}
    return frozenset({("slack", slack["channel"]), *(("email", address) for address in addresses)})


# All other messages are for tenants.
OPERATORS = _operators()


@dataclass(frozen=True)
class _Stack(LocalStack):
    """The demo's stack on ports of its own."""

    offset: int = 0

    @property
    def port_offset(self) -> int:
        return self.offset


def free_offset(folder: Path) -> int:
    """An offset with which nothing listens on any port of the stack."""
    while True:
        stack = _Stack(folder, 1 + secrets.randbelow(LARGEST_OFFSET))
        if not any(map(port_problem, asdict(stack.ports).values())):
            return stack.offset


@dataclass
class DemoInstallation:
    """The demo in ``folder``. ``states`` are the names of the saved states."""

    folder: Path
    stack: _Stack
    metadata: EmbeddedPostgres
    states: set[str] = field(default_factory=set)
    services: StandIns | None = None

    @property
    def database(self) -> EmbeddedPostgres:
        """The server of the application's database."""
        return self.stack.server

    @property
    def metadata_dsn(self) -> str:
        """Airflow's metadata database."""
        return self.metadata.admin_dsn("airflow")

    @property
    def temporary(self) -> Path:
        """Where the processes of Airflow put temporary files."""
        return self.folder / "temporary"

    @property
    def dsn(self) -> str:
        """The application's database as superuser."""
        return self.database.admin_dsn(SKILL_REPORT)

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of an ``airflow`` process: connections and Variables come from it."""
        settings = self.stack.settings
        host = str(self.metadata.socket_directory).replace("/", "%2F")
        metadata = f"postgresql+psycopg2://postgres@/airflow?host={host}&port={self.metadata.port}"
        return (
            environment_of(self.folder / "airflow", metadata)
            | {
                f"AIRFLOW_CONN_{name.upper()}": json.dumps(value)
                for name, value in settings.connections.items()
            }
            | {f"AIRFLOW_VAR_{name.upper()}": value for name, value in settings.variables.items()}
            | {"TMPDIR": str(self.temporary), "PYTHONWARNINGS": "ignore"}
            | variables
        )

    # States.

    def save(self, state: str) -> None:
        """Keep the database, the files and the mails of the mailbox under this name."""
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", f"state_{state}")
        self._copy(SKILL_REPORT, f"state_{state}")
        for source in (self.stack.storage, self.stack.application_logs):
            _copy_folder(source, self._saved(state) / source.name)
        mails = self.services.mailbox.mails if self.services else []
        self._mails(state).write_text(json.dumps([mail.content.decode("latin-1") for mail in mails]))
        self.states.add(state)

    @contextmanager
    def restored(self, state: str) -> Iterator[StandIns]:
        """The database, the files and the mailbox as saved, with new stand-ins, until the block ends."""
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", SKILL_REPORT)
        self._copy(f"state_{state}", SKILL_REPORT)
        with self.connect() as connection:
            # A copy of a database has no privileges of its own.
            create_backup_login(connection, self.stack.settings.connections[BACKUP_CONNECTION])
        for target in (self.stack.storage, self.stack.application_logs):
            _copy_folder(self._saved(state) / target.name, target)
        _copy_folder(None, self.temporary)
        with self._stand_ins() as services:
            for content in json.loads(self._mails(state).read_text()):
                services.mailbox.deliver(content.encode("latin-1"))
            self.services = services
            yield services
        self.services = None

    def connect(self) -> psycopg.Connection:
        """The application's database as superuser, in autocommit mode."""
        return psycopg.connect(self.dsn, autocommit=True)

    @contextmanager
    def _stand_ins(self) -> Iterator[StandIns]:
        ports = self.stack.ports
        with StandIns(ports.http, ports.smtp, imap_port=ports.imap) as services:
            with self.connect() as connection:
                prepare_stand_ins(services, connection)
            yield services

    def _saved(self, state: str) -> Path:
        return self.folder / "states" / state

    def _mails(self, state: str) -> Path:
        return self._saved(state) / "mails.json"

    def _copy(self, source: str, target: str) -> None:
        self._administer("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", target, source)

    def _administer(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.database.admin_dsn(), autocommit=True) as admin:
            admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def demo_installation(folder: Path) -> Iterator[DemoInstallation]:
    """Both servers and the state ``FRESH``, until the block ends."""
    stack = _Stack(folder, free_offset(folder))
    metadata = EmbeddedPostgres(folder / "metadata", durable=False)
    try:
        stack.start_database()
        metadata.start()
        with psycopg.connect(metadata.admin_dsn(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE airflow")
        stack.deploy()
        installation = DemoInstallation(folder, stack, metadata)
        installation.save(FRESH)
        yield installation
    finally:
        stack.server.reset()
        metadata.reset()


def _copy_folder(source: Path | None, target: Path) -> None:
    """Replace the target by a copy, with the files' times and links."""
    shutil.rmtree(target, ignore_errors=True)
    if source and source.exists():
        shutil.copytree(source, target, symlinks=True)
    else:
        target.mkdir(parents=True)
