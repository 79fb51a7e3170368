"""Airflow's four processes on this machine: API server, scheduler, DAG processor, triggerer.

They start as in ``airflow standalone``, but without the log servers of scheduler and triggerer, which listen on all interfaces. The API
server reads the log files itself.
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
    """Start all four; they write to ``log``. They share a process group, whose id is the process id of the first."""
    processes: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as output, ExitStack() as on_failure:
        for command in _COMMANDS:
            # With their own group, Ctrl-C reaches only the parent, and one signal reaches them and their children.
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
    """End a process group of Airflow, for example after a killed `make up`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        # Check the command line, because the system may have reused the id. A zombie has none.
        members = [
            process
            for process in psutil.process_iter(["pid", "cmdline"])
            if "airflow" in " ".join(process.info["cmdline"] or []) and _group_of(process.pid) == group
        ]
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        psutil.wait_procs(members, timeout=_END_SECONDS)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
