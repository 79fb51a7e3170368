"""The commands behind the Makefile: ``python -m local_stack env|env-own|demo|up|down|db-start|db-stop|db-reset|psql``."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

import psycopg

from include.skillreport.core.errors import BatchError, reason_of
from include.skillreport.core.execution.program_login import program_login
from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.airflow_processes import AirflowEndedError, SupervisedAirflow, end_supervised, supervisor_of
from local_stack.demo.command import demo
from local_stack.own_database import OwnDatabase
from local_stack.ports import require_free, require_openable
from local_stack.postgres_server import EmbeddedPostgres, EmbeddedPostgresError
from local_stack.stack import DEMO_SETTINGS, SAMPLE_USERS, LocalStack

# A busy machine may need minutes for the start of Airflow. A message appears each time after so many seconds.
_MESSAGE_SECONDS = 30


def env(stack: LocalStack) -> int:
    """Prepare everything and print the exports for a shell: ``eval "$(make -s env)"``."""
    with _prepared(stack):
        for name, value in stack.environment().items():
            print(f"export {name}={shlex.quote(value)}")
    print("unset PYTHONDONTWRITEBYTECODE")  # with byte code Airflow starts in half the time
    return 0


def env_own(stack: LocalStack) -> int:
    """The same for the database of SKILL_BATCH_ADMIN_DSN, which has the application's schema: without the demo's settings and data."""
    return env(OwnDatabase(stack.directory))


def up(stack: LocalStack) -> int:
    """Run Airflow (scheduler, API server, triggerer, DAG processor) and the stand-ins until Ctrl-C or ``make down``."""
    if other := supervisor_of(stack.directory):
        raise BatchError(
            f"`make up` already runs in this checkout (process {other.pid}); `make down` ends it."
        )
    require_openable(stack.ports.ui)
    end_supervised(stack.directory)  # what a killed `make up` has left
    with _prepared(stack):
        return _run_airflow(stack)


def _run_airflow(stack: LocalStack) -> int:
    port = stack.ports.ui
    require_free({"Airflow's UI (API server)": port})
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with (
            stack.stand_ins() as stand_ins,
            SupervisedAirflow(
                os.environ | stack.environment() | stack.sample_users(), stack.directory, _say
            ) as airflow,
        ):
            _wait_for_ui(airflow, port)
            # Airflow's login returns to the page that was asked for.
            _say(f"the operators' board: http://localhost:{port}/plugin/skill-batch-board")
            _say(f"Airflow: http://localhost:{port}/   what arrived: {stand_ins.page_url}")
            _say(
                f"sign in as {' or '.join(SAMPLE_USERS)}; the password is the name (two people, for what a second person approves)"
            )
            _say(f"logs: {stack.directory}/airflow-*.log   Ctrl-C (or `make down` elsewhere) ends it")
            while True:
                time.sleep(1)
                airflow.watch()
    except KeyboardInterrupt:
        return 0


def down(stack: LocalStack) -> int:
    """End what ``make up`` runs, and the database."""
    end_supervised(stack.directory)
    stack.server.stop()
    return 0


def db_start(stack: LocalStack) -> int:
    """Start the embedded database."""
    stack.start_database()
    return 0


def db_stop(stack: LocalStack) -> int:
    """Stop the embedded database and keep its data."""
    stack.server.stop()
    return 0


def db_reset(stack: LocalStack) -> int:
    """Delete the embedded database, including Airflow's metadata, and the messages and files of its batches."""
    stack.reset()
    return 0


def psql(stack: LocalStack) -> int:
    """Open the skill report database."""
    stack.start_database()
    with program_login(stack.admin_dsn()) as login:
        command = [str(EmbeddedPostgres.binary("psql")), login.conninfo]
        return subprocess.run(
            command, env=os.environ | login.environment, pass_fds=login.files, check=False
        ).returncode


COMMANDS = {
    "env": env,
    "env-own": env_own,
    "demo": demo,
    "up": up,
    "down": down,
    "db-start": db_start,
    "db-stop": db_stop,
    "db-reset": db_reset,
    "psql": psql,
}


@contextmanager
def _prepared(stack: LocalStack) -> Iterator[None]:
    """The databases and Airflow's metadata. During the block no other command moves or deletes them."""
    stack.directory.mkdir(exist_ok=True)
    _say("database")
    stack.start_database()
    with stack.in_use():
        _say("the skill report database")
        stack.deploy()
        _say("Airflow's metadata")
        stack.prepare_airflow()
        yield


def _wait_for_ui(airflow: SupervisedAirflow, port: int) -> None:
    """Wait while the processes live, however busy the machine is. :raises AirflowEndedError: one of them ends repeatedly."""
    seconds = 0
    while True:
        airflow.watch()
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/api/v2/monitor/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
        seconds += 1
        if seconds % _MESSAGE_SECONDS == 0:
            _say(
                f"Airflow's API server is alive and does not answer on port {port} yet; waiting. "
                f"Load of the machine: {os.getloadavg()[0]:.0f} on {os.cpu_count()} processors. Ctrl-C ends it"
            )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    # Uses standard error, because `make env` prints exports to standard output.
    print(f"» {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a character, such as EUC-JP
    command = COMMANDS[parser.parse_args().command]
    if command is not env_own:
        # For this process; Airflow's processes get the variable from the environment of the stack.
        os.environ[SETTINGS_VARIABLE] = str(DEMO_SETTINGS)
    try:
        return command(LocalStack())
    except (AirflowEndedError, BatchError, EmbeddedPostgresError, psycopg.Error) as error:
        _say(reason_of(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
