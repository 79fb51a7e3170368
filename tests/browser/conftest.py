"""A whole Airflow with the FAB auth manager below a path prefix, its users, and Debian's Chromium.

Artefacts (screenshots) go to the folder of the environment variable BROWSER_ARTEFACTS, by default ``.local/browser``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.deploy import BOARD, CLEANUP
from local_stack.stack import PROJECT, postgres_programs
from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation
from tests.browser.chromium import CHROMIUM, chromium
from tests.conftest import Database
from tests.dags.running_airflow import Api, forget_runs, running_airflow, unpause_all
from tests.fab_installation import PASSWORD, commands_of, fab_installation
from tests.needs import need
from tests.worlds import host_rows
from tests.worlds.leaving_tenants import backup_login
from tests.worlds.own_settings import change_billing
from tests.worlds.zengin_files import OWN_ACCOUNT

PREFIX = "/airflow"
# The longest a followed run takes, also beside other work.
RUN_MS = 900_000
# The users and their roles. The roles in addition to Airflow's own are those of docs/install/rights.md.
USERS = {
    "administrator": ("Admin",),
    "operator": ("Viewer", "BatchOperator"),
    "accountant": ("Viewer", "BatchAccountant"),
    "controller": ("Viewer", "BatchAccountant"),
    "reader": ("Viewer", "BatchBoard"),
    "leaver": ("Viewer", "BatchOffboarding"),
}

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Site:
    """The running Airflow and its address with the path prefix."""

    api: Api
    browser: Browser
    artefacts: Path
    services: StandIns
    storage: Path

    @property
    def url(self) -> str:
        return self.api.url

    @contextmanager
    def signed_in(
        self,
        user: str,
        *,
        theme: Theme = "light",
        locale: str = "ja-JP",
        width: int = 1400,
        height: int = 900,
    ) -> Iterator[Page]:
        """A page of a separate browser in which the user has logged in with Airflow's form."""
        context: BrowserContext = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            locale=locale,
            timezone_id="Asia/Tokyo",
        )
        page = context.new_page()
        problems: list[str] = []
        # Airflow's own pages raise errors of their own.
        page.on(
            "pageerror",
            lambda error: problems.append(str(error)) if "skill-batch-board" in (error.stack or "") else None,
        )
        page.on(
            "console",
            lambda message: problems.append(message.text) if "Content Security" in message.text else None,
        )
        page.goto(f"{self.url}/auth/login/")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", PASSWORD)
        page.click("[type=submit]")
        page.wait_for_url(re.compile(rf"{PREFIX}/(?!auth)"))
        yield page
        context.close()
        assert problems == []

    def picture(self, page: Page, name: str, *, full: bool = True) -> None:
        """Keep a screenshot as an artefact."""
        page.screenshot(path=self.artefacts / f"{name}.png", full_page=full)


@pytest.fixture(scope="session")
def artefacts() -> Path:
    folder = Path(os.environ.get("BROWSER_ARTEFACTS") or PROJECT / ".local" / "browser")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def browser() -> Iterator[Browser]:
    need(CHROMIUM, "make test-browser: install Debian's package chromium")
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def fab_airflow(airflow_metadata: str, tmp_path_factory: pytest.TempPathFactory) -> AirflowInstallation:
    """Airflow's commands with FAB, and the users."""
    roles = commands_of(PROJECT / "docs" / "install" / "rights.md", "bash")
    return fab_installation(tmp_path_factory.mktemp("airflow-fab"), airflow_metadata, roles, USERS)


@pytest.fixture
def scheduled() -> bool:
    """Whether the scheduler starts the runs of the schedule. A test that needs them has it as a parameter."""
    return False


@pytest.fixture
def own_billing() -> dict[str, Any]:
    """Settings of billing that a test changes. A test that needs them has them as a parameter."""
    return {}


@pytest.fixture
def site(
    fab_airflow: AirflowInstallation,
    airflow_metadata: str,
    scheduled: bool,
    own_billing: dict[str, Any],
    database: Database,
    browser: Browser,
    artefacts: Path,
    unused_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """Airflow with scheduler, triggerer, DAG processor and API server on the test's database. Payments are recorded by operations."""
    change_billing(
        monkeypatch, tmp_path, payment_source="operations", own_accounts=[OWN_ACCOUNT], **own_billing
    )
    # A run of the test before would go on in this test's database, fail, and appear on the board.
    forget_runs(airflow_metadata)
    if not scheduled:
        unpause_all(airflow_metadata)
    variables = {
        SETTINGS_VARIABLE: os.environ[SETTINGS_VARIABLE],
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{unused_port}{PREFIX}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{unused_port}{PREFIX}/execution/",
        "AIRFLOW_CONN_SKILL_BATCH_BOARD_DB": database.airflow_connection(BOARD),
        "AIRFLOW_CONN_SKILL_BATCH_CLEANUP_DB": database.airflow_connection(CLEANUP),
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(scheduled),
    }
    with (
        StandIns() as services,
        running_airflow(
            fab_airflow,
            database,
            services,
            tmp_path,
            unused_port,
            variables,
            login=("administrator", PASSWORD),
            prefix=PREFIX,
        ) as api,
    ):
        yield Site(api, browser, artefacts, services, tmp_path / "storage")


@pytest.fixture
def backup_connection(site: Site, database: Database) -> Iterator[None]:
    """The connection for backups and exports, and the programs of PostgreSQL."""
    with backup_login(database) as role:
        connection = {
            "connection_id": "skill_batch_backup_db",
            "conn_type": "postgres",
            "host": database.server.host,
            "port": database.server.port,
            "schema": database.name,
            "login": role,
            "password": "test-backup",
        }
        site.api.call("POST", "/api/v2/connections", connection)
        programs = {"key": "skill_batch_postgres_bin", "value": postgres_programs()}
        site.api.call("POST", "/api/v2/variables", programs)
        yield
        for path in ("connections/skill_batch_backup_db", "variables/skill_batch_postgres_bin"):
            site.api.call("DELETE", f"/api/v2/{path}")


@pytest.fixture
def backup(site: Site, host: psycopg.Connection, backup_connection: None) -> None:  # noqa: ARG001
    """A verified backup of an employee of T001, whose row has changed since."""
    host_rows.tenant(host, "T001")
    host_rows.user(host, "T001", "u1")
    api = replace(site.api, dag_id=DATA_BACKUP.dag_id)
    assert api.wait(api.trigger(business_date="2026-11-01")) == "success"
    host.execute("""UPDATE "MST_Employee" SET full_name = '変更後' """)
