"""The program of a worker process: it imports Airflow once and does what it reads from standard input, one line of JSON per request.

A request names the file of its log, which gets all that Airflow and the batches write, and has one of:

- ``commands``: commands of ``airflow``, each a list of arguments
- ``dag_id``, ``date`` and ``form``: a run, as ``airflow dags test`` does it
- ``board``: the file for the first page of the operators' board

The answer on standard output is a line of JSON with the exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

STDOUT, STDERR = 1, 2


def main() -> int:
    """Work until standard input ends."""
    answers = os.fdopen(os.dup(STDOUT), "w", encoding="utf-8")
    os.dup2(STDERR, STDOUT)
    import airflow.cli.cli_parser
    import airflow.dag_processing.dagbag  # noqa: F401  # before the first request, while the demo data are loaded

    for line in sys.stdin:
        request = json.loads(line)
        with _logged(Path(request["log"])):
            code = _exit_code(request)
        # A task that ran in this process has left its handler, with which the signal would not end the process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        answers.write(json.dumps({"exit_code": code}) + "\n")
        answers.flush()
    return 0


def _exit_code(request: Mapping[str, Any]) -> int:
    try:
        if commands := request.get("commands"):
            _run_commands(commands)
        elif board := request.get("board"):
            Path(board).write_text(_board_page(), encoding="utf-8")
        else:
            return _run_dag(request["dag_id"], request["date"], request["form"])
    except SystemExit as end:
        print(end.code)
        return 1 if end.code else 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _run_commands(commands: Sequence[Sequence[str]]) -> None:
    from airflow.cli import cli_parser

    parser = cli_parser.get_parser()
    for command in commands:
        arguments = parser.parse_args(command)
        arguments.func(arguments)


def _run_dag(dag_id: str, date: str, form: Mapping[str, Any]) -> int:
    import pendulum
    from airflow.configuration import conf
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag

    moment = pendulum.parse(date)
    assert isinstance(moment, pendulum.DateTime)
    (file,) = Path(conf.get("core", "dags_folder")).rglob(f"{dag_id}.py")
    # Parsed anew: a run writes its parameters into the DAG's own.
    dag = DagBag(dag_folder=file).dags[dag_id]
    # DAG.test would parse and store the DAGs of all bundles first. The demo has just stored them.
    with patch.object(DagBundlesManager, "get_all_dag_bundles", return_value=[]):
        run = dag.test(logical_date=moment, run_conf=dict(form))
    print(f"The DAG run ended: {run.state}")
    return 1 if run.state == "failed" else 0


def _board_page() -> str:
    """The page as a reader without further rights sees it, so without buttons that start something."""
    # As in the API server, so that connections come from the metadata database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "False"
    os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = "viewer:viewer"
    import anyio
    import httpx
    from airflow.api_fastapi.app import cached_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    # As airflow.api_fastapi.main makes it.
    app = cached_app(apps="all")
    viewer = SimpleAuthManagerUser(username="viewer", role="viewer")
    cookies = {"_token": get_auth_manager().generate_jwt(viewer)}

    async def page() -> str:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", cookies=cookies
        ) as client:
            answer = await client.get("/skill-batch-board/")
            return answer.raise_for_status().text

    return anyio.run(page)


@contextmanager
def _logged(log: Path) -> Iterator[None]:
    """Append what this process writes to the log, and that of its child processes too."""
    kept = os.dup(STDOUT), os.dup(STDERR)
    with log.open("ab") as file:
        os.dup2(file.fileno(), STDOUT)
        os.dup2(file.fileno(), STDERR)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for here, there in zip(kept, (STDOUT, STDERR), strict=True):
            os.dup2(here, there)
            os.close(here)


if __name__ == "__main__":
    sys.exit(main())
