"""The processes that run the DAGs of the demo: workers that import Airflow once, and a real ``airflow dags test``."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from local_stack.airflow_processes import end_group
from local_stack.demo.runs import DemoRun
from local_stack.stack import PROJECT


class WorkerEndedError(Exception):
    """A worker process ended before it answered."""


class Worker:
    """A process of ``worker.py``. It ends with the ``with`` block, together with what it has started."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local_stack.demo.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=PROJECT,
                env=os.environ | dict(environment),
                # Ctrl-C reaches only this process, which ends the worker.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def run_commands(self, commands: Sequence[Sequence[str]], log: Path) -> int:
        """Run commands of ``airflow`` until one fails; returns the exit code."""
        return self._request(log, commands=commands)

    def run_dag(self, run: DemoRun, log: Path) -> int:
        """Run a DAG as ``airflow dags test`` does; returns the exit code."""
        return self._request(log, dag_id=run.spec.dag_id, date=run.date, form=run.form)

    def write_board(self, file: Path, log: Path) -> int:
        """Write the first page of the operators' board to a file; returns the exit code."""
        return self._request(log, board=str(file))

    def _request(self, log: Path, **values: object) -> int:
        """:raises WorkerEndedError: the process has ended."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests
        assert answers
        try:
            requests.write(json.dumps({"log": str(log), **values}) + "\n")
            requests.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise WorkerEndedError(
                f"A worker process has ended. Its log is {self._log}; the task's log is {log}"
            )
        return int(json.loads(answer)["exit_code"])


class Command:
    """Runs ``airflow dags test``. The command ends with the ``with`` block."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = os.environ | dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._has_ended = False
        self._starting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._has_ended = True
        if self._process:
            _end(self._process)

    def run_dag(self, run: DemoRun, log: Path) -> int:
        """Run the DAG; returns the exit code.

        :raises WorkerEndedError: the ``with`` block has ended.
        """
        with log.open("w") as output, self._starting:
            if self._has_ended:
                raise WorkerEndedError(f"The demo has ended before `{shlex.join(command_of(run))}`.")
            output.write(f"$ {shlex.join(command_of(run))}\n")
            output.flush()
            self._process = subprocess.Popen(
                command_of(run),
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process.wait()


def command_of(run: DemoRun) -> list[str]:
    """The command that does the same run."""
    form = ["--conf", json.dumps(run.form)] if run.form else []
    return ["airflow", "dags", "test", run.spec.dag_id, run.date, *form]


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    end_group(process.pid)  # also what a process that has ended has left
    process.wait()
    pipes: tuple[IO[str] | IO[bytes] | None, ...] = (process.stdin, process.stdout)
    for pipe in pipes:
        if pipe:
            pipe.close()
