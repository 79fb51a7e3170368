"""Real PostgreSQL for every test that needs a database: one server for the session, a fresh copy of a template per test."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pytest
from hypothesis import settings as property_settings
from psycopg import sql

from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.deploy import BOARD, CLEANUP, PLATFORM, TENANT, upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.cluster_roles import BATCH_ROLES, claim_roles
from local_stack.host_fixture import create_host_schema
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import DEMO_SETTINGS, EXTERNAL_DATABASE, PROJECT
from tests.api_app import api_app, dag_bag, loop, stored_dags
from tests.s3_server import S3Server, s3_server
from tests.selection import in_order, mark
from tests.waiting import LIMIT_SECONDS
from tests.worlds import host_rows

__all__ = ["api_app", "dag_bag", "loop", "stored_dags"]

# Set before the first import of airflow, which creates its home in this folder (the default is the user's home directory).
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-tests-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__LOGGING__SECRET_MASK_ADAPTER"] = "skill_batch.masking.parts"
for _folder in ("dags", "plugins"):
    os.environ[f"AIRFLOW__CORE__{_folder.upper()}_FOLDER"] = str(PROJECT / _folder)

# The tests' prices and issuer are the demo's; the shipped ones are samples, with which no invoice is finalised.
os.environ[SETTINGS_VARIABLE] = str(DEMO_SETTINGS)

# Each run draws other examples. The long tests draw thousands. CI draws with `--hypothesis-profile thorough`.
# Without a deadline, because a busy machine is no fault of the code.
property_settings.register_profile("quick", max_examples=15, deadline=None)
property_settings.register_profile("thorough", max_examples=50, deadline=None)
property_settings.load_profile("quick")

# A shell starts commands in the background with interrupts ignored, and so would the processes of the tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A file system in memory, used if it has this much room.
_MEMORY, _MEMORY_BYTES = Path("/dev/shm"), 8 * 2**30  # noqa: S108  # the folder in it is the process's own
_MEMORY_PREFIX = "skill-report-tests-"


# That of batch_cleanup counts only with deletion.
PASSWORDS = {
    TENANT: "test-batch-tenant",
    PLATFORM: "test-batch-platform",
    BOARD: "test-batch-board",
    CLEANUP: "test-batch-cleanup",
}


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server of this test session."""

    admin_url: str
    host: str
    port: int
    # None of an external server.
    postgres: EmbeddedPostgres | None = field(default=None, compare=False)

    def dsn(self, dbname: str) -> str:
        """The database as superuser."""
        if self.admin_url.startswith(("postgresql://", "postgres://")):
            return urlunsplit(urlsplit(self.admin_url)._replace(path=f"/{dbname}"))
        return psycopg.conninfo.make_conninfo(self.admin_url, dbname=dbname)


@dataclass(frozen=True)
class Database:
    """The database of one test, with the host schema and schema ``batch`` deployed."""

    name: str
    server: Server

    @property
    def dsn(self) -> str:
        """As superuser."""
        return self.server.dsn(self.name)

    def connect(self, role: str | None = None) -> psycopg.Connection:
        """In autocommit mode, as superuser or acting as ``role``."""
        connection = psycopg.connect(self.dsn, autocommit=True)
        if role:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        return connection

    @contextmanager
    def working(self) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
        """The connections of a run: as ``batch_platform``, and as ``batch_tenant``."""
        with self.connect("batch_platform") as platform, self.connect("batch_tenant") as tenants:
            yield platform, tenants

    def airflow_connection(self, role: str) -> str:
        """The value of AIRFLOW_CONN_... for this role."""
        return f"postgres://{role}:{PASSWORDS[role]}@{self.server.host}:{self.server.port}/{self.name}?connect_timeout=10"


def administer(server: Server, statement: LiteralString, *names: str) -> None:
    """Run one statement as superuser, with these names in it. It uses a new connection, because a test may have killed the server since."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def copy_template(server: Server, name: str, template: str) -> None:
    """A new database like the template. Our own server copies its files: it does not wait for the disk, and the log costs more."""
    if server.postgres:
        administer(server, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
    else:
        administer(server, "CREATE DATABASE {} TEMPLATE {}", name, template)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage only among what the tests leave: nothing that is imported and collected before them becomes garbage.

    An import of Airflow adds a handler to the root logger. pytest does not capture while it imports the conftest of a folder, so this
    handler has the real standard output and would write into what ``capfd`` reads. It is removed.
    """
    root = logging.getLogger()
    before = list(root.handlers)
    gc.disable()
    try:
        return (yield)
    finally:
        for handler in [each for each in root.handlers if each not in before]:
            root.removeHandler(handler)
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark all tests, and order those that the command runs."""
    mark(items)
    yield
    items[:] = in_order(items)


@pytest.fixture(autouse=True)
def one_exclusive_test_at_a_time(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Workers that have an exclusive test wait for each other; all others go on."""
    if request.node.get_closest_marker("exclusive") is None:
        yield
        return
    # The workers' folders lie side by side.
    root = (
        tmp_path_factory.getbasetemp().parent
        if "PYTEST_XDIST_WORKER" in os.environ
        else tmp_path_factory.getbasetemp()
    )
    with (root / "exclusive.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded server for the session, or the external one of SKILL_BATCH_DATABASE_URL."""
    external = os.environ.get(EXTERNAL_DATABASE)
    if external:
        url = urlsplit(external)
        with psycopg.connect(external, autocommit=True) as admin:
            claim_roles(admin, BATCH_ROLES, "the tests")
        yield Server(external, url.hostname or "127.0.0.1", url.port or 5432)
        return
    with _server_folder(tmp_path_factory) as folder:
        postgres = EmbeddedPostgres(folder / "server", durable=False)
        postgres.start()
        try:
            started = Server(postgres.admin_dsn(), "127.0.0.1", postgres.port, postgres)
            # The tests log in thousands of times, and each login repeats all iterations of the password.
            administer(started, "ALTER ROLE ALL SET scram_iterations = 1")
            yield started
        finally:
            postgres.reset()


@contextmanager
def _server_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, where there is room: a copy of a template has 800 files, and thousands of tests make one each."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES:
        yield tmp_path_factory.mktemp("postgres")
        return
    for left in _MEMORY.glob(f"{_MEMORY_PREFIX}*"):
        # Of a session that was killed.
        if not psutil.pid_exists(int(left.name.removeprefix(_MEMORY_PREFIX))):
            shutil.rmtree(left, ignore_errors=True)
    folder = _MEMORY / f"{_MEMORY_PREFIX}{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o755)  # root starts the server as another user
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def templates(server: Server) -> Iterator[dict[HostVariant, str]]:
    """An empty host in both variants, with schema ``batch`` deployed, to copy databases from."""
    names = {variant: f"template_{variant}_{os.getpid()}" for variant in HostVariant}
    for variant, name in names.items():
        administer(server, "CREATE DATABASE {}", name)
        with psycopg.connect(server.dsn(name)) as connection:
            create_host_schema(connection, variant)
        upgrade(server.dsn(name), passwords=PASSWORDS)
    yield names
    for name in names.values():
        administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def deletable_templates(
    server: Server, templates: dict[HostVariant, str]
) -> Iterator[dict[HostVariant, Database]]:
    """The same, deployed with deletion. A test may also read their catalogue."""
    with ExitStack() as stack:
        found = {}
        for variant in HostVariant:
            copy = stack.enter_context(copied_database(server, templates[variant], f"deletable {variant}"))
            upgrade(copy.dsn, passwords=PASSWORDS, with_deletion=True)
            found[variant] = copy
        yield found


@pytest.fixture
def own_database(
    server: Server, templates: dict[HostVariant, str], request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A separate database for the test: the multi-tenant host, empty, with schema ``batch``."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], request.node.name) as copy:
        yield copy


@pytest.fixture
def database(own_database: Database) -> Database:
    """The database of the test. In a folder whose tests share one (``tests.worlds.shared_database``), it is that one."""
    return own_database


@pytest.fixture
def host_database(database: Database) -> Database:
    """The database of ``host``. A folder whose tests share a database replaces it."""
    return database


@pytest.fixture
def host(host_database: Database, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A superuser, to plant rows with and to read results from.

    ``pytest.mark.tenants("A", "B", tenant_code="CODE-{}")`` inserts these tenants first; the braces stand for the tenant's id.
    """
    with host_database.connect() as connection:
        for mark in request.node.iter_markers("tenants"):
            for tenant_id in mark.args:
                columns = {name: value.format(tenant_id) for name, value in mark.kwargs.items()}
                host_rows.tenant(connection, tenant_id, **columns)
        yield connection


@pytest.fixture
def base_database(
    server: Server, templates: dict[HostVariant, str], request: pytest.FixtureRequest
) -> Iterator[Database]:
    """The same before the host's multi-tenant migration."""
    with copied_database(server, templates[HostVariant.BASE], request.node.name) as copy:
        yield copy


@contextmanager
def metadata_database(server: Server) -> Iterator[str]:
    """An empty database for Airflow's own metadata; its SQLAlchemy URL."""
    name = role = f"airflow_{os.urandom(4).hex()}"
    password = "test-airflow"
    administer(server, f"CREATE ROLE {{}} LOGIN PASSWORD '{password}'", role)
    administer(server, "CREATE DATABASE {} OWNER {}", name, role)
    yield f"postgresql+psycopg2://{role}:{password}@{server.host}:{server.port}/{name}"
    administer(server, "DROP DATABASE {} WITH (FORCE)", name)
    administer(server, "DROP ROLE {}", role)


@pytest.fixture(scope="session")
def airflow_metadata(server: Server) -> Iterator[str]:
    """Airflow's metadata of all tests of the session, with the runs of earlier ones; its SQLAlchemy URL."""
    with metadata_database(server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_metadata(airflow_metadata: str) -> Iterator[str]:
    """The metadata database with Airflow's tables, and this process's Airflow on it; its SQLAlchemy URL."""
    from airflow import settings
    from airflow.utils.db import initdb

    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = airflow_metadata
    settings.dispose_orm()
    settings.configure_vars()  # type: ignore[no-untyped-call]
    settings.configure_orm()  # type: ignore[no-untyped-call]
    initdb()
    yield airflow_metadata
    settings.dispose_orm()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """An empty folder for files."""
    return ObjectStore(tmp_path / "store")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hooks do not wait for a database that cannot be reached."""
    monkeypatch.setattr("skill_batch.hooks.tenant_db._FAILOVER_SECONDS", 0)


@pytest.fixture
def unused_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_blocked_statement(database: Database, count: int = 1) -> None:
    """Wait until this many backends of this database wait for a lock."""
    deadline = time.monotonic() + LIMIT_SECONDS
    with database.connect() as connection:
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if row and row[0] >= count:
                return
            time.sleep(0.1)
    raise AssertionError(f"no statement came to wait for the lock within {LIMIT_SECONDS} s")


@contextmanager
def copied_database(server: Server, template: str, test: str) -> Iterator[Database]:
    """A copy of the template, named after the test, until the block ends."""
    name = f"{re.sub('[^a-z0-9]+', '_', test.lower())[:40]}_{os.urandom(4).hex()}"
    copy_template(server, name, template)
    try:
        yield Database(name, server)
    finally:
        administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def s3() -> Iterator[S3Server]:
    """An S3 server with an empty bucket."""
    with s3_server() as running:
        yield running
