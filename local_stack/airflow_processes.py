"""Airflow's four processes on this machine: API server, scheduler, DAG processor, triggerer.

As ``airflow standalone`` starts them, but for the log servers of scheduler and triggerer: those listen on every interface, and here all
logs are files that the API server reads itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

_COMMANDS = (
    ("api-server",),
    ("scheduler", "--skip-serve-logs"),
    ("dag-processor",),
    ("triggerer", "--skip-serve-logs"),
)
_END_SECONDS = 15


def start_airflow(environment: Mapping[str, str], log: Path) -> list[subprocess.Popen[bytes]]:
    """Start all four; they write to ``log``. The first one's process id is the id of the process group that they share."""
    processes: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as output, ExitStack() as on_failure:
        for command in _COMMANDS:
            # A group of their own: Ctrl-C reaches who started them, and one signal reaches them and their children.
            group = processes[0].pid if processes else 0
            processes.append(
                subprocess.Popen(
                    ["airflow", *command],
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    process_group=group,
                )
            )
            on_failure.callback(processes[-1].kill)
        on_failure.pop_all()
    return processes


def end_airflow(group: int) -> None:
    """End a process group of Airflow's, also one that a killed `make up` has left behind."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        # The number may belong to somebody else by now, and a zombie has no command line.
        members = [
            process
            for process in psutil.process_iter(["pid", "cmdline"])
            if "airflow" in " ".join(process.info["cmdline"] or []) and _group_of(process.pid) == group
        ]
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(ending)
        psutil.wait_procs(members, timeout=_END_SECONDS)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
