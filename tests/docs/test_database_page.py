"""The page about the database matches the code: the commands run, and the codes are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from include.skillreport.schema.checks.findings import ERRORS, REMARKS
from tests.airflow_installation import PROJECT
from tests.conftest import PASSWORDS, Database
from tests.waiting import LIMIT_SECONDS

PROGRESS = re.compile(r"\d\d:\d\d:\d\d \+\d{4} (ロールと表|ビュー)を配置しています。")


@pytest.mark.slow("deploys the schema as another login or by commands")
def test_every_deployment_command_runs_as_it_is_written(database: Database) -> None:
    page = (PROJECT / "docs" / "install" / "database.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m include\.skillreport .*$", page, flags=re.MULTILINE)
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
        # Only what `upgrade` logs as it begins each phase.
        others = [line for line in done.stderr.splitlines() if not PROGRESS.fullmatch(line)]
        assert (done.returncode, others) == (0, []), command


def test_the_codes_of_the_findings_are_those_of_the_code() -> None:
    code = r"\"(settings|placeholder|outdated|detached|pooler|[a-z]+(?:-[a-z]+)+)\""
    checks = _texts("include/skillreport/schema/*.py", "include/skillreport/schema/checks/*.py")
    assert set(re.findall(rf"\berror\(\s*{code}", checks)) == ERRORS.keys()
    # people.py names two codes in a mapping, and the settings name theirs in Section.warning.
    remarks = re.findall(rf"(?:\bremark\(|\": \()\s*{code}", checks)
    remarks += re.findall(rf"return \(\s*{code}", _texts("include/**/settings.py"))
    assert set(remarks) == REMARKS.keys()


def _texts(*patterns: str) -> str:
    return "".join(file.read_text(encoding="utf-8") for pattern in patterns for file in PROJECT.glob(pattern))
