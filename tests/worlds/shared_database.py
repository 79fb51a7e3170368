"""One deployed database for all tests that change rows only, emptied after each: a copy per test takes longer than the test.

A folder's ``conftest.py`` imports the fixtures: with ``database``, only tests with ``pytest.mark.own_database`` have one of their own.

The tests of a database share its backends too, with the statements that they have prepared. A new backend reads the descriptions of all
tables before it plans its first statement, which takes longer than most statements of the tests, and planning takes longer than running.
"""

from __future__ import annotations

import os
import select
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import pq, sql
from psycopg._preparing import PrepareManager
from psycopg.pq.abc import PGconn
from typing_extensions import override

from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database, Server, administer, copied_database, copy_template


class Idle(NamedTuple):
    """A backend that no test uses, and psycopg's list of the statements that it has prepared."""

    backend: PGconn
    prepared: PrepareManager


# The idle backends of a process, by database and role: a plan belongs to a role. Another process cannot use them.
_idle: defaultdict[tuple[int, str, str | None], list[Idle]] = defaultdict(list)

# Most tests have two connections of a role at the same time at most.
_MOST_IDLE = 2

# The tests of a folder run more statements than one process of the product. psycopg forgets all of them after a rollback, so it prepares
# a statement when it comes for the second time, and not for the sixth.
_MOST_PREPARED = 400
_PREPARED_AFTER = 1

# DISCARD ALL without DEALLOCATE ALL and DISCARD PLANS.
_DISCARD = b"""
    SET SESSION AUTHORIZATION DEFAULT;
    RESET ALL;
    CLOSE ALL;
    UNLISTEN *;
    SELECT pg_advisory_unlock_all();
    DISCARD TEMP;
    DISCARD SEQUENCES
"""


class LentConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose backend becomes idle when the test closes it, with nothing of the test left in it but prepared statements."""

    lent_for: tuple[int, str, str | None]

    @override
    def close(self) -> None:
        idle, backend = _idle[self.lent_for], self.pgconn
        if (
            len(idle) < _MOST_IDLE
            and self.lent_for[0] == os.getpid()
            and backend.status == pq.ConnStatus.OK
            and backend.transaction_status == pq.TransactionStatus.IDLE
            and backend.pipeline_status == pq.PipelineStatus.OFF
            and backend.exec_(_DISCARD).status == pq.ExecStatus.COMMAND_OK
        ):
            idle.append(Idle(backend, self._prepared))
            # So this connection is closed for whoever still has it.
            self.pgconn = pq.PGconn.connect_start(b"host=/closed")
            self.pgconn.finish()
        super().close()


class SharedDatabase(Database):
    """A database whose connections use its idle backends."""

    @override
    def connect(self, role: str | None = None) -> psycopg.Connection:
        lent_for = os.getpid(), self.name, role
        connection = _lend(_idle[lent_for]) or LentConnection.connect(self.dsn, autocommit=True)
        connection.lent_for = lent_for
        connection.prepared_max = _MOST_PREPARED
        connection.prepare_threshold = _PREPARED_AFTER
        if role:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        return connection


def _lend(idle: list[Idle]) -> LentConnection | None:
    """A connection with an idle backend, or None."""
    while True:
        try:
            backend, prepared = idle.pop()
        except IndexError:
            # Or another thread has taken the last one.
            return None
        # A server says something to an idle client at its end, and when it reads its configuration again.
        if not select.select([backend.socket], [], [], 0)[0]:
            connection = LentConnection(backend)
            connection._prepared = prepared
            connection.autocommit = True
            return connection
        backend.finish()


def end_idle_backends(database: Database) -> None:
    """End those of this process, for example because PostgreSQL copies no database that has connections."""
    for process, name, role in [*_idle]:
        if (process, name) == (os.getpid(), database.name):
            for backend, _ in _idle.pop((process, name, role)):
                backend.finish()


@contextmanager
def shareable_copy(server: Server, template: str) -> Iterator[Database]:
    """A copy of the template for several tests, until the block ends."""
    name = f"shared_{os.urandom(4).hex()}"
    copy_template(server, name, template)
    copy = SharedDatabase(name, server)
    yield copy
    end_idle_backends(copy)
    administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def lending_copy(database: Database, test: str) -> Iterator[Database]:
    """A copy of the database for one test, in which the test's connections use the same backends one after the other."""
    end_idle_backends(database)
    with copied_database(database.server, database.name, test) as copy:
        lending = SharedDatabase(copy.name, copy.server)
        try:
            yield lending
        finally:
            end_idle_backends(lending)


@pytest.fixture(scope="session")
def shared_copy(server: Server, templates: dict[HostVariant, str]) -> Iterator[Database]:
    """The multi-tenant host with schema ``batch``, for all tests of a folder: each folder that imports the fixture has its own."""
    with shareable_copy(server, templates[HostVariant.MULTI_TENANT]) as copy:
        yield copy


TABLES = """
    SELECT relnamespace::regnamespace::text, relname FROM pg_class
    WHERE
        relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'batch'::regnamespace)
        AND relname NOT IN ('alembic_version', 'deployment', 'channel')
"""


# A failed test leaves its frames, and with them perhaps an open transaction, until the end of the session.
_END_OTHER_SESSIONS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_LONGEST_WAIT = "10s"


def delete_rows(database: Database) -> None:
    """Empty all tables except those that describe the deployment. A session that holds a lock for long is ended, with all others."""
    with database.connect() as connection:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [_LONGEST_WAIT])
        # Past triggers and foreign keys: neither finalised invoices nor the order of the tables matter here.
        connection.execute("SET session_replication_role = replica")
        statement = _deletion(database, connection)
        try:
            connection.execute(statement, prepare=True)
        except psycopg.errors.LockNotAvailable:
            connection.execute(_END_OTHER_SESSIONS)
            connection.execute(statement)


# By database.
_deletions: dict[Database, bytes] = {}


def _deletion(database: Database, connection: psycopg.Connection) -> bytes:
    """One statement that empties all tables: a backend plans it once."""
    if database not in _deletions:
        tables = connection.execute(TABLES).fetchall()
        parts = [
            sql.SQL("{} AS (DELETE FROM {})").format(
                sql.Identifier(f"from_{name}"), sql.Identifier(schema, name)
            )
            for schema, name in tables
        ]
        _deletions[database] = (
            sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(parts)).as_bytes(connection)
        )
    return _deletions[database]


@pytest.fixture
def shared_database(shared_copy: Database) -> Iterator[Database]:
    """The shared database, empty. Not for tests that change a schema, a role or a privilege."""
    yield shared_copy
    delete_rows(shared_copy)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Database:
    """The shared database, or the test's own.

    ``pytest.mark.own_database`` marks a test that changes a schema, a role or a privilege. An exclusive test kills processes that have
    connections. Tests that change a view mend it.
    """
    is_own = any(map(request.node.get_closest_marker, ("own_database", "exclusive")))
    database: Database = request.getfixturevalue("own_database" if is_own else "shared_database")
    return database


@pytest.fixture
def host_database(shared_database: Database) -> Database:
    """The shared database, in folders whose ``database`` is a copy for each test."""
    return shared_database


@pytest.fixture
def connection(shared_database: Database) -> Iterator[psycopg.Connection]:
    """The tenants' steps' connection."""
    with shared_database.connect("batch_tenant") as connection:
        yield connection


@pytest.fixture
def platform(shared_database: Database) -> Iterator[psycopg.Connection]:
    """The cross-tenant steps' connection."""
    with shared_database.connect("batch_platform") as connection:
        yield connection
