"""Airflow's four processes on this machine: API server, scheduler, DAG processor, triggerer.

They start as in ``airflow standalone``, but without the log servers of scheduler and triggerer, which listen on all interfaces. The API
server reads the log files itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

_COMMANDS = (
    ("api-server",),
    ("scheduler", "--skip-serve-logs"),
    ("dag-processor",),
    ("triggerer", "--skip-serve-logs"),
)
_END_SECONDS = 15

# The seconds before an ended process is restarted: the first time, the second time, and so on. After the last one it is not restarted.
_RESTART_SECONDS = (1, 2, 4, 8)

# After this many seconds, a process has started successfully: its next end counts as the first again.
_STABLE_SECONDS = 60

_LAST_LINES = 15


class AirflowEndedError(RuntimeError):
    """A process of Airflow ends repeatedly. The message contains the last lines of its log."""


def start_airflow(environment: Mapping[str, str], log: Path) -> list[subprocess.Popen[bytes]]:
    """Start all four; they write to ``log``. They share a process group, whose id is the process id of the first."""
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as on_failure:
        for command in _COMMANDS:
            processes.append(_start(command, environment, log, processes[0].pid if processes else 0))
            on_failure.callback(processes[-1].kill)
        on_failure.pop_all()
    return processes


def _start(
    command: tuple[str, ...],
    environment: Mapping[str, str],
    log: Path,
    group: int | None = None,
    *,
    new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process in the process group (0: a new one), or in a new session. Ctrl-C in a terminal does not reach it there."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["airflow", *command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            process_group=group,
            start_new_session=new_session,
        )


def end_airflow(group: int) -> None:
    """End a process group of Airflow, its session, and the tasks with their child processes.

    Airflow puts each task into its own process group.
    """
    members, others = _members_of(group)
    # The system may have reused the id for a group of another program. A zombie has no command line.
    if not any("airflow" in " ".join(process.info["cmdline"] or []) for process in [*members, *others]):
        return
    end_group(group)


def end_group(group: int) -> None:
    """End a process group, its session, and their child processes."""
    members, others = _members_of(group)
    _signal(members, signal.SIGTERM)
    _wait_until_gone(members)
    # An ended worker may have left its task, or started another one in the meantime.
    late_members, late_others = _members_of(group)
    # End the workers first: they would report a killed task as failed, as if only the task had been lost.
    left = [*members, *late_members, *others, *late_others]
    _signal(left, signal.SIGKILL)
    _wait_until_gone(left)


def _members_of(group: int) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The processes of this group, the others of its session, and their child processes."""
    processes = list(psutil.process_iter(["cmdline", "ppid"]))
    members = [process for process in processes if _id_of(os.getpgid, process) == group]
    # An orphan is still in the session.
    others = [process for process in processes if _id_of(os.getsid, process) == group]
    related = {process.pid for process in [*members, *others]}
    while new := [
        process
        for process in processes
        if process.pid not in related
        and (process.info["ppid"] in related or _id_of(os.getpgid, process) in related)
    ]:
        others += new
        related |= {process.pid for process in new}
    return members, [process for process in others if process not in members]


def _id_of(ask: Callable[[int], int], process: psutil.Process) -> int | None:
    with suppress(ProcessLookupError):
        return ask(process.pid)
    return None


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # distinguishes a process from a later one with the same id
            process.send_signal(number)


def _wait_until_gone(processes: Sequence[psutil.Process]) -> None:
    """Wait for a limited time. A zombie counts as gone, because some containers have no init process that collects it."""
    deadline = time.monotonic() + _END_SECONDS
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@dataclass
class _Service:
    """One of the four processes, and how often it has ended soon after its start. It has its own session."""

    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ends: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0

    @property
    def name(self) -> str:
        return self.command[0]

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").rstrip().splitlines()[-_LAST_LINES:])


@dataclass
class SupervisedAirflow:
    """Airflow's four processes during the ``with`` block. ``watch`` restarts those that have ended.

    :param folder: contains the log of each process, ``airflow-<name>.log``, and the process groups for ``end_supervised``.
    :param say: tells the user that a process has ended.
    """

    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._services = [
            _Service(command, self.folder / f"airflow-{command[0]}.log") for command in _COMMANDS
        ]

    def __enter__(self) -> Self:
        try:
            for service in self._services:
                self._start(service)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._services:
            if service.process:
                service.process.terminate()  # terminate all at once, because each may take some seconds
        for service in self._services:
            if service.process:
                end_airflow(service.process.pid)
                service.process.wait()
        _state_file(self.folder).unlink(missing_ok=True)

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each process, by its name. A process that waits for its restart has none."""
        return {service.name: service.process.pid for service in self._services if service.process}

    def watch(self) -> None:
        """Restart the processes that have ended, each time after a longer delay.

        :raises AirflowEndedError: a process has ended too often soon after its start.
        """
        for service in self._services:
            if service.process is None:
                if time.monotonic() >= service.restart_at:
                    self._start(service)
            elif (code := service.process.poll()) is not None:
                self._note_end(service, code)

    def _note_end(self, service: _Service, code: int) -> None:
        assert service.process
        # Leftover processes, for example the workers of a killed scheduler, would survive or occupy its port.
        end_airflow(service.process.pid)
        service.process = None
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        lived = time.monotonic() - service.started_at
        service.ends = 1 if lived >= _STABLE_SECONDS else service.ends + 1
        if service.ends > len(_RESTART_SECONDS):
            raise AirflowEndedError(
                f"Airflow's {service.name} has ended {service.ends} times in a row, now {how}. "
                f"The last lines of {service.log}:\n{service.last_lines()}"
            )
        wait = _RESTART_SECONDS[service.ends - 1]
        service.restart_at = time.monotonic() + wait
        self.say(f"Airflow's {service.name} ended {how}; it restarts in {wait} s. Its log: {service.log}")

    def _start(self, service: _Service) -> None:
        # With a separate session, the tasks of an ended worker can still be found.
        service.process = _start(service.command, self.environment, service.log, new_session=True)
        service.started_at = time.monotonic()
        state = {"supervisor": os.getpid(), "groups": list(self.pids.values())}
        # If the process is killed meanwhile, the file does not change.
        written = _state_file(self.folder).with_suffix(".new")
        written.write_text(json.dumps(state))
        written.replace(_state_file(self.folder))


def supervisor_of(folder: Path) -> psutil.Process | None:
    """The process that supervises Airflow in this folder, if it is alive."""
    if (state := _read_state(folder)) is None:
        return None
    try:
        process = psutil.Process(state["supervisor"])
        # The system may have reused the id.
        return process if "local_stack" in process.cmdline() else None
    except psutil.Error:
        return None


def end_supervised(folder: Path) -> None:
    """End the supervisor of this folder and its processes, including leftovers of a killed supervisor."""
    if supervisor := supervisor_of(folder):
        with suppress(psutil.Error):
            supervisor.terminate()
            supervisor.wait(timeout=4 * _END_SECONDS)
    if state := _read_state(folder):
        for group in state["groups"]:
            end_airflow(group)
    _state_file(folder).unlink(missing_ok=True)


def _read_state(folder: Path) -> dict[str, Any] | None:
    """The state that the supervisor has written; None if there is none, or if it cannot be read."""
    try:
        state = json.loads(_state_file(folder).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def _state_file(folder: Path) -> Path:
    return folder / "up.json"
