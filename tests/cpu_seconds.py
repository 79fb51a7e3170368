"""A plugin of pytest for ``make test-durations``: the CPU seconds of the suite by folder, and its slowest tests.

The suite keeps all cores busy, so it gets faster only by using them less. Seconds include those of the kernel. What a session sets up
counts for the test that needs it first. Imports and collection are not counted.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple, Self

import psutil
import psycopg
import pytest

from tests.conftest import Server

_PROPERTY = "cpu_seconds"
_DEAREST = 40


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

    def __init__(self) -> None:
        self._postmaster: psutil.Process | None = None
        self._began = CpuSeconds()
        self._tests: dict[str, CpuSeconds] = {}

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
        postgres = CpuSeconds.until_now(self._postmaster).postgres
        # To look for the server's processes takes milliseconds, which are not the test's.
        self._began = CpuSeconds.until_now(None)._replace(postgres=postgres)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        if call.when == "teardown":
            spent = CpuSeconds.until_now(self._postmaster).since(self._began)
            # A list, because xdist sends it.
            item.user_properties.append((_PROPERTY, list(spent)))
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == _PROPERTY and isinstance(value, list):
                self._tests[report.nodeid] = CpuSeconds(*value)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        folders: defaultdict[str, CpuSeconds] = defaultdict(CpuSeconds)
        for test, seconds in self._tests.items():
            for folder in ("all", str(PurePosixPath(test.partition("::")[0]).parent)):
                folders[folder] += seconds
        write = terminalreporter.write_line
        terminalreporter.section("CPU seconds: all, own, other processes, PostgreSQL")
        dearest = sorted(self._tests.items(), key=_total, reverse=True)[:_DEAREST]
        for name, seconds in [*sorted(folders.items(), key=_total, reverse=True), *dearest]:
            write("".join(f"{each:8.1f}" for each in (sum(seconds), *seconds)) + f"  {name}")


def _total(item: tuple[str, CpuSeconds]) -> float:
    return sum(item[1])


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuReport(), "cpu_report")
