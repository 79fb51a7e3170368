"""The wheel carries the help of the board if `make docs` has built it."""

from __future__ import annotations

import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.airflow_installation import PROJECT
from tests.packaging.production import build_wheel

PAGE = "skill_batch/board/site/operate/night.html"


@pytest.mark.parametrize("is_built", [True, False])
def test_the_wheel_has_the_built_help(tmp_path: Path, is_built: bool) -> None:
    """A project with few files, because the checkout may have a built help or not."""
    project = tmp_path / "project"
    # The root of a repository: .gitignore hides the help.
    (project / ".git").mkdir(parents=True)
    (project / "dags").mkdir()
    for name in (
        ".gitignore",
        "pyproject.toml",
        "README.md",
        "requirements.txt",
        "requirements-airflow.txt",
        "include/skillreport/core/version.py",
        "plugins/skill_batch/__init__.py",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, project / name)
    if is_built:
        (project / "plugins" / PAGE).parent.mkdir(parents=True)
        (project / "plugins" / PAGE).touch()
    with ZipFile(build_wheel(tmp_path / "dist", project)) as wheel:
        assert (PAGE in wheel.namelist()) == is_built
        assert "skill_batch/__init__.py" in wheel.namelist()
