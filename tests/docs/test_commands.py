"""The commands of the pages: each is run by a test, or needs an account or a machine; our own and Airflow's parse, and name what exists."""

from __future__ import annotations

import argparse
import re
import shlex
from contextlib import suppress
from pathlib import Path

from airflow.cli import cli_parser

from include.skillreport.__main__ import command_parser
from include.skillreport.core.catalog import BATCHES, FAMILIES
from include.skillreport.core.operation_catalog import OPERATIONS
from tests.airflow_installation import PROJECT

PAGES = {
    str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8")
    for path in [
        PROJECT / "README.md",
        PROJECT / "benchmarks/README.md",
        *sorted(PROJECT.glob("docs/**/*.md")),
    ]
}
TARGETS = set(
    " ".join(re.findall(r"^([a-z][a-z -]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE)).split()
)
DAG_IDS = {
    *(spec.dag_id for spec in BATCHES),
    *(family.dag_id for family in FAMILIES),
    *(spec.dag_id for spec in OPERATIONS),
}

# Creates what its commands name.
RECIPES = "docs/develop/recipes.md"

# Where the commands of a page are run, or what they need.
RUN_BY = {
    "docs/develop/api.md": "tests/api/test_rest_api.py",
    RECIPES: "tests/recipes/test_recipes.py",
    "docs/install/database.md": "tests/docs/test_database_page.py, tests/servers/test_restore_by_hand.py",
    "docs/install/mwaa.md": "tests/deploy/test_pages.py: the packages; an AWS account",
    "docs/install/upgrade.md": "tests/packaging/test_layouts.py, tests/packaging/test_bundles.py",
    "docs/operate/runs.md": "tests/dags/test_recovery.py",
}
NEEDS = {
    "README.md": "targets of the Makefile, which CI runs",
    "benchmarks/README.md": "hours",
    "docs/batches/batch-019-04.md": "the log archive of an installation",
    "docs/develop/chaos.md": "minutes: make chaos",
    "docs/develop/developing.md": "targets of the Makefile, which CI runs",
    "docs/install/airflow.md": "the installation's Airflow",
    "docs/install/astro.md": "an Astro account",
    "docs/install/composer.md": "a Google Cloud account",
    "docs/install/helm.md": "a Kubernetes cluster",
    "docs/install/rights.md": "an Airflow with FAB",
    "docs/install/systemd.md": "a virtual machine and root",
    "docs/try.md": "targets of the Makefile, and the reader's own database",
}


def _commands(page: str) -> list[str]:
    """The lines of all blocks of shell commands. A continued line is one."""
    blocks = re.findall(r"^ *```(?:sh|bash|console)\n(.*?)^ *```", PAGES[page], re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]


def _arguments(program: str) -> list[tuple[str, list[str]]]:
    """By page: the arguments of each command of this program, wherever it stands in a line."""
    found = []
    for page in PAGES:
        for line in _commands(page):
            # A command in a command is one word.
            simple = re.sub(r"\$\(.*?\)", "2026-11-01", line)
            for command in re.findall(rf"(?:^|as_service |bin/){program} ([^|&;)]+)", simple):
                found.append((page, shlex.split(command, comments=True)))
    return found


def test_every_page_with_commands_says_who_runs_them() -> None:
    assert {page for page in PAGES if _commands(page)} == RUN_BY.keys() | NEEDS.keys()
    for page, tests in RUN_BY.items():
        for file in re.findall(r"tests/[\w/]+\.py", tests):
            assert Path(page).stem in (PROJECT / file).read_text(encoding="utf-8"), (page, file)


def test_our_commands_parse() -> None:
    commands = _arguments(r"python -m include\.skillreport")
    assert len(commands) > 10
    parser = command_parser()
    assert [(page, arguments) for page, arguments in commands if _parsed(parser, arguments) is None] == []


def test_airflows_commands_parse_and_name_dags_that_exist() -> None:
    commands = _arguments("airflow")
    assert len(commands) > 10
    parser = cli_parser.get_parser()
    for page, arguments in commands:
        parsed = _parsed(parser, arguments)
        assert parsed is not None, (page, arguments)
        if page != RECIPES:
            assert getattr(parsed, "dag_id", None) in {None, *DAG_IDS}, (page, arguments)


def _parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace | None:
    with suppress(SystemExit):
        return parser.parse_args(arguments)
    return None


def test_the_targets_of_make_exist() -> None:
    named = {
        name
        for page in PAGES
        for line in _commands(page)
        for names in re.findall(r"(?:^|\()make (?:-s |-j\d )?([a-z][a-z -]*)", line)
        for name in names.split()
    }
    # Also in sentences, but not "make sure".
    named |= {
        name for text in PAGES.values() for name in re.findall(r"`make (?:-s |-j\d )?([a-z][a-z-]+)", text)
    }
    assert {"demo", "down", "up", "wheel", "env-own"} <= named <= TARGETS


def test_the_named_folders_of_tests_exist() -> None:
    pages = PAGES.keys() - {RECIPES}
    named = {path for page in pages for path in re.findall(r"\btests/[\w/.]+", "\n".join(_commands(page)))}
    assert named
    assert [path for path in named if not (PROJECT / path).exists()] == []
