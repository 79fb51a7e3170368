"""The README and the deployment page match the code: the files, targets and commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.airflow_installation import PROJECT
from tests.conftest import PASSWORDS, Database
from tests.waiting import LIMIT_SECONDS

DEPLOYING = (PROJECT / "docs" / "deploying.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")


def test_every_make_target_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"(?:^|[`(])make (?:-s )?([a-z][a-z-]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "up", "env"} <= named
    targets = set(" ".join(re.findall(r"^([a-z][a-z -]*):", MAKEFILE, flags=re.MULTILINE)).split())
    assert named - targets == set()


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"`((?:include|local_stack|tests|dags|plugins)/[\w./]*\w\.\w+)`", README)
    assert named
    assert [path for path in named if not (PROJECT / path).exists()] == []


def test_every_deployment_command_runs_as_it_is_written(database: Database) -> None:
    commands = re.findall(r"^python -m include\.skillreport .*$", DEPLOYING, flags=re.MULTILINE)
    assert len(commands) >= 2
    # Of a machine without Airflow: asking it takes longer than all else.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    environment = inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SKILL_BATCH_ADMIN_DSN": database.dsn,
        **{f"SKILL_{role.upper()}_PASSWORD": password for role, password in PASSWORDS.items()},
    }
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command


def test_the_deployment_page_explains_exactly_the_codes_of_the_findings() -> None:
    sources = [
        *(PROJECT / "include/skillreport/schema").glob("*.py"),
        *(PROJECT / "include/skillreport/schema/checks").glob("*.py"),
    ]
    used = {
        code
        for source in sources
        for code in re.findall(
            r"(?:error\(|remark\(|\": \()\s*\"(settings|placeholder|outdated|detached|pooler|[a-z]+(?:-[a-z]+)+)\"",
            source.read_text(encoding="utf-8"),
        )
    }
    # Section.warning
    for source in (PROJECT / "include").rglob("settings.py"):
        used.update(re.findall(r"return \(\s*\"([a-z]+(?:-[a-z]+)+)\"", source.read_text(encoding="utf-8")))
    explained = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", DEPLOYING, flags=re.MULTILINE)
    assert set(re.findall(r"[a-z-]+", " ".join(explained))) == used
