"""One deployed database for all tests that change rows only, emptied after each: a copy per test takes longer than the test.

A folder's ``conftest.py`` imports the fixtures: with ``database``, only tests with ``pytest.mark.own_database`` have one of their own.

The tests of a database share its backends too. A new backend reads the descriptions of all tables before it plans its first statement,
which takes longer than most statements of the tests.
"""

from __future__ import annotations

import os
import select
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import pq, sql
from psycopg.pq.abc import PGconn
from typing_extensions import override

from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database, Server, administer, copy_template

# The idle backends of a process, by database. Another process cannot use them.
_idle: defaultdict[tuple[int, str], list[PGconn]] = defaultdict(list)

# Most tests have four connections at the same time at most.
_MOST_IDLE = 4


class LentConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose backend becomes idle when the test closes it, with nothing of the test left in it."""

    database: str

    @override
    def close(self) -> None:
        idle, backend = _idle[os.getpid(), self.database], self.pgconn
        if (
            len(idle) < _MOST_IDLE
            and backend.status == pq.ConnStatus.OK
            and backend.transaction_status == pq.TransactionStatus.IDLE
            and backend.pipeline_status == pq.PipelineStatus.OFF
            and backend.exec_(b"DISCARD ALL").status == pq.ExecStatus.COMMAND_OK
        ):
            idle.append(backend)
            # So this connection is closed for whoever still has it.
            self.pgconn = pq.PGconn.connect_start(b"host=/closed")
            self.pgconn.finish()
        super().close()


class SharedDatabase(Database):
    """A database whose connections use its idle backends."""

    @override
    def connect(self, role: str | None = None) -> psycopg.Connection:
        connection = self._lend() or LentConnection.connect(self.dsn, autocommit=True)
        connection.database = self.name
        if role:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        return connection

    def _lend(self) -> LentConnection | None:
        """A connection with an idle backend, or None."""
        idle = _idle[os.getpid(), self.name]
        while True:
            try:
                backend = idle.pop()
            except IndexError:
                # Or another thread has taken the last one.
                return None
            # A server says something to an idle client at its end, and when it reads its configuration again.
            if not select.select([backend.socket], [], [], 0)[0]:
                connection = LentConnection(backend)
                connection.autocommit = True
                return connection
            backend.finish()


@contextmanager
def shareable_copy(server: Server, template: str) -> Iterator[Database]:
    """A copy of the template for several tests, until the block ends."""
    name = f"shared_{os.urandom(4).hex()}"
    copy_template(server, name, template)
    yield SharedDatabase(name, server)
    for backend in _idle.pop((os.getpid(), name), ()):
        backend.finish()
    administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def shared_copy(server: Server, templates: dict[HostVariant, str]) -> Iterator[Database]:
    """The multi-tenant host with schema ``batch``, for all tests of a folder: each folder that imports the fixture has its own."""
    with shareable_copy(server, templates[HostVariant.MULTI_TENANT]) as copy:
        yield copy


_EMPTY_ALL_TABLES = """
DO $$
DECLARE
    filled regclass;
BEGIN
    -- Past triggers and foreign keys: neither finalised invoices nor the order of the tables matter here.
    SET LOCAL session_replication_role = replica;
    FOR filled IN
        SELECT oid FROM pg_class
        WHERE
            relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'batch'::regnamespace)
            AND relname NOT IN ('alembic_version', 'deployment', 'channel') AND pg_relation_size(oid) > 0
    LOOP
        EXECUTE format('DELETE FROM %s', filled);
    END LOOP;
END $$
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
        try:
            connection.execute(_EMPTY_ALL_TABLES)
        except psycopg.errors.LockNotAvailable:
            connection.execute(_END_OTHER_SESSIONS)
            connection.execute(_EMPTY_ALL_TABLES)


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
