"""The shell on a database that the local stack has not made: it has its connections, and nothing of the demo."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.skillreport.core.errors import BatchError
from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.__main__ import env
from local_stack.own_database import OwnDatabase
from local_stack.ports import PORT_OFFSET
from local_stack.stack import DEMO_SETTINGS
from tests.chaos.demo_installation import free_offset
from tests.conftest import PASSWORDS, Database, Server
from tests.waiting import LIMIT_SECONDS

# In a shell that had the demo's settings before.
SHELL = """
eval "$EXPORTS"
python -c 'from include.skillreport.billing.settings import BillingSettings; print(BillingSettings.load().issuer.sample)'
airflow dags test batch_003_statistics 2026-11-01 --conf '{"dry_run": true}'
"""


@pytest.fixture
def own(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnDatabase]:
    """An installation in a folder of its own, for the test's database as somebody's own."""
    with tempfile.TemporaryDirectory(prefix="skill-report-own-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # root starts the server as another user
        monkeypatch.setenv(PORT_OFFSET, str(free_offset(folder)))
        monkeypatch.setenv("SKILL_BATCH_ADMIN_DSN", database.dsn)
        for role in ("TENANT", "PLATFORM"):
            monkeypatch.setenv(f"SKILL_BATCH_{role}_PASSWORD", PASSWORDS[f"batch_{role.lower()}"])
        own = OwnDatabase(folder)
        yield own
        own.server.stop()


def test_the_shell_has_only_the_settings_of_its_owner(
    own: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert os.environ[SETTINGS_VARIABLE] == str(DEMO_SETTINGS)
    assert own.environment()[SETTINGS_VARIABLE] == ""
    monkeypatch.setenv(SETTINGS_VARIABLE, "/etc/skill-batch/settings.yaml")
    assert own.environment()[SETTINGS_VARIABLE] == "/etc/skill-batch/settings.yaml"


def test_airflow_gets_the_logins_with_a_password_and_no_service(
    own: OwnDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKILL_BATCH_BACKUP_DSN", "postgresql://b:secret@db1:1,db2:2/skills?sslmode=require")
    connections = own.settings.connections
    tenant = connections["skill_batch_tenant_db"]
    assert connections.keys() == {
        "skill_batch_tenant_db",
        "skill_batch_platform_db",
        "skill_batch_backup_db",
    }
    assert {name: tenant[name] for name in ("login", "password", "schema", "port")} == {
        "login": "batch_tenant",
        "password": PASSWORDS["batch_tenant"],
        "schema": database.name,
        "port": database.server.port,
    }
    assert connections["skill_batch_backup_db"]["extra"] == {"port": "1,2", "sslmode": "require"}
    assert "skill_batch_allowed_hosts" not in own.settings.variables


@pytest.mark.parametrize("name", ["SKILL_BATCH_ADMIN_DSN", "SKILL_BATCH_TENANT_PASSWORD"])
def test_a_missing_variable_is_named(own: OwnDatabase, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(BatchError, match=f"^{name} must"):
        own.settings  # noqa: B018


def test_a_database_without_the_schema_is_not_changed(
    own: OwnDatabase, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKILL_BATCH_ADMIN_DSN", server.dsn("postgres"))
    with pytest.raises(BatchError, match=r"'postgres' has no schema batch\. Run `python -m include.skill"):
        own.deploy()


@pytest.mark.long
@pytest.mark.exclusive
def test_a_batch_runs_on_an_own_database_with_the_sample_issuer(
    own: OwnDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    assert env(own) == 0
    exports = capfd.readouterr().out
    done = subprocess.run(
        ["bash", "-euc", SHELL],
        env=os.environ | {"EXPORTS": exports},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "True"
