"""The whole ``make demo``: twice in one folder, with a batch that fails, terminated, and on a port in use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from include.skillreport.core.catalog import (
    BATCHES,
    NOTIFICATION_RETRY,
)
from include.skillreport.core.errors import BatchError
from local_stack.demo.command import demo
from local_stack.demo.details import read_result, width_of
from local_stack.demo.processes import Command, WorkerEndedError
from local_stack.demo.runs import DEMO_RUNS
from local_stack.ports import PORT_OFFSET
from local_stack.stack import AIRFLOW_METADATA, EXTERNAL_DATABASE, PROJECT, LocalStack
from tests.chaos.demo_installation import free_offset
from tests.waiting import wait_until

# A test run under nohup ignores SIGHUP, and one in the background SIGINT. The demo does not unignore a signal.
DEMO = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from local_stack.demo.command import demo
from local_stack.stack import LocalStack
sys.exit(demo(LocalStack(Path(sys.argv[1]))))
"""


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """A local installation in a folder of its own, on free ports."""
    with tempfile.TemporaryDirectory(prefix="skill-report-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # root starts the server as another user
        monkeypatch.setenv(PORT_OFFSET, str(free_offset(folder)))
        monkeypatch.delenv(EXTERNAL_DATABASE, raising=False)
        stack = LocalStack(folder)
        yield stack
        stack.server.stop()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The worker processes that the demo starts."""
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, args: list[str], **options: Any) -> None:
            super().__init__(args, **options)
            if "local_stack.demo.worker" in args:
                started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


def assert_each_run_records_what_the_summary_shows(stack: LocalStack) -> None:
    with stack.database() as connection:
        for run in DEMO_RUNS:
            result = read_result(connection, run.spec)
            assert result
            run.made.format_map(result.facts)  # raises KeyError


@pytest.mark.long
@pytest.mark.exclusive
def test_the_demo_runs_all_batches_twice_and_tells_of_a_failure(
    stack: LocalStack, capfd: pytest.CaptureFixture[str], workers: list[subprocess.Popen[bytes]]
) -> None:
    for retry_fails in (True, False):
        assert demo(stack) == 0
        # Not by SIGKILL, for which the demo would wait.
        assert {worker.returncode for worker in workers} == {-signal.SIGTERM}
        output = capfd.readouterr().out
        assert all(f" {spec.id} " in output for spec in BATCHES)
        assert (f"! {NOTIFICATION_RETRY.id}" in output) is retry_fails
        assert (stack.directory / "demo" / "index.html").as_uri() in output
        assert [line for line in output.splitlines() if width_of(line) > 100] == []
        if retry_fails:
            assert_each_run_records_what_the_summary_shows(stack)

    page = (stack.directory / "demo" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in ("board", "invoice", "report", "alert", "mail", "files"))

    with psycopg.connect(stack.server.admin_dsn(AIRFLOW_METADATA)) as metadata:
        metadata.execute("DELETE FROM connection WHERE conn_id = 'skill_batch_tenant_db'")
    assert demo(stack) == 1
    errors = capfd.readouterr().err
    assert "ended with exit code 1; its log is " in errors
    log = Path(errors.split("its log is ")[-1].strip())
    assert log.parent == stack.directory / "demo" / "logs"
    assert log.read_text(encoding="utf-8").splitlines()[-1] in errors


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []


@pytest.mark.long
@pytest.mark.exclusive
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_terminated_demo_ends_its_workers(stack: LocalStack, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DEMO, str(stack.directory)],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
        text=True,
    )

    def workers() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children()
        return [each for each in children if "local_stack.demo.worker" in command_line(each)]

    wait_until(lambda: bool(workers()) and stack.server.is_running(), "a worker and the database run")
    started = workers()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in errors
    assert [each for each in started if each.is_running()] == []


def test_an_ended_demo_starts_no_command(tmp_path: Path) -> None:
    with Command({}) as command:
        pass
    with pytest.raises(WorkerEndedError):
        command.run_dag(DEMO_RUNS[0], tmp_path / "log")


def test_a_port_in_use_is_reported_before_the_page_is_deleted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PORT_OFFSET, str(free_offset(tmp_path)))
    stack = LocalStack(tmp_path)
    page = tmp_path / "demo" / "index.html"
    page.parent.mkdir()
    page.write_text("the last demo")
    with (
        socket.create_server(("127.0.0.1", stack.ports.http)),
        pytest.raises(BatchError, match=f"Port {stack.ports.http} "),
    ):
        demo(stack)
    assert page.read_text() == "the last demo"
    assert not stack.server.is_running()
