"""An upgrade and a roll back while runs are active (docs/install/upgrade.md): a Git bundle, an environment for each wheel, a revision."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from include.skillreport.approvals import APPROVE
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.schema.command import ADMIN_VARIABLE
from local_stack.airflow_processes import SCHEDULER
from local_stack.stand_ins import StandIns
from tests.airflow_installation import PROJECT
from tests.conftest import Database, wait_for_blocked_statement
from tests.dags.running_airflow import NO_SCHEDULE, Api, answer_request, open_request, running_airflow
from tests.packaging.production import DAG_IDS, Layout, ProductionEnvironment, build_wheel, create_environment
from tests.schema.catalogue import rows_of
from tests.waiting import wait_until
from tests.worlds import billing_rows
from tests.worlds.next_version import REVISION, VERSION, add_revision

pytestmark = [pytest.mark.long, pytest.mark.exclusive]

PAGE = PROJECT / "docs" / "install" / "upgrade.md"
GIT = ("git", "-c", "user.name=tests", "-c", "user.email=tests@example.jp", "-c", "commit.gpgsign=false")
# The DAG files, a module that they import, and one that most tasks import. Each prints its release into the log of a task.
PRINTING = (
    f"dags/{TENANT_USAGE.family.slug}/{TENANT_USAGE.dag_id}.py",
    f"dags/operations/{APPROVE_INVOICES.dag_id}.py",
    "plugins/skill_batch/batch_flow.py",
    "include/skillreport/core/execution/flow.py",
)

OCTOBER = {"business_date": "2026-10-31"}
# A day and a tenant of which no invoice is held.
OF_A_TENANT = {"business_date": "2026-08-31", "tenants": ["C"]}


@dataclass(frozen=True)
class Installed:
    """A release in a virtual environment of its own, and the Git repository that has its tag."""

    version: str
    environment: ProductionEnvironment
    repository: Path

    def command(self, database: Database, *arguments: str) -> str:
        """The output of the wheel's command, which succeeds."""
        variables = {"PATH": os.defpath, ADMIN_VARIABLE: database.dsn}
        script = self.environment.python.with_name("skill-batch")
        return subprocess.run(
            [script, *arguments], env=variables, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    @contextmanager
    def running(self, folder: Path, metadata: str, database: Database, port: int) -> Iterator[Api]:
        """Airflow with the page's bundle of the tag. ``folder`` is that of the installation, also of the next release."""
        (example, *_) = re.findall(
            r"DAG_BUNDLE_CONFIG_LIST='(.*?)'", PAGE.read_text(encoding="utf-8"), re.DOTALL
        )
        (bundle,) = json.loads(example)
        bundle["kwargs"] |= {"repo_url": self.repository.as_uri(), "tracking_ref": f"v{self.version}"}
        variables = NO_SCHEDULE | {
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(folder / "bundles" / self.version),
            # A task that finds no DAG fails at once, and does not wait for one.
            "AIRFLOW__WORKERS__MISSING_DAG_RETRIES": "0",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        }
        logs = folder / self.version
        logs.mkdir(exist_ok=True)
        airflow = Layout(folder).airflow(self.environment, folder / "home", metadata)
        with (
            StandIns() as services,
            running_airflow(airflow, database, services, logs, port, variables) as api,
        ):
            yield replace(api, dag_id=TENANT_USAGE.dag_id)


def install(version: str, repository: Path, folder: Path) -> Installed:
    """Commit this code as a release, with a tag, and install its wheel beside Airflow and the provider of git bundles."""
    number = repository / "include" / "skillreport" / "core" / "version.py"
    number.write_text(re.sub(r'"[\d.]+"$', f'"{version}"', number.read_text(), flags=re.MULTILINE))
    for file in PRINTING:
        text = (PROJECT / file).read_text(encoding="utf-8")
        (repository / file).write_text(f'{text}\nprint("{file} of release {version}")\n', encoding="utf-8")
    for command in (["add", "."], ["commit", "--quiet", "--message", version], ["tag", f"v{version}"]):
        subprocess.run([*GIT, *command], cwd=repository, check=True)
    environment = create_environment(folder / "environment")
    # Without what they need: it is there, perhaps in another version than the lock's.
    provider = ("apache-airflow-providers-git", "GitPython", "gitdb", "smmap")
    environment.install("--no-deps", "--constraints", str(PROJECT / "requirements.lock"), *provider)
    environment.install("--no-deps", str(build_wheel(folder / "wheel", repository)))
    return Installed(version, environment, repository)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Git repository with the folders of the project and what builds its wheel, without a commit."""
    folder = Layout.plain(tmp_path / "repository").folder
    for name in ("pyproject.toml", "README.md", "requirements.txt", "requirements-airflow.txt"):
        shutil.copy(PROJECT / name, folder)
    subprocess.run([*GIT, "init", "--quiet"], cwd=folder, check=True)
    return folder


def test_active_runs_go_on_after_an_upgrade_and_a_roll_back(
    repository: Path, metadata: str, database: Database, unused_port: int, tmp_path: Path
) -> None:
    with database.connect() as host:
        billing_rows.jump(database, host)
    home = tmp_path / "airflow"
    home.mkdir()
    old = install("1.0.0", repository, tmp_path / "old")

    with old.running(home, metadata, database, unused_port) as usage:
        wait_for_dags(usage)
        asked = hold_invoices(usage)
        usage.unpause()
        with psycopg.connect(database.dsn) as blocker:
            blocker.execute('LOCK TABLE "SYS_TenantUsage" IN ACCESS EXCLUSIVE MODE')
            active = usage.trigger(**OF_A_TENANT)
            wait_for_blocked_statement(database)
            add_revision(repository / "include" / "skillreport" / "schema")
            new = install(VERSION, repository, tmp_path / "new")
            stop_scheduler(usage)
        wait_until(lambda: usage.states(active).get("C") == "success", "the task that ran ends")

    # Meanwhile the run and the request for approval are open.
    assert REVISION in new.command(database, "upgrade", "--plan")
    new.command(database, "upgrade")
    with new.running(home, metadata, database, unused_port) as usage:
        assert usage.wait(active) == "success"
        later = usage.trigger(**OF_A_TENANT)
        assert usage.wait(later) == "success"
        approval = replace(usage, dag_id=APPROVE_INVOICES.dag_id)
        answer_request(approval, asked, APPROVE)
        assert approval.wait(asked) == "success"

    upgraded = figures(database)
    assert json.loads(old.command(database, "check", "--json"))["fits"]
    with old.running(home, metadata, database, unused_port) as usage:
        wait_for_dags(usage)
        rolled_back = usage.trigger(**OF_A_TENANT)
        assert usage.wait(rolled_back) == "success"
    assert figures(database) == upgraded

    first, then, both = {old.version}, {new.version}, {old.version, new.version}
    finished = {"open_run": first, "read_logs": first, "aggregate_usage": first}
    assert imported_releases(home, active) == finished | {"close_run": then, "announce": then}
    for run, release in ((later, then), (rolled_back, first)):
        assert imported_releases(home, run) == dict.fromkeys(imported_releases(home, active), release)
    # A task that has waited is resumed by a new process.
    answered = dict.fromkeys(("record_answer", "open_run", "approve_invoice", "close_run"), then)
    assert imported_releases(home, asked) == {"list_held": first, "ask": both} | answered
    with database.connect() as connection:
        opened = connection.execute(
            "SELECT run_id, version FROM batch.execution_log WHERE run_id = ANY (%s) AND status = 'completed'",
            [[active, later, asked, rolled_back]],
        ).fetchall()
    versions = {active: old.version, later: new.version, asked: new.version, rolled_back: old.version}
    assert dict(opened) == versions


def figures(database: Database) -> dict[str, list[object]]:
    """What tenants and accountants see: usage, invoices and e-mails."""
    with database.connect() as connection:
        return {table: rows_of(connection, table) for table in ("usage_day", "invoice", "outbox")}


def hold_invoices(api: Api) -> str:
    """Bill a month of which two invoices are held; returns the run that asks about them."""
    billing, approval = (
        replace(api, dag_id=TENANT_BILLING.dag_id),
        replace(api, dag_id=APPROVE_INVOICES.dag_id),
    )
    billing.unpause()
    approval.unpause()
    assert billing.wait(billing.trigger(**OCTOBER)) == "failed"
    (request,) = approval.call("GET", f"/api/v2/dags/{approval.dag_id}/dagRuns")["dag_runs"]
    asked = str(request["dag_run_id"])
    open_request(approval, asked)
    return asked


def wait_for_dags(api: Api) -> None:
    """Until Airflow has all DAGs of the bundle, without an import error."""

    def found() -> bool:
        listed = api.call("GET", "/api/v2/dags?limit=100&exclude_stale=true")["dags"]
        return sorted(dag["dag_id"] for dag in listed) == DAG_IDS

    wait_until(found, "all DAGs of the bundle")
    assert api.call("GET", "/api/v2/importErrors")["import_errors"] == []


def stop_scheduler(api: Api) -> None:
    """Ask it to stop, as systemd does. It starts no further task, and waits for those that run."""
    os.kill(api.airflow.processes[SCHEDULER].pid, signal.SIGTERM)
    wait_until(lambda: "Exiting gracefully" in api.airflow.log(SCHEDULER).read_text(), "the scheduler stops")


def imported_releases(installation: Path, run_id: str) -> dict[str, set[str]]:
    """By task of the run, the releases of the code that it has imported, from its log."""
    (folder,) = installation.glob(f"home/logs/*/run_id={run_id}")
    found: dict[str, set[str]] = {}
    for log in folder.rglob("*.log"):
        task = log.relative_to(folder).parts[0].removeprefix("task_id=")
        printed = re.findall(r"of release ([\d.]+)", log.read_text(encoding="utf-8"))
        found.setdefault(task, set()).update(printed)
    return found
