"""`make up` restarts the processes of Airflow that end, and gives up if one ends repeatedly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from local_stack import __main__, airflow_processes
from local_stack.airflow_processes import AirflowEndedError, SupervisedAirflow, end_supervised, supervisor_of
from tests.airflow_installation import environment_of
from tests.serving import serving
from tests.waiting import wait_until

NAMES = ["api-server", "scheduler", "dag-processor", "triggerer"]

# A stand-in for Airflow's command, which ends as its environment says. As the scheduler it has a worker, and the worker has a task. Airflow
# puts each task into its own process group, and a task may ignore SIGTERM.
PROGRAM = """\
#!{python}
import os, signal, sys, time
print("starting", *sys.argv[1:], flush=True)
if sys.argv[1] == os.environ.get("BROKEN"):
    sys.exit("no database")
if os.fork() == 0:
    worker = os.getpid()
    if os.fork() == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("children", worker, os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH on which ``airflow`` is the stand-in."""
    program = tmp_path / "bin" / "airflow"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_processes, "_RESTART_SECONDS", (0, 0, 0))


def all_live_since(url: str, moment: datetime) -> bool:
    """Whether scheduler, triggerer and DAG processor have sent a heartbeat to this Airflow since then."""
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310
            parts = json.loads(answer.read())
    except (urllib.error.URLError, OSError):
        return False
    beats = [beat for part in parts.values() for name, beat in part.items() if name.endswith("_heartbeat")]
    return len(beats) == 3 and all(beat and datetime.fromisoformat(beat) > moment for beat in beats)


def watch_until(airflow: SupervisedAirflow, condition: Callable[[], bool], expected: str) -> None:
    def watched() -> bool:
        airflow.watch()
        return condition()

    wait_until(watched, expected)


def members(*groups: int) -> list[int]:
    """The processes of these groups that are alive."""
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) in groups and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found


def log_of(folder: Path, name: str) -> str:
    return (folder / f"airflow-{name}.log").read_text()


def children(folder: Path, name: str) -> list[int]:
    """The worker and the task of each start of this process, dead or alive."""
    lines = [line.split() for line in log_of(folder, name).splitlines()]
    return [int(pid) for first, *others in lines if first == "children" for pid in others]


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


@pytest.mark.slow("kills processes")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("killed_children", [0, 1])
def test_only_the_process_that_was_killed_restarts(
    environment: dict[str, str], tmp_path: Path, name: str, killed_children: int
) -> None:
    said: list[str] = []
    with SupervisedAirflow(environment, tmp_path, said.append) as airflow:
        first = airflow.pids
        assert list(first) == NAMES
        wait_until(lambda: len(children(tmp_path, name)) == 2, "it has a worker and a task")
        left = children(tmp_path, name)

        # Without its worker, the task has no parent.
        for pid in [*left[:killed_children], first[name]]:
            os.kill(pid, signal.SIGKILL)
        watch_until(airflow, lambda: bool(said), "the end is noticed")
        assert members(first[name]) == alive(left) == []
        watch_until(airflow, lambda: name in airflow.pids, "it restarts")

        assert [other for other in NAMES if airflow.pids[other] != first[other]] == [name]
        (line,) = said
        assert line.startswith(f"Airflow's {name} ended by signal 9; it restarts in 0 s.")
        wait_until(lambda: len(children(tmp_path, name)) == 4, "it has a worker and a task again")
        pids = airflow.pids
    assert members(*first.values(), *pids.values()) == []
    assert alive([pid for other in NAMES for pid in children(tmp_path, other)]) == []


def test_a_process_that_keeps_ending_ends_all_with_its_log(
    environment: dict[str, str], tmp_path: Path
) -> None:
    said: list[str] = []
    airflow = SupervisedAirflow(environment | {"BROKEN": "triggerer"}, tmp_path, said.append)
    with airflow:
        pids = airflow.pids
        with pytest.raises(AirflowEndedError) as ended:
            watch_until(airflow, lambda: False, "that it raises")

    message = str(ended.value)
    assert message.startswith("Airflow's triggerer has ended 4 times in a row, now with exit code 1.")
    assert message.endswith("no database")
    assert len(said) == 3
    assert log_of(tmp_path, "triggerer").count("starting") == 4
    assert members(*pids.values()) == []


def test_a_process_that_had_started_well_begins_anew(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_processes, "_STABLE_SECONDS", 0)
    said: list[str] = []
    with SupervisedAirflow(environment | {"BROKEN": "triggerer"}, tmp_path, said.append) as airflow:
        watch_until(airflow, lambda: len(said) > 6, "it is restarted every time")


def test_make_up_waits_for_a_busy_machine_and_says_so(
    environment: dict[str, str],
    tmp_path: Path,
    unused_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The stand-in does not listen. After the second message, something does."""
    monkeypatch.setattr(__main__, "_MESSAGE_SECONDS", 1)
    said: list[str] = []
    with SupervisedAirflow(environment, tmp_path, print) as airflow, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(__main__._wait_for_ui, airflow, unused_port)

        def twice() -> bool:
            said.extend(capsys.readouterr().err.splitlines())
            return len(said) >= 2

        wait_until(twice, "it says twice that it waits")
        assert all(
            f"not answer on port {unused_port} yet; waiting. Load of the machine: " in each for each in said
        )
        assert not waiting.done()
        with serving(ThreadingHTTPServer(("localhost", unused_port), _Healthy)):
            waiting.result()


class _Healthy(BaseHTTPRequestHandler):
    """An API server that answers."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def test_the_processes_of_a_killed_supervisor_are_ended(environment: dict[str, str], tmp_path: Path) -> None:
    airflow = SupervisedAirflow(environment, tmp_path, print)
    airflow.__enter__()
    groups = list(airflow.pids.values())
    wait_until(lambda: all(children(tmp_path, name) for name in NAMES), "children")
    # As if a dead supervisor had written it. This process is no supervisor: its command line is that of the tests.
    state = tmp_path / "up.json"
    assert json.loads(state.read_text()) == {"supervisor": os.getpid(), "groups": groups}
    assert supervisor_of(tmp_path) is None

    end_supervised(tmp_path)

    assert members(*groups) == []
    assert alive([pid for name in NAMES for pid in children(tmp_path, name)]) == []
    assert not state.exists()
    end_supervised(tmp_path)


@pytest.mark.parametrize("half", ["", '{"supervisor": 1, "gro', "[]"])
def test_a_state_that_cannot_be_read_is_no_state(tmp_path: Path, half: str) -> None:
    (tmp_path / "up.json").write_text(half)

    assert supervisor_of(tmp_path) is None
    end_supervised(tmp_path)

    assert not (tmp_path / "up.json").exists()


def test_a_killed_write_leaves_the_state_before_it(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with SupervisedAirflow(environment, tmp_path, print) as airflow:
        state = (tmp_path / "up.json").read_text()
        with monkeypatch.context() as patched:
            # The process ends after the bytes are written and before they become the state.
            patched.setattr(Path, "replace", interrupt)
            os.kill(airflow.pids["triggerer"], signal.SIGKILL)
            with pytest.raises(KeyboardInterrupt):
                watch_until(airflow, lambda: False, "that it is killed")
        assert (tmp_path / "up.json").read_text() == state


@pytest.mark.long
@pytest.mark.exclusive
def test_each_killed_process_of_airflow_is_restarted(
    migrated_metadata: str, unused_port: int, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    environment = environment_of(tmp_path / "home", migrated_metadata) | {
        "AIRFLOW__API__PORT": str(unused_port),
        "AIRFLOW__API__BASE_URL": url,
    }

    def restarted(name: str, pid: int) -> bool:
        return airflow.pids.get(name, pid) != pid

    said: list[str] = []
    groups: set[int] = set()
    with SupervisedAirflow(environment, tmp_path, said.append) as airflow:
        for name in NAMES:
            watch_until(airflow, partial(all_live_since, url, datetime.now(UTC)), "all processes live")
            before = airflow.pids
            groups |= set(before.values())
            os.kill(before[name], signal.SIGKILL)
            watch_until(airflow, partial(restarted, name, before[name]), f"{name} restarts")
            assert [other for other in NAMES if airflow.pids[other] != before[other]] == [name]
        watch_until(airflow, partial(all_live_since, url, datetime.now(UTC)), "all processes live")
        groups |= set(airflow.pids.values())
    assert len(said) == len(NAMES)
    assert members(*groups) == []


# A task with a child. Its process ignores SIGTERM, as one in a library's code may.
BUSY_DAG = """\
import signal, subprocess
from airflow.sdk import dag, task

@dag("busy", schedule=None, is_paused_upon_creation=False)
def busy():
    @task
    def sleep():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "600"])
        print("child", child.pid, file=open({file!r}, "w"), flush=True)
        child.wait()
    sleep()

busy()
"""


@pytest.mark.long
@pytest.mark.exclusive
@pytest.mark.parametrize("how", ["killed scheduler", "end of make up"])
def test_a_running_task_ends_with_the_scheduler(
    migrated_metadata: str, unused_port: int, tmp_path: Path, how: str
) -> None:
    started, folder = tmp_path / "started", tmp_path / "dags"
    folder.mkdir()
    (folder / "busy.py").write_text(BUSY_DAG.format(file=str(started)))
    url = f"http://127.0.0.1:{unused_port}"
    environment = environment_of(tmp_path / "home", migrated_metadata) | {
        "AIRFLOW__API__PORT": str(unused_port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }
    for command in (["reserialize"], ["unpause", "-y", "busy"]):
        subprocess.run(["airflow", "dags", *command], env=environment, check=True, capture_output=True)

    said: list[str] = []
    with SupervisedAirflow(environment, tmp_path, said.append) as airflow:
        # A task that starts before the API server answers fails.
        watch_until(airflow, partial(all_live_since, url, datetime.now(UTC)), "all processes live")
        subprocess.run(
            ["airflow", "dags", "trigger", "busy"], env=environment, check=True, capture_output=True
        )
        watch_until(airflow, lambda: started.exists() and started.read_text().endswith("\n"), "it runs")
        child = psutil.Process(int(started.read_text().split()[1]))
        task = child.parent()
        assert task
        assert os.getpgid(task.pid) == task.pid
        if how == "killed scheduler":
            os.kill(airflow.pids["scheduler"], signal.SIGKILL)
            watch_until(airflow, lambda: bool(said), "the end is noticed")
            assert alive([task.pid, child.pid]) == []
    assert alive([task.pid, child.pid]) == []
