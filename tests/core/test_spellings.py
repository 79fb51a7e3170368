"""Whatever key and tenant each single row is written with, the people's actions count for their own tenant."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.skillreport.batches import statistics, tenant_usage
from include.skillreport.core.catalog import (
    STATISTICS,
    TENANT_USAGE,
)
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds import host_rows

DAY = date(2026, 10, 31)
MORNING = datetime(2026, 10, 31, 0, 0)  # UTC
TENANTS = ("A", "B", "default-tenant")
PEOPLE = [(tenant_id, number) for tenant_id in TENANTS for number in range(2)]
STAMPS = ("default", "tenant_001", *TENANTS)


@dataclass(frozen=True)
class Action:
    """A row by one of the PEOPLE, as it is written."""

    person: int
    kind: str
    spelling: str
    stamp: str

    @property
    def tenant_id(self) -> str:
        return PEOPLE[self.person][0]

    @property
    def key(self) -> str:
        code = f"{self.person + 10:06}"
        return {
            "code": code,
            "user_id": f"USER{code}",
            "employee_id": f"emp {code}",
            "email": f"{code}@example.jp",
        }[self.spelling]


actions = st.lists(
    st.builds(
        Action,
        person=st.integers(0, len(PEOPLE) - 1),
        kind=st.sampled_from(("request", "audit", "goal", "certificate", "report")),
        spelling=st.sampled_from(("code", "user_id", "employee_id", "email")),
        stamp=st.sampled_from(STAMPS),
    ),
    max_size=12,
)


def plant_people(host: psycopg.Connection) -> None:
    for tenant_id in TENANTS:
        host_rows.tenant(host, tenant_id)
    for person, (tenant_id, _) in enumerate(PEOPLE):
        code = f"{person + 10:06}"
        host_rows.insert(
            host,
            "MST_Employee",
            id=f"emp {code}",
            employee_code=code,
            email=f"{code}@example.jp",
            tenant_id=tenant_id,
            updated_at=MORNING,
        )
        # Every other account names the employee by code, as the application does; none states its tenant.
        host_rows.insert(
            host,
            "MST_UserAuth",
            user_id=f"USER{code}",
            login_id=code,
            employee_id=code if person % 2 else f"emp {code}",
            created_at=datetime(2026, 4, 1),
            updated_at=MORNING,
        )


def plant(host: psycopg.Connection, number: int, action: Action) -> None:
    at = MORNING + timedelta(minutes=number)
    row = {
        "id": f"row {number}",
        "employee_id": action.key,
        "tenant_id": action.stamp,
        "created_by": action.key,
        "updated_by": action.key,
        "created_at": at,
        "updated_at": at,
    }
    match action.kind:
        case "request":
            host_rows.request(host, action.key, at)
        case "audit":
            host_rows.audit(host, action.key, at, tenant_id=action.stamp)
        case "goal":
            host_rows.insert(host, "TRN_GoalProgress", achievement_status="in_progress", **row)
        case "certificate":
            host_rows.insert(host, "TRN_PDU", activity_type="certification", activity_name="C", **row)
        case "report":
            host_rows.report(host, action.stamp, at, requested_by=action.key, file_size=1)


def counted(database: Database, host: psycopg.Connection) -> dict[str, tuple[int, ...]]:
    """Active users, calls, reports, goals and certificates of each tenant."""
    with database.working() as (platform, connection):
        for spec, batch in (
            (TENANT_USAGE, tenant_usage.create_batch(LOCAL)),
            (STATISTICS, statistics.create_batch(LOCAL)),
        ):
            assert run_batch(platform, connection, spec, batch, DAY).status == "completed"
    rows = host.execute(
        """
        SELECT tenant_id, active_users, coalesce(usage.api_calls, 0), coalesce(usage.reports_generated, 0),
            goals_in_progress, certificates_held
        FROM batch.usage_day AS usage
        INNER JOIN batch.statistics_day USING (tenant_id)
        """
    )
    return {tenant_id: tuple(figures) for tenant_id, *figures in rows}


def expected(rows: list[Action]) -> dict[str, tuple[int, ...]]:
    """The same, from who did what."""
    by_tenant: defaultdict[str, list[Action]] = defaultdict(list)
    for action in rows:
        by_tenant[action.tenant_id].append(action)
    return {
        tenant_id: (
            len({action.person for action in by_tenant[tenant_id] if action.kind != "report"}),
            *(
                sum(action.kind == kind for action in by_tenant[tenant_id])
                for kind in ("request", "report", "goal", "certificate")
            ),
        )
        for tenant_id in TENANTS
    }


@pytest.mark.slow("needs many rows")
def test_no_figure_depends_on_how_a_row_is_written(database: Database) -> None:
    with database.connect() as host:
        plant_people(host)

        @settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
        @given(actions)
        def check(rows: list[Action]) -> None:
            host.execute(
                """
                TRUNCATE "SYS_SystemLog", "HIS_AuditLog", "TRN_GoalProgress", "TRN_PDU", "HIS_ReportGeneration",
                    batch.usage_day, batch.statistics_day, batch.login_day
                """
            )
            for number, action in enumerate(rows):
                plant(host, number, action)
            assert counted(database, host) == expected(rows)

        check()
