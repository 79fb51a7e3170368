"""Databases with only the host's tables, as before a first deployment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from include.skillreport.schema.host_contract import HostVariant
from local_stack.host_fixture import create_host_schema
from tests.conftest import Database, Server, copy_template
from tests.worlds.shared_database import shared_copy, shared_database

__all__ = ["MakeHost", "as_deployer", "create_deployer", "shared_copy", "shared_database"]

MakeHost = Callable[[HostVariant], Database]


@pytest.fixture(scope="session")
def host_templates(server: Server) -> Iterator[dict[HostVariant, str]]:
    """An empty host in both variants, without schema ``batch``, to copy databases from."""
    names = {variant: f"host_template_{variant}_{os.getpid()}" for variant in HostVariant}
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        for variant, name in names.items():
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            with psycopg.connect(server.dsn(name)) as connection:
                create_host_schema(connection, variant)
        yield names
        for name in names.values():
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def make_host(server: Server, host_templates: dict[HostVariant, str]) -> Iterator[MakeHost]:
    """Creates a host of a variant, in a separate database, without schema ``batch``."""
    names: list[str] = []
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:

        def make(variant: HostVariant) -> Database:
            name = f"host_{os.urandom(6).hex()}"
            copy_template(server, name, host_templates[variant])
            names.append(name)
            return Database(name, server)

        yield make
        for name in names:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def host(make_host: MakeHost) -> Database:
    """The multi-tenant host without schema ``batch``."""
    return make_host(HostVariant.MULTI_TENANT)


@pytest.fixture
def deployed(server: Server, templates: dict[HostVariant, str]) -> Iterator[psycopg.Connection]:
    """A superuser's read-only connection to a multi-tenant host with schema ``batch``, for tests that only read its catalogue."""
    with psycopg.connect(server.dsn(templates[HostVariant.MULTI_TENANT]), autocommit=True) as connection:
        connection.read_only = True
        yield connection


@pytest.fixture
def deployer(server: Server) -> Iterator[str]:
    """A role that is no superuser, may create roles, and owns a database of the same name, with the host's tables in it."""
    name = f"deployer_{os.urandom(4).hex()}"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        create_deployer(admin, name)
        try:
            with psycopg.connect(as_deployer(server.dsn(name), name)) as connection:
                create_host_schema(connection, HostVariant.MULTI_TENANT)
            yield name
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def create_deployer(admin: psycopg.Connection, name: str) -> None:
    """Create the role, and a database of the same name."""
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD 'deployer'").format(sql.Identifier(name)))
    admin.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))


def as_deployer(dsn: str, name: str) -> str:
    """The connection string, for the deployer."""
    return make_conninfo(dsn, user=name, password="deployer")
