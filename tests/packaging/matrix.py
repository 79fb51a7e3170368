"""Run the tests of packaging on each version that this machine has: ``make matrix``, or ``python -m tests.packaging.matrix CELL ...``.

A cell is a Python with an Airflow (all layouts and all batches, with the packages of production), or a PostgreSQL server (the tests that
use the skill report database). Without names, a version that the machine does not have is skipped. A cell that is named fails then.
``--list`` shows the cells.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from local_stack.stack import EXTERNAL_DATABASE
from tests.airflow_installation import PROJECT
from tests.packaging.production import AIRFLOW_VARIABLE, PYTHON_VARIABLE, UV
from tests.servers.debian_server import NotInstalledError, debian_server

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The lock has 3.3.2. "next" is the newest pre-release, if it is newer.
AIRFLOWS = ("3.3.1", "lock", "next")
# 18 is the embedded one.
SERVERS = ("15", "16", "17", "18")

_PACKAGING = ("-m", "long", "tests/packaging")
_DATABASE_TESTS = (
    "-m",
    "not long",
    "--numprocesses=2",
    *(f"tests/{folder}" for folder in ("schema", "batches", "billing")),
)


class MissingError(Exception):
    """This machine does not have a requirement of the cell; the message names it."""


class NothingNewerError(Exception):
    """There is no version of the cell's kind at present; the message says which is the newest."""


@dataclass(frozen=True)
class Cell:
    """One combination of versions. ``airflow`` is empty for a PostgreSQL server."""

    name: str
    version: str
    airflow: str = ""

    def run(self, log: Path) -> bool:
        """Whether its tests pass; their output goes to ``log``.

        :raises MissingError: this machine cannot run it.
        :raises NothingNewerError: nobody can.
        """
        if not self.airflow:
            with _server(self.version) as url:
                return _pytest(_DATABASE_TESTS, {EXTERNAL_DATABASE: url} if url else {}, log)
        variables = {PYTHON_VARIABLE: _python(self.version)}
        if self.airflow == "next":
            variables[AIRFLOW_VARIABLE] = _prerelease()
        elif self.airflow != "lock":
            variables[AIRFLOW_VARIABLE] = self.airflow
        return _pytest(_PACKAGING, variables, log)


CELLS = (
    *(
        Cell(f"python{python}-airflow-{airflow}", python, airflow)
        for python in PYTHONS
        for airflow in AIRFLOWS
    ),
    # The last one writes its messages in Japanese.
    *(Cell(f"postgresql{server}", server) for server in (*SERVERS, "17-ja_JP.UTF-8")),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.packaging.matrix", description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help="names of cells; without names, all")
    parser.add_argument("--list", action="store_true", help="list the cells")
    arguments = parser.parse_args()
    known = {cell.name: cell for cell in CELLS}
    if unknown := set(arguments.cells) - set(known):
        parser.error(f"unknown cells: {', '.join(sorted(unknown))}; --list shows them")
    if arguments.list:
        print("\n".join(known))
        return 0
    logs = PROJECT / ".local" / "matrix"
    logs.mkdir(parents=True, exist_ok=True)
    chosen = [cell for cell in CELLS if cell.name in (arguments.cells or known)]
    failed = [cell for cell in chosen if not reported(cell, logs, is_named=bool(arguments.cells))]
    return 1 if failed else 0


def reported(cell: Cell, logs: Path, *, is_named: bool) -> bool:
    """Run the cell and print a line about it; returns False if its tests fail, or if somebody has named it and it cannot run."""
    log, begins_at = logs / f"{cell.name}.log", time.monotonic()
    try:
        passes = cell.run(log)
    except NothingNewerError as nothing:
        print(f"skipped  {cell.name:<28} {nothing}", flush=True)
        return True
    except MissingError as missing:
        print(f"{'MISSING' if is_named else 'skipped'}  {cell.name:<28} {missing}", flush=True)
        return not is_named
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    print(
        f"{'passed ' if passes else 'FAILED '}  {cell.name:<28} {time.monotonic() - begins_at:5.0f} s  "
        f"{lines[-1].strip('= ') if lines else ''}{'' if passes else f'  see {log}'}",
        flush=True,
    )
    return passes


def _pytest(arguments: tuple[str, ...], variables: Mapping[str, str], log: Path) -> bool:
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=PROJECT,
            env=os.environ | dict(variables),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode == 0


def _python(version: str) -> str:
    """An interpreter of this version: of pyenv, whose programs on the PATH only work for one version, or any that uv finds."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for interpreter in sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")):
        return str(interpreter)
    found = subprocess.run(
        [*UV, "python", "find", "--no-python-downloads", "--no-project", version],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode != 0:
        raise MissingError(f"Python {version} is not installed")
    return found.stdout.strip()


@cache
def _prerelease() -> str:
    """The newest pre-release of Airflow. :raises NothingNewerError: the newest release is newer."""
    resolved = subprocess.run(
        [*UV, "pip", "compile", "--quiet", "--no-deps", "--no-header", "--prerelease=allow", "-"],
        input="apache-airflow\n",
        capture_output=True,
        text=True,
        check=True,
    )
    version = resolved.stdout.split("==")[1].split()[0]
    if version.replace(".", "").isdecimal():
        raise NothingNewerError(f"Airflow {version} has no newer pre-release")
    return version


@contextmanager
def _server(version: str) -> Iterator[str]:
    """The URL of a new server of this version, with messages in the locale after it; empty for the embedded one.

    :raises MissingError: it is not installed.
    """
    if version == "18":
        yield ""
        return
    major, _, messages = version.partition("-")
    try:
        with debian_server(int(major), messages) as url:
            yield url
    except NotInstalledError as missing:
        raise MissingError(str(missing)) from None


if __name__ == "__main__":
    sys.exit(main())
