"""Airflow's processes on this machine: API server, scheduler, DAG processor, triggerer. `make up` and the tests start them here.

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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER = "api-server", "scheduler", "dag-processor", "triggerer"

# The arguments of ``airflow`` for each process.
COMMANDS: Mapping[str, Sequence[str]] = {
    API_SERVER: (API_SERVER,),
    SCHEDULER: (SCHEDULER, "--skip-serve-logs"),
    DAG_PROCESSOR: (DAG_PROCESSOR,),
    TRIGGERER: (TRIGGERER, "--skip-serve-logs"),
}

_END_SECONDS = 15

# The seconds before an ended process is restarted: the first time, the second time, and so on. After the last one it is not restarted.
_RESTART_SECONDS = (1, 2, 4, 8)

# After this many seconds, a process has started successfully: its next end counts as the first again.
_STABLE_SECONDS = 60

_LAST_LINES = 15


class AirflowEndedError(RuntimeError):
    """A process of Airflow ends repeatedly. The message contains the last lines of its log."""


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
    _kill([*members, *late_members, *others, *late_others])


def _kill(processes: Sequence[psutil.Process]) -> None:
    """The workers come first: they would report a killed task as failed, as if only the task had been lost."""
    _signal(processes, signal.SIGKILL)
    _wait_until_gone(processes)


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
class AirflowProcesses:
    """Airflow's processes by name, each in a session of its own: Ctrl-C in a terminal does not reach it, and its tasks can be found.

    :param folder: contains the log of each process, ``airflow-<name>.log``.
    :param commands: the arguments of ``airflow`` for each process.
    :param environments: further environment variables of a process.
    """

    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    commands: Mapping[str, Sequence[str]] = field(default_factory=lambda: COMMANDS, kw_only=True)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False, kw_only=True)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def log(self, name: str) -> Path:
        """What the process has printed."""
        return self.folder / f"airflow-{name}.log"

    def start(self, name: str) -> None:
        """Start the process; it need not be ready afterwards."""
        with self.log(name).open("ab") as output:
            self.processes[name] = subprocess.Popen(
                ["airflow", *self.commands[name]],
                env={**self.environment, **self.environments.get(name, {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """``kill -9`` the process with all that it has started, as a lost container."""
        process = self.processes.pop(name)
        members, others = _members_of(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also what is being started
        _kill([*members, *others])
        process.wait()

    def kill_all(self) -> None:
        """Kill all processes."""
        for name in list(self.processes):
            self.kill(name)


@dataclass
class _Life:
    """How often a supervised process has ended soon after its start. The times are those of ``time.monotonic``."""

    ends: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0


@dataclass
class SupervisedAirflow(AirflowProcesses):
    """Airflow's processes during the ``with`` block. ``watch`` restarts those that have ended.

    The folder also contains the process groups, for ``end_supervised``.

    :param say: tells the user that a process has ended.
    """

    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._lives = {name: _Life() for name in self.commands}

    def __enter__(self) -> Self:
        try:
            for name in self.commands:
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()  # terminate all at once, because each may take some seconds
        for process in self.processes.values():
            end_airflow(process.pid)
            process.wait()
        _state_file(self.folder).unlink(missing_ok=True)

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each process, by its name. A process that waits for its restart has none."""
        return {name: process.pid for name, process in self.processes.items()}

    def start(self, name: str) -> None:
        """Start the process, and write its process group into the folder."""
        super().start(name)
        self._lives[name].started_at = time.monotonic()
        state = {"supervisor": os.getpid(), "groups": list(self.pids.values())}
        # If the process is killed meanwhile, the file does not change.
        written = _state_file(self.folder).with_suffix(".new")
        written.write_text(json.dumps(state))
        written.replace(_state_file(self.folder))

    def watch(self) -> None:
        """Restart the processes that have ended, each time after a longer delay.

        :raises AirflowEndedError: a process has ended too often soon after its start.
        """
        for name, life in self._lives.items():
            process = self.processes.get(name)
            if process is None:
                if time.monotonic() >= life.restart_at:
                    self.start(name)
            elif (code := process.poll()) is not None:
                self._note_end(name, code)

    def _note_end(self, name: str, code: int) -> None:
        # Leftover processes, for example the workers of a killed scheduler, would survive or occupy its port.
        end_airflow(self.processes[name].pid)
        del self.processes[name]
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        life, log = self._lives[name], self.log(name)
        life.ends = 1 if time.monotonic() - life.started_at >= _STABLE_SECONDS else life.ends + 1
        if life.ends > len(_RESTART_SECONDS):
            last_lines = "\n".join(log.read_text(errors="replace").rstrip().splitlines()[-_LAST_LINES:])
            raise AirflowEndedError(
                f"Airflow's {name} has ended {life.ends} times in a row, now {how}. The last lines of {log}:\n{last_lines}"
            )
        wait = _RESTART_SECONDS[life.ends - 1]
        life.restart_at = time.monotonic() + wait
        self.say(f"Airflow's {name} ended {how}; it restarts in {wait} s. Its log: {log}")


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
