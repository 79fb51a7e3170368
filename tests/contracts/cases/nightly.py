"""Batches of the data: statistics, monthly reports and the clean-up of logs."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from include.skillreport.batches.log_cleanup.batch import ROOTS_VARIABLE
from include.skillreport.core.catalog import LOG_CLEANUP, MONTHLY_REPORT, STATISTICS
from local_stack.batch_runs import LocalInstallation
from tests.contracts.case import Case, Form, World, refusing
from tests.contracts.cases.tenants import NAMED, break_settings
from tests.worlds import host_rows, marked_rows, monthly_rows, statistics_rows
from tests.worlds.log_files import log_file
from tests.worlds.marked_rows import SUNDAY
from tests.worlds.own_settings import change_settings
from tests.worlds.statistics_rows import DAY, NOON, skill
from tests.worlds.statistics_rows import run as run_statistics


def people_with_skills(world: World) -> Form:
    """Six people each, which is enough for a group. After a first run, somebody got another skill."""
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        for number in range(6):
            person = host_rows.user(world.host, tenant_id, f"{tenant_id}{number}")
            skill(world.host, f"emp_{person}", "item", 3, "category", tenant_id)
        host_rows.request(world.host, f"{tenant_id}0", NOON)
    run_statistics(world.database)
    for tenant_id in "ABC":
        skill(world.host, f"emp_{tenant_id}0", "another", 3, "category", tenant_id)
        world.host.execute('UPDATE "MST_UserAuth" SET last_login_at = %s', [NOON])
    return NAMED


def month_of_statistics(world: World) -> Form:
    for tenant_id in "ABC":
        monthly_rows.tenant(world.host, tenant_id)
        monthly_rows.employee(world.host, tenant_id, "one")
        statistics_rows.days(world.host, tenant_id, monthly_rows.MONTH, monthly_rows.LAST_DAY)
    return NAMED


def old_logs_and_rows(world: World) -> Form:
    """Old files, an old request, and an old marked row of A and of B. Those of C are not old."""
    host = world.host
    for tenant_id, age in (("A", 400), ("B", 400), ("C", 1)):
        host_rows.tenant(host, tenant_id)
        person = host_rows.user(host, tenant_id, f"{tenant_id}1")
        at = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day) - timedelta(days=age)
        host_rows.request(host, person, at)
        marked_rows.planted(host, person, at)
        for name in ("app", "error"):
            log_file(world.folder / "logs", f"{name}/{tenant_id}.log", age)
        log_file(world.folder / "logs", f"app/{tenant_id}.log.1", min(age, 10))
    marked_rows.close_month(host, at.date().replace(month=9, day=1))
    return {}


def delete_marked_rows(environment: pytest.MonkeyPatch, folder: Path) -> None:
    """The installation deletes rows that the application has marked."""
    marked = {"enabled": True, "days": 90, "archive_days": 365}
    change_settings(environment, folder, "log_cleanup", marked_rows=marked)


def with_logs(world: World) -> LocalInstallation:
    """An installation that knows where the logs are."""
    return LocalInstallation(object_store=world.store, variables={ROOTS_VARIABLE: str(world.folder / "logs")})


CASES = (
    Case(
        STATISTICS,
        "",
        DAY,
        people_with_skills,
        frozenset({"batch.login_day", "batch.statistics_day", "batch.statistics_group"}),
        break_tenant=break_settings,
    ),
    Case(
        MONTHLY_REPORT,
        "",
        monthly_rows.MONTH,
        month_of_statistics,
        frozenset(
            {
                "batch.monthly_report",
                "batch.monthly_report_file",
                "batch.outbox",
                "public.HIS_ReportGeneration",
                "files",
            }
        ),
        break_tenant=refusing("batch.monthly_report_file"),
    ),
    Case(
        LOG_CLEANUP,
        "",
        SUNDAY,
        old_logs_and_rows,
        frozenset({"public.SYS_SystemLog", "public.TRN_SkillRecord", "batch.deleted_row_archive", "files"}),
        installation=with_logs,
        set_up=delete_marked_rows,
    ),
)
