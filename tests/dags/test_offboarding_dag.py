"""The DAG of a tenant that leaves, with the connections of an installation."""

from __future__ import annotations

from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest

from include.skillreport.core.operation_catalog import OFFBOARD_TENANT
from include.skillreport.schema.deploy import upgrade
from local_stack.stack import postgres_programs
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.worlds import host_rows
from tests.worlds.leaving_tenants import backup_login


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.own_database
def test_a_tenant_is_exported_by_airflows_own_form(runs: DagRuns, database: Database, tmp_path: Path) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", status="INACTIVE")
        host_rows.user(host, "T001", "u1")
    address = f"{database.server.host}:{database.server.port}/{database.name}"
    runs.set_variable("skill_batch_storage_url", f"file://{tmp_path}/store")
    runs.set_variable("skill_batch_postgres_bin", postgres_programs())
    with backup_login(database) as login:
        runs.set_connection("skill_batch_backup_db", f"postgres://{login}:test-backup@{address}")
        begin = {"operation": "begin", "tenants": ["T001"], "reason": "契約終了"}
        refused = runs.test(OFFBOARD_TENANT.dag_id, "2026-11-01", **begin)
        assert refused.state == "failed"
        upgrade(database.dsn, with_deletion=True)

        begun = runs.test(OFFBOARD_TENANT.dag_id, "2026-11-02", **begin)
        key = str(pyrage.x25519.Identity.generate().to_public())
        exported = runs.test(
            OFFBOARD_TENANT.dag_id, "2026-11-03", operation="export", tenants=["T001"], age_key=key
        )

    assert (begun.state, exported.state) == ("success", "success"), exported.log
    with database.connect() as host:
        assert host.execute("SELECT stage FROM batch.offboarding").fetchall() == [("exported",)]
    assert list((tmp_path / "store").rglob("customer.zip.age"))
