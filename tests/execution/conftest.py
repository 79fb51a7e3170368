"""The execution frame's tests change rows only: they share one database."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import Database
from tests.shared_database import shared_copy, shared_database

__all__ = ["shared_copy", "shared_database"]


@pytest.fixture
def host(shared_database: Database) -> Iterator[psycopg.Connection]:
    """A superuser, to plant the host's rows and to read everything."""
    with shared_database.connect() as connection:
        yield connection


@pytest.fixture
def platform(shared_database: Database) -> Iterator[psycopg.Connection]:
    """The cross-tenant steps' connection."""
    with shared_database.connect("batch_platform") as connection:
        yield connection
