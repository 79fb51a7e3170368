"""Airflow's commands with the FAB auth manager, and its users."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.airflow_installation import AirflowInstallation, environment_of

PASSWORD = "only-in-tests"


def fab_installation(
    home: Path, metadata_url: str, commands: Sequence[Sequence[str]], users: dict[str, tuple[str, ...]]
) -> AirflowInstallation:
    """An Airflow with FAB. ``commands`` create its roles; ``users`` are the users with their roles, whose password is PASSWORD."""
    installation = AirflowInstallation(
        environment_of(home, metadata_url)
        | {
            "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__FAB__SESSION_BACKEND": "securecookie",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        }
    )
    run_command(installation, "db", "migrate")
    run_command(installation, "dags", "reserialize")
    for user, (role, *_) in users.items():
        person = ("--firstname", user, "--lastname", "x", "--email", f"{user}@example.jp")
        named = ("--username", user, "--password", PASSWORD, "--role", role)
        run_command(installation, "users", "create", *named, *person)
    for command in commands:
        run_command(installation, *command)
    for user, (_, *roles) in users.items():
        for role in roles:
            run_command(installation, "users", "add-role", "--username", user, "--role", role)
    return installation


def commands_of(page: Path, language: str) -> list[list[str]]:
    """The arguments of the ``airflow`` commands in the code block of this page that begins with ``airflow``."""
    text = page.read_text(encoding="utf-8")
    (block,) = re.findall(rf"```{language}\n(airflow .*?)```", text, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.strip()]


def run_command(installation: AirflowInstallation, *command: str) -> None:
    """Run it, and fail with what it printed."""
    done = installation.run(*command)
    assert done.returncode == 0, done.stdout[-3000:]
