"""The databases that a comparison restores into, and drops again with a login that is no superuser."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from include.skillreport.batches.data_backup.server import DatabaseServer
from local_stack import postgres_server
from local_stack.postgres_server import EmbeddedPostgres
from tests.waiting import wait_until

# Autovacuum looks each second, and then works until it is ended.
ENDLESS_AUTOVACUUM = {
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": "1",
}


def test_a_small_login_drops_its_database_while_autovacuum_works_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "NOT_DURABLE", postgres_server.NOT_DURABLE | ENDLESS_AUTOVACUUM)
    postgres = EmbeddedPostgres(tmp_path / "server", durable=False)
    postgres.start()
    try:
        with psycopg.connect(postgres.admin_dsn(), autocommit=True) as admin:
            admin.execute("CREATE ROLE small LOGIN CREATEDB PASSWORD 'small'")
            admin.execute("CREATE DATABASE scratch OWNER small")
            with psycopg.connect(postgres.admin_dsn("scratch")) as scratch:
                scratch.execute(
                    "CREATE TABLE restored AS SELECT repeat('x', 500) FROM generate_series(1, 20000)"
                )
            wait_until(
                lambda: (
                    admin.execute(
                        "SELECT FROM pg_stat_activity WHERE datname = 'scratch' AND backend_type = 'autovacuum worker'"
                    ).rowcount
                    > 0
                ),
                "autovacuum works in the database",
            )
            login = make_conninfo(
                host="127.0.0.1", port=postgres.port, user="small", password="small", dbname="postgres"
            )

            DatabaseServer(login).drop("scratch")

            assert admin.execute("SELECT FROM pg_database WHERE datname = 'scratch'").rowcount == 0
    finally:
        postgres.reset()
