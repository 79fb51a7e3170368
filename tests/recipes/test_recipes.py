"""The recipes of docs/develop/recipes.md: their parts fit the repository, and a copy that follows all of them passes its own checks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.airflow_installation import PROJECT
from tests.recipes.recipe import Recipe, Step, recipes

# The checks of a copy, as a developer starts them. The parts of the recipes are in the copy already, and fit only once.
_FITS = "tests/recipes/test_recipes.py::test_each_part_of_a_recipe_fits_the_repository"
CHECKS = f"make lint\nPYTEST_ADDOPTS='--deselect {_FITS}' make test-all\n"

DEVELOPER = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "developer"), ("EMAIL", "developer@example.jp"))
}

# Far from the ports of a developer's own stack.
PORT_OFFSET = "6200"


def copy_of_the_project(folder: Path) -> Path:
    """The files that git knows, in a repository of their own with the environment of this one."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # With its time: a lock file that is newer than the environment would be installed again.
        shutil.copy2(PROJECT / name, target)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    return folder


def run(script: str, folder: Path) -> None:
    """Run the commands in the folder like a developer; the test fails with their output."""
    environment = (
        os.environ
        | DEVELOPER
        | {
            "SKILL_BATCH_PORT_OFFSET": PORT_OFFSET,
            "PATH": f"{PROJECT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
    )
    # A suite in a suite has its own workers, and its own answers to these.
    for name in [*filter(lambda each: each.startswith("PYTEST_"), environment), "UPDATE_SNAPSHOTS"]:
        environment.pop(name, None)
    ended = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{script}\n{ended.stdout[-20_000:]}"


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.title)
def test_each_part_of_a_recipe_fits_the_repository(recipe: Recipe, tmp_path: Path) -> None:
    for step in recipe.steps:
        if step.kind == "diff" and step.path and not (tmp_path / step.path).exists():
            (tmp_path / step.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / step.path, tmp_path / step.path)
        elif step.path:
            assert step.kind == "diff" or not (PROJECT / step.path).exists()
        if step.path:
            step.write(tmp_path)


def test_a_change_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.py").write_text("nothing\n")
    with pytest.raises(ValueError, match=r"catalog\.py has these lines 0 times"):
        Step("diff", "catalog.py", " something\n+more\n").write(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_a_copy_that_follows_all_recipes_passes_its_checks(tmp_path: Path) -> None:
    copy = copy_of_the_project(tmp_path)
    run("git init --quiet\necho .venv >> .git/info/exclude\n", copy)
    try:
        for recipe in recipes():
            for step in recipe.steps:
                if step.path:
                    step.write(copy)
                else:
                    run(step.text, copy)
    finally:
        run("make db-stop", copy)
    run("git add --all\ngit commit --quiet --message 'Follow the recipes'\n", copy)
    run(CHECKS, copy)
