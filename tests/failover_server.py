"""PostgreSQL servers that become standbys, and are promoted by ``pg_ctl promote``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from local_stack import postgres_server
from local_stack.postgres_server import EmbeddedPostgres, unprivileged
from tests.waiting import wait_until


@contextmanager
def replicating_server(
    folder: Path, environment: pytest.MonkeyPatch, *, durable: bool = False
) -> Iterator[EmbeddedPostgres]:
    """A server that writes the log that a standby needs. ``durable``: it loses no commit if it is killed."""
    environment.setitem(postgres_server.TUNING, "wal_level", "replica")
    environment.setitem(postgres_server.TUNING, "max_wal_senders", "4")
    replication = "local  replication  all  trust\n"
    environment.setattr(
        postgres_server, "CLIENT_AUTHENTICATION", postgres_server.CLIENT_AUTHENTICATION + replication
    )
    postgres = EmbeddedPostgres(folder, durable=durable)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.reset()


@contextmanager
def standby_of(primary: EmbeddedPostgres, folder: Path) -> Iterator[EmbeddedPostgres]:
    """A standby that follows the primary."""
    folder.mkdir()
    program = str(EmbeddedPostgres.binary("pg_basebackup"))
    command = [
        program,
        f"--dbname={primary.admin_dsn()}",
        f"--pgdata={folder / 'data'}",
        "--write-recovery-conf",
    ]
    subprocess.run(unprivileged([*command, "--checkpoint=fast"]), cwd=folder, check=True)
    standby = EmbeddedPostgres(folder, durable=False)
    standby.start()
    try:
        yield standby
    finally:
        standby.reset()


def wait_for_replay(primary: EmbeddedPostgres) -> None:
    """Wait until the standby has all that the primary has written."""
    with psycopg.connect(primary.admin_dsn(), autocommit=True) as admin:
        behind = "SELECT FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
        wait_until(lambda: admin.execute(behind).rowcount == 1, "the standby has replayed the log")


def demote(postgres: EmbeddedPostgres) -> None:
    """Restart the server as a standby, which cannot write."""
    postgres.stop()
    (postgres.directory / "data" / "standby.signal").touch()
    postgres.start()


def promote(postgres: EmbeddedPostgres) -> None:
    """Let the standby write."""
    command = [str(EmbeddedPostgres.binary("pg_ctl")), "promote", "--wait", "--pgdata=data"]
    subprocess.run(unprivileged(command), cwd=postgres.directory, check=True, stdout=subprocess.DEVNULL)
