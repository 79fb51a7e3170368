"""What an image of the project holds, and that each import rule refuses what breaks it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.airflow_installation import PROJECT

# By rule, an import that breaks it and the file in which it stands.
VIOLATIONS = {
    "include knows neither Airflow nor the plugins": ("include/errors.py", "airflow.sdk"),
    "the product never imports the local stack": ("plugins/skill_batch/metrics.py", "local_stack.stack"),
    "what scheduler and triggerer load never imports include": (
        "plugins/skill_batch/performance.py",
        "include.errors",
    ),
    "the frame and the libraries know no batch": (
        "include/execution/digest.py",
        "include.notification.scheduled_notifications.batch",
    ),
    "no batch imports another": (
        "include/data_management/statistics/batch.py",
        "include.tenant_management.tenant_usage.batch",
    ),
}


def test_an_import_that_breaks_a_rule_turns_the_lint_red(tmp_path: Path) -> None:
    for folder in ("include", "plugins", "local_stack"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for file, module in VIOLATIONS.values():
        with (tmp_path / file).open("a", encoding="utf-8") as source:
            source.write(f"import {module}\n")

    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f".{os.pathsep}plugins"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 1
    results = dict(re.findall(r"^(.+) (KEPT|BROKEN)", checked.stdout, flags=re.MULTILINE))
    assert results == dict.fromkeys(VIOLATIONS, "BROKEN"), checked.stdout


def test_an_image_holds_the_product_and_nothing_that_only_developers_need() -> None:
    ignored = set((PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines())
    held = {path.name for path in PROJECT.iterdir()} - ignored
    assert {"Dockerfile", "requirements.txt", "packages.txt", "dags", "include", "plugins"} <= held
    assert (
        held
        & {"local_stack", "tests", "benchmarks", ".ci", ".git", ".local", ".venv", "airflow_settings.yaml"}
        == set()
    )
