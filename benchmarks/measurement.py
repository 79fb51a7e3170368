"""Measure a function in a separate process, and create databases for it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.core.execution.resource_usage import peak_memory_bytes
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.generator import DataShape, load_demo_data
from local_stack.host_fixture import create_host_schema
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import DEMO_SETTINGS, LocalStack

# With the sample price list and issuer no invoice is finalised. The measured processes inherit the variable.
os.environ[SETTINGS_VARIABLE] = str(DEMO_SETTINGS)

# The remarks about thousands of tenants would hide the figures.
logging.getLogger("include").setLevel(logging.ERROR)

# A function of a connection string and a date, which is the day or a day of the month to work on.
Work = Callable[[str, date], None]


@dataclass(frozen=True)
class Measurement:
    """The duration in seconds, and the peak memory in bytes of the process, or of the largest process that it has started."""

    seconds: float
    peak_memory_bytes: int


def measure(work: Work, dsn: str, day: date) -> Measurement:
    """Run the work in a separate process, so that the peak memory is that of the work."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(work, dsn, day, sender))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work} failed")
    measurement: Measurement = receiver.recv()
    return measurement


def _measured(work: Work, dsn: str, day: date, sender: Connection) -> None:
    start = time.perf_counter()
    work(dsn, day)
    seconds = time.perf_counter() - start
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    sender.send(Measurement(seconds, max(peak_memory_bytes(), largest_child)))


@contextmanager
def connected(dsn: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """The connections of a batch: as ``batch_platform`` and as ``batch_tenant``."""
    with (
        psycopg.connect(dsn, autocommit=True) as platform,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        platform.execute("SET ROLE batch_platform")
        connection.execute("SET ROLE batch_tenant")
        yield platform, connection


@contextmanager
def own_stack(prefix: str) -> Iterator[LocalStack]:
    """A local stack with a running server and empty databases, which is deleted afterwards. It uses the ports of the local stack."""
    with tempfile.TemporaryDirectory(prefix=prefix) as directory:
        stack = LocalStack(Path(directory))
        stack.start_database()
        try:
            yield stack
        finally:
            stack.server.reset()


class Databases:
    """The databases of the benchmark's server."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def load(self, name: str, shape: DataShape) -> str:
        """Create a host with these data and schema ``batch``; returns the connection string of its owner."""
        with psycopg.connect(self._server.admin_dsn(), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        dsn = self._server.admin_dsn(name)
        with psycopg.connect(dsn) as connection:
            create_host_schema(connection, HostVariant.MULTI_TENANT)
            load_demo_data(connection, shape)
        upgrade(dsn)
        vacuum(dsn)
        return dsn

    def copy(self, name: str, source: str) -> str:
        """Copy a database; returns the connection string of its owner."""
        with psycopg.connect(self._server.admin_dsn(), autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
            )
        return self._server.admin_dsn(name)


def vacuum(dsn: str) -> None:
    """Collect the planner's statistics, as autovacuum does in production."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
