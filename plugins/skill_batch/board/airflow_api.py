"""Airflow's REST API, called within the API server as the user.

The requests carry the user's token, so Airflow checks permissions and writes its audit log as usual. The calls stay in the process, so
they need no address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio.from_thread
import httpx
from fastapi import Request

from skill_batch.airflow_private.api_server import TOKEN_COOKIE
from include.skillreport.core.operation_catalog import RUN_SPECS

AIRFLOW_APP = "airflow_app"

PAGE_ROWS = 100
_MOST_PAGES = 20
MOST_INSTANCES = _MOST_PAGES * PAGE_ROWS

_MAPPED_TITLES = {spec.mapped_task: spec.mapped_task_name for spec in RUN_SPECS.values()}

# The note that Airflow saves with a run or a cleared task.
BOARD_NOTE = "バッチ運用ボードから"

# The note of a user who works on a failed run. It begins with the name, because Airflow's API does not return the author.
_HANDLED = re.compile("対応中（(.*?)）: (.*)", re.DOTALL)

_CLIENT_ERROR = 400
_NOT_FOUND = 404

# The length of Airflow's columns.
_LONGEST_ID = 250


class AirflowRefusedError(Exception):
    """Airflow rejected the request. ``status`` is the HTTP status; the message is Airflow's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Note:
    """A user's note on a run. ``person`` is empty if the note was written in Airflow's UI."""

    person: str
    text: str


def note_of(run: Mapping[str, Any] | None) -> Note | None:
    """The note of an Airflow run; None without one, or for the board's own note on runs that it starts."""
    content = (run or {}).get("note")
    if not content or content == BOARD_NOTE:
        return None
    handled = _HANDLED.fullmatch(content)
    return Note(*handled.groups()) if handled else Note("", content)


class AirflowApi:
    """The API for one request of the board, for synchronous routes."""

    def __init__(self, request: Request) -> None:
        self._app = request.scope[AIRFLOW_APP]
        token = request.cookies.get(TOKEN_COOKIE)
        self._headers = (
            {"Authorization": request.headers["Authorization"]} if "Authorization" in request.headers else {}
        )
        self._cookies = {TOKEN_COOKIE: token} if token else {}

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """The DAG run; None if Airflow does not have it (any more)."""
        return self._found("/dags/{}/dagRuns/{}", dag_id, run_id)

    def runs(self, states: Sequence[str], since: datetime) -> list[dict[str, Any]]:
        """The newest runs in these states that were due after ``since`` (aware), of readable DAGs; at most 2,000."""
        criteria = {"state": list(states), "run_after_gte": since.isoformat(), "order_by": "-run_after"}
        return self._pages("dag_runs", criteria, "/dags/~/dagRuns")

    def living_runs(self, dag_id: str) -> frozenset[str]:
        """The ids of the DAG's unfinished runs; at most 2,000."""
        criteria = {"state": ["queued", "running"]}
        found = self._pages("dag_runs", criteria, "/dags/{}/dagRuns", dag_id)
        return frozenset(run["dag_run_id"] for run in found)

    def task_instances(self, dag_id: str, run_id: str, states: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """The run's task instances in these states (default: all); at most 2,000."""
        criteria = {"state": list(states)}
        path = "/dags/{}/dagRuns/{}/taskInstances"
        return _with_titles(self._pages("task_instances", criteria, path, dag_id, run_id))

    def start(self, dag_id: str, conf: Mapping[str, Any]) -> dict[str, Any]:
        """Trigger the DAG with this form. :returns: the DAG run. :raises AirflowRefusedError: Airflow rejects it."""
        return self._call(
            "POST",
            "/dags/{}/dagRuns",
            dag_id,
            json={"logical_date": None, "conf": dict(conf), "note": BOARD_NOTE},
        )

    def handle(self, dag_id: str, run_id: str, person: str, text: str) -> None:
        """Write the user's note on the run; an empty text deletes it. :raises AirflowRefusedError: Airflow rejects it."""
        self._call(
            "PATCH",
            "/dags/{}/dagRuns/{}",
            dag_id,
            run_id,
            params={"update_mask": "note"},
            json={"note": f"対応中（{person}）: {text}" if text else ""},
        )

    def clear(
        self,
        dag_id: str,
        run_id: str,
        instances: Sequence[Mapping[str, Any]],
        *,
        is_only_asked: bool = False,
    ) -> list[dict[str, Any]]:
        """Clear these task instances and their downstream instances, or only return what would be cleared.

        :returns: the cleared instances. :raises AirflowRefusedError: Airflow rejects it.
        """
        task_ids = [
            [each["task_id"], each["map_index"]] if each["map_index"] >= 0 else each["task_id"]
            for each in instances
        ]
        answer = self._call(
            "POST",
            "/dags/{}/clearTaskInstances",
            dag_id,
            json={
                "dry_run": is_only_asked,
                "dag_run_id": run_id,
                "task_ids": task_ids,
                "include_downstream": True,
                "only_failed": False,
                "reset_dag_runs": True,
                **({} if is_only_asked else {"note": BOARD_NOTE}),
            },
        )
        return _with_titles(answer["task_instances"])

    def is_paused(self, dag_id: str) -> bool:
        """True if the DAG is paused, so that its runs wait."""
        dag = self._found("/dags/{}", dag_id)
        return bool(dag and dag["is_paused"])

    def paused(self) -> frozenset[str]:
        """The ids of the paused DAGs that the user may read; at most 2,000."""
        return frozenset(dag["dag_id"] for dag in self._pages("dags", {"paused": True}, "/dags"))

    def resume(self, dag_id: str) -> None:
        """Unpause the DAG. :raises AirflowRefusedError: Airflow rejects it."""
        self._call("PATCH", "/dags/{}", dag_id, json={"is_paused": False})

    def has_scheduler(self) -> bool:
        """True if an Airflow scheduler is alive."""
        return bool(self._call("GET", "/monitor/health")["scheduler"]["status"] == "healthy")

    def _found(self, path: str, *ids: str) -> dict[str, Any] | None:
        try:
            return self._call("GET", path, *ids)
        except AirflowRefusedError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def _pages(self, key: str, criteria: Mapping[str, Any], path: str, *ids: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(_MOST_PAGES):
            window = {"limit": PAGE_ROWS, "offset": page * PAGE_ROWS}
            answer = self._call("GET", path, *ids, params={**criteria, **window})
            found += answer[key]
            if len(found) >= answer["total_entries"]:
                break
        return found

    def _call(self, method: str, path: str, *ids: str, **arguments: Any) -> dict[str, Any]:
        """Call the API. ``ids`` replace the ``{}`` in the path. :raises AirflowRefusedError: 404 for a text that cannot be an id."""
        address = path.format(*map(_segment, ids))
        answer = anyio.from_thread.run(partial(self._send, method, address, **arguments))
        if answer.status_code >= _CLIENT_ERROR:
            raise AirflowRefusedError(answer.status_code, _message(answer))
        result: dict[str, Any] = answer.json()
        return result

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport,
            base_url="http://localhost/api/v2",
            headers=self._headers,
            cookies=self._cookies,
        ) as client:
            return await client.request(method, path, **arguments)


def _with_titles(instances: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The instances with the titles of their tasks. Airflow knows the title of a mapped task's first instance only."""
    return [
        {
            **each,
            "task_display_name": _MAPPED_TITLES.get(
                each["task_id"].rpartition(".")[2], each["task_display_name"]
            ),
        }
        for each in instances
    ]


def _segment(text: str) -> str:
    """The id as one segment of a path, also ``..``. :raises AirflowRefusedError: 404, the path would name something else."""
    # To Airflow, "~" means all DAGs or runs.
    if text in ("", "~") or "/" in text or len(text) > _LONGEST_ID:
        raise AirflowRefusedError(_NOT_FOUND, f"Airflow has nothing with the id {text[:_LONGEST_ID]!r}")
    return quote(text, safe="").replace(".", "%2E")


def _message(answer: httpx.Response) -> str:
    try:
        detail = answer.json().get("detail", answer.text)
    except ValueError:
        detail = answer.text
    return str(detail)[:500]
