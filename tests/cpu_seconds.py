"""A plugin of pytest: the CPU seconds of ``make test-rules``, ``make test`` and ``make test-all`` in one run of all tests.

The suite keeps all cores busy, so it gets faster only by using them less. Seconds include those of the kernel. What a session sets up
counts for the test that needs it first. Imports and collection are not counted. ``--by-folder`` (``make test-durations``) also shows what
each folder of ``make test`` used of its budget, and the slowest tests.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

import psutil
import psycopg
import pytest

from tests.conftest import Server
from tests.selection import commands

_PROPERTY = "cpu_seconds"
_BY_FOLDER = "--by-folder"
_SLOWEST = 40
_SUMMARY_OF_GITHUB = "GITHUB_STEP_SUMMARY"

# CPU seconds that each folder may use in `make test` on a quiet machine with two cores of 2026.
# A folder without a line has next to nothing to run.
BUDGET = {
    "tests": 5,
    "tests/activity": 6,
    "tests/batches/data_management": 45,
    "tests/batches/notification": 32,
    "tests/batches/tenant_management": 72,
    "tests/billing": 24,
    "tests/board": 50,
    "tests/board/billing": 22,
    "tests/chaos": 3,
    "tests/contracts": 66,
    "tests/core": 20,
    "tests/dags": 50,
    "tests/docs": 3,
    "tests/local_stack": 34,
    "tests/messaging": 56,
    "tests/operations": 105,
    "tests/plugins": 28,
    "tests/schema": 48,
    "tests/toy_channel": 4,
}


class CpuSeconds(NamedTuple):
    """Of the tests' own process, of the ended processes that it has started, and of its PostgreSQL."""

    own: float = 0.0
    processes: float = 0.0
    postgres: float = 0.0

    @classmethod
    def until_now(cls, postmaster: psutil.Process | None) -> Self:
        times = os.times()
        postgres = 0.0
        for process in [postmaster, *postmaster.children()] if postmaster else ():
            # A backend ends at any time. Then it counts for the server's first process.
            with suppress(psutil.NoSuchProcess):
                postgres += sum(process.cpu_times()[: 4 if process is postmaster else 2])
        return cls(
            times.user + times.system,
            times.children_user + times.children_system,
            postgres,
        )

    def __add__(self, other: tuple[float, ...]) -> Self:  # type: ignore[override]
        return type(self)(*(a + b for a, b in zip(self, other, strict=True)))

    def since(self, began: CpuSeconds) -> Self:
        """The difference, at least zero."""
        return type(self)(*(max(now - then, 0.0) for now, then in zip(self, began, strict=True)))


class CpuReport:
    """Measures the tests of a worker, and adds up those of all workers."""

    def __init__(self, *, by_folder: bool) -> None:
        self._by_folder = by_folder
        self._postmaster: psutil.Process | None = None
        self._began = CpuSeconds()
        self._tests: dict[str, CpuSeconds] = {}
        self._commands: dict[str, list[str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self) -> Generator[None, object, object]:
        """The server's first process has the times of its ended backends. Those of an external server are not known."""
        made = yield
        if isinstance(made, Server) and made.postgres is not None:
            with psycopg.connect(made.dsn("postgres")) as connection:
                self._postmaster = psutil.Process(connection.info.backend_pid).parent()
        return made

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        # To look for the server's processes takes milliseconds. It does nothing between two tests.
        self._began = CpuSeconds.until_now(None)._replace(postgres=self._began.postgres)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        if call.when == "teardown":
            now = CpuSeconds.until_now(self._postmaster)
            # Lists, because xdist sends them.
            item.user_properties.append((_PROPERTY, [commands(item), list(now.since(self._began))]))
            self._began = now
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == _PROPERTY and isinstance(value, list):
                self._commands[report.nodeid], seconds = value
                self._tests[report.nodeid] = CpuSeconds(*seconds)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("CPU seconds: all, own, other processes, PostgreSQL")
        totals = {f"make {command}": self._total(command) for command in ("test-rules", "test", "test-all")}
        for command, seconds in totals.items():
            write(_figures(seconds) + command)
        if summary := os.environ.get(_SUMMARY_OF_GITHUB):
            rows = (f"| `{command}` | {sum(seconds):.0f} |\n" for command, seconds in totals.items())
            with Path(summary).open("a", encoding="utf-8") as file:
                file.writelines(["| tests | CPU seconds |\n|---|---|\n", *rows])
        if self._by_folder:
            terminalreporter.section("CPU seconds by folder: make test-all, make test, its budget")
            folders = {_folder(test) for test in self._tests}
            used = {folder: self._seconds_of(folder) for folder in folders}
            for folder in sorted(folders, key=lambda each: used[each], reverse=True):
                in_make_test, budget = self._seconds_of(folder, "test"), BUDGET.get(folder, 1)
                write(
                    f"{used[folder]:8.1f}{in_make_test:8.1f}{budget:8}  {folder}"
                    + "  over" * (in_make_test > budget)
                )
            terminalreporter.section("The slowest tests")
            for test, seconds in sorted(self._tests.items(), key=lambda each: sum(each[1]), reverse=True)[
                :_SLOWEST
            ]:
                write(_figures(seconds) + test)

    def _total(self, command: str) -> CpuSeconds:
        seconds = (self._tests[test] for test, of_test in self._commands.items() if command in of_test)
        return sum(seconds, CpuSeconds())

    def _seconds_of(self, folder: str, command: str = "test-all") -> float:
        return sum(
            sum(seconds)
            for test, seconds in self._tests.items()
            if _folder(test) == folder and command in self._commands[test]
        )


def _folder(test: str) -> str:
    return str(PurePosixPath(test.partition("::")[0]).parent)


def _figures(seconds: CpuSeconds) -> str:
    return "".join(f"{each:8.1f}" for each in (sum(seconds), *seconds)) + "  "


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        _BY_FOLDER, action="store_true", help="show CPU seconds by folder with budgets, and the slowest tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuReport(by_folder=config.getoption(_BY_FOLDER)), "cpu_report")
