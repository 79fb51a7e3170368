"""What the batches see of the host's rows, where that is not what the rows say at first sight."""

from __future__ import annotations

from datetime import datetime

import psycopg
import pytest

from tests import host_rows
from tests.conftest import Database


def assign(host: psycopg.Connection, employee_key: str) -> None:
    host_rows.insert(
        host,
        "MST_EmployeeJobType",
        id=f"assignment_{employee_key}",
        employee_id=employee_key,
        job_type_id="ENGINEER",
        assignment_status="ACTIVE",
        updated_at=datetime(2026, 10, 1),
    )


def assigned(database: Database) -> list[tuple[str, str]]:
    with database.connect("batch_platform") as platform:
        return platform.execute(
            "SELECT tenant_id, employee_key FROM batch.all_employee_job_type ORDER BY 1, 2"
        ).fetchall()


def test_a_job_is_that_of_the_employee_whose_id_or_only_code_it_names(database: Database) -> None:
    with database.connect() as host:
        for tenant_id, code in (("A", "000001"), ("A", "000002"), ("B", "000002"), ("B", "000003")):
            host_rows.insert(
                host,
                "MST_Employee",
                id=f"emp_{tenant_id}-{code}",
                employee_code=code,
                tenant_id=tenant_id,
                updated_at=datetime(2026, 10, 1),
            )
        for key in ("emp_A-000001", "000002", "000003"):
            assign(host, key)

    # 000002 could be anybody's.
    assert assigned(database) == [("A", "emp_A-000001"), ("B", "emp_B-000003")]


@pytest.mark.parametrize(("requested_by", "seen"), [("user_1", 1), (None, 1), ("BATCH-004", 0)])
def test_the_batches_own_reports_are_nobodys_use(
    database: Database, requested_by: str | None, seen: int
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "A")
        host_rows.report(host, "A", datetime(2026, 10, 1), requested_by=requested_by)
    with database.connect("batch_platform") as platform:
        assert platform.execute("SELECT count(*) FROM batch.all_report").fetchone() == (seen,)
