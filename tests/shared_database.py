"""One deployed database for all tests that change rows only, emptied after each: a copy per test takes longer than the test.

A folder's ``conftest.py`` imports the fixtures: with ``database``, no test of the folder has a database of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database, Server, administer, copy_template


@pytest.fixture(scope="session")
def shared_copy(server: Server, templates: dict[HostVariant, str]) -> Iterator[Database]:
    """The multi-tenant host with schema ``batch``, for all tests of a folder."""
    name = f"shared_{os.urandom(4).hex()}"  # each folder that imports the fixture has its own
    copy_template(server, name, templates[HostVariant.MULTI_TENANT])
    yield Database(name, server)
    if name in _emptying:
        _emptying.pop(name).close()
    administer(server, "DROP DATABASE {} WITH (FORCE)", name)


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
            AND relname NOT IN ('alembic_version', 'deployment', 'channel')
    LOOP
        EXECUTE format('DELETE FROM %s', filled);
    END LOOP;
END $$
"""

# By database. A new connection reads the descriptions of all tables first, and that takes nine tenths of the time.
_emptying: dict[str, psycopg.Connection] = {}


def delete_rows(database: Database) -> None:
    """Empty all tables except those that describe the deployment."""
    if database.name in _emptying:
        # A test may have ended the connection, or the server.
        with suppress(psycopg.OperationalError):
            _emptying[database.name].execute(_EMPTY_ALL_TABLES)
            return
        _emptying.pop(database.name).close()
    _emptying[database.name] = database.connect()
    _emptying[database.name].execute(_EMPTY_ALL_TABLES)


@pytest.fixture
def shared_database(shared_copy: Database) -> Iterator[Database]:
    """The shared database, empty. Not for tests that change a schema, a role or a privilege."""
    yield shared_copy
    delete_rows(shared_copy)


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Tests that change a view mend it."""
    return shared_database


@pytest.fixture
def host_database(shared_database: Database) -> Database:
    """Of folders in which ``database`` is a separate one."""
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
