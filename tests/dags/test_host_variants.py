"""All 14 batches through ``airflow dags test``, on the application's database before and after its multi-tenant migration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from include.skillreport.core.catalog import BATCHES
from include.skillreport.schema.host_contract import HostVariant
from local_stack.data_management import create_backup_login
from local_stack.generator import DataShape, load_demo_data
from local_stack.stack import postgres_programs
from local_stack.stand_ins import StandIns
from tests.airflow_installation import smtp_connection
from tests.conftest import Database, Server, copied_database
from tests.dags.dag_runs import DagRuns

RUN_DATE = "2026-11-01"
# One tenant, because the host holds only one before its migration; written as the application writes.
WORLD = DataShape(
    tenants=1,
    users_per_tenant=10,
    first_day=date(2026, 10, 29),
    days=3,
    requests_per_day=200,
    odd_tenants=False,
)


@contextmanager
def backup_login(database: Database, runs: DagRuns) -> Iterator[None]:
    """A login that may back up the database."""
    role = f"backup_{os.urandom(4).hex()}"
    with database.connect() as host:
        create_backup_login(host, {"login": role, "password": "test-backup"})
    address = f"{database.server.host}:{database.server.port}/{database.name}"
    runs.set_connection("skill_batch_backup_db", f"postgres://{role}:test-backup@{address}")
    try:
        yield
    finally:
        with database.connect() as host:
            host.execute(f"DROP OWNED BY {role} CASCADE")
            host.execute(f"DROP ROLE {role}")


def results(database: Database) -> dict[str, Any]:
    """Status and result of each batch, without what names the run."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT batch_id, status, error_message, result - 'executedAt' FROM batch.execution_log ORDER BY batch_id"
        ).fetchall()
    return {batch_id: rest for batch_id, *rest in rows}


@pytest.mark.long
@pytest.mark.exclusive
def test_all_batches_run_alike_on_both_variants(
    runs: DagRuns,
    slack: StandIns,
    server: Server,
    templates: dict[HostVariant, str],
    tmp_path: Path,
) -> None:
    runs.set_variable("skill_batch_allowed_hosts", ",".join(slack.allowed_hosts))
    runs.set_variable("skill_batch_postgres_bin", postgres_programs())
    runs.set_connection("skill_batch_smtp", smtp_connection(slack))
    (tmp_path / "logs").mkdir()
    runs.set_variable("skill_batch_log_roots", str(tmp_path / "logs"))
    states: dict[str, dict[str, str]] = {}
    found: dict[str, dict[str, Any]] = {}
    for variant in HostVariant:
        runs.set_variable("skill_batch_storage_url", f"file://{tmp_path}/{variant}")
        with copied_database(server, templates[variant], f"dags {variant}") as database:
            with database.connect() as host:
                load_demo_data(host, WORLD, variant)
            runs.connect(database, slack)
            with backup_login(database, runs):
                states[variant] = {
                    # A month has days that no run has closed.
                    spec.id: runs.test(
                        spec.dag_id,
                        RUN_DATE,
                        **({"allow_incomplete": True} if spec.id == "BATCH-018-02" else {}),
                    ).state
                    for spec in BATCHES
                }
            found[variant] = results(database)

    assert (
        states[HostVariant.BASE]
        == states[HostVariant.MULTI_TENANT]
        == dict.fromkeys((spec.id for spec in BATCHES), "success")
    )
    for batch_id, result in found[HostVariant.BASE].items():
        assert result == found[HostVariant.MULTI_TENANT][batch_id], batch_id
