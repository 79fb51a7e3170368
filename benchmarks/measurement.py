"""Measure a function in a separate process, run a batch as its DAG does, and copy databases."""

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
from typing import Any

import psycopg
from psycopg import sql

from include.skillreport.core.execution.batch import create_batch
from include.skillreport.core.execution.resource_usage import peak_memory_bytes
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import DEMO_SETTINGS, LocalStack

# With the sample price list and issuer no invoice is finalised. The measured processes inherit the variable.
os.environ.setdefault(SETTINGS_VARIABLE, str(DEMO_SETTINGS))

# The remarks about thousands of tenants would hide the figures.
logging.getLogger("include").setLevel(logging.ERROR)

# A function of a connection string and a date, which is the day or a day of the month to work on.
Work = Callable[[str, date], object]


@dataclass(frozen=True)
class Measurement:
    """The duration in seconds, and the peak memory in bytes of the process, or of the largest process that it has started.

    ``value`` is what the work has returned.
    """

    seconds: float
    peak_memory_bytes: int
    value: Any = None

    def __str__(self) -> str:
        return f"{self.seconds:>7.2f} s {self.peak_memory_bytes / 2**20:>5.0f} MB"


def measure(work: Work, dsn: str, day: date) -> Measurement:
    """Run the work in a separate process, so that the peak memory is that of the work."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(work, dsn, day, sender))
    process.start()
    # Otherwise a process that fails would leave this one waiting.
    sender.close()
    try:
        measurement: Measurement = receiver.recv()
    except EOFError:
        raise SystemExit(f"{work} failed") from None
    process.join()
    return measurement


def _measured(work: Work, dsn: str, day: date, sender: Connection) -> None:
    start = time.perf_counter()
    value = work(dsn, day)
    seconds = time.perf_counter() - start
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    sender.send(Measurement(seconds, max(peak_memory_bytes(), largest_child), value))


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


def run_once(spec: RunSpec, dsn: str, day: date, **options: Any) -> RunResult:
    """One run, as the DAG's tasks do it. ``options``: those of ``run_batch``. :raises AssertionError: it has failures."""
    with connected(dsn) as (platform, connection):
        result = run_batch(platform, connection, spec, create_batch(spec, LOCAL), day, **options)
    assert result.status == "completed", result.sentence()
    return result


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

    def copy(self, name: str, source: str) -> str:
        """Copy a database; returns the connection string of its owner."""
        with psycopg.connect(self._server.admin_dsn(), autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
            )
        return self._server.admin_dsn(name)
