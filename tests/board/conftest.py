"""The board inside Airflow's API app, in the test's own process, with users of several roles and the test's database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from html import unescape
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from anyio.from_thread import BlockingPortal
from fastapi import FastAPI

from tests.conftest import Database
from tests.worlds.shared_database import database, shared_copy, shared_database

__all__ = ["board", "database", "shared_copy", "shared_database"]


@dataclass(frozen=True)
class Board:
    """The board in the browser of one user. ``role`` None: no user is signed in.

    All requests use the event loop and the threads of ``loop``, as in a server: new ones cost more than a small page.
    """

    app: FastAPI
    loop: BlockingPortal
    role: str | None

    def as_role(self, role: str | None) -> Board:
        """The same board for another user, whose name is the role."""
        return Board(self.app, self.loop, role)

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        """A page below ``/skill-batch-board``."""
        return self._sent("GET", f"/skill-batch-board{path}", **arguments)

    def post(
        self, path: str, fields: dict[str, Any], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The request that htmx sends for a form on a page of the board."""
        own = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
        return self._sent(
            "POST", f"/skill-batch-board{path}", data=fields, headers=own if headers is None else headers
        )

    def press(self, path: str, fields: dict[str, Any]) -> httpx.Response:
        """Press the button of a dialog with these fields, and again when the dialog has shown what they select."""
        first = self.post(path, fields)
        shown = shown_in(first.text)
        return self.post(path, fields | {"shown": shown}) if first.status_code == 422 and shown else first

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Any request below ``/skill-batch-board``."""
        return self._sent(method, f"/skill-batch-board{path}", **arguments)

    def api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Airflow's REST API as the same user."""
        return self._sent(method, f"/api/v2{path}", **arguments)

    @contextmanager
    def living_run(self, dag_id: str, run_id: str) -> Iterator[None]:
        """Airflow has this run of the DAG, and it has not ended."""
        runs = f"/dags/{dag_id}/dagRuns"
        started = self.api("POST", runs, json={"logical_date": None, "dag_run_id": run_id, "conf": {}})
        assert started.status_code == HTTPStatus.OK, started.text
        yield
        self.api("DELETE", f"{runs}/{quote(run_id)}")

    def end_run(self, dag_id: str, run_id: str, state: str = "failed") -> None:
        """The run has ended, as the scheduler records it. The plugin reports a run that is marked as failed by the API."""
        from airflow.models import DagRun
        from airflow.utils.session import create_session

        with create_session() as session:
            ended: dict[Any, Any] = {"state": state, "end_date": datetime.now(UTC)}
            session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).update(ended)

    async def sent(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A request below ``/skill-batch-board`` among several at the same time."""
        return await self._send(method, f"/skill-batch-board{path}", **arguments)

    def _sent(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self.loop.call(partial(self._send, method, path, **arguments))

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        cookies = arguments.pop("cookies", {}) | ({"_token": token(self.role)} if self.role else {})
        # Errors of the app become answers, as in a server. Nothing of Airflow's lifespan starts.
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://testserver", cookies=cookies
        ) as client:
            return await client.request(method, path, **arguments)


def shown_in(dialog: str) -> list[str]:
    """What a dialog shows of the things to work on, as it sends it back."""
    return [unescape(each) for each in re.findall(r'name="shown" value="([^"]*)"', dialog)]


def token(role: str) -> str:
    """The login of a user whose name is the role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role))


@pytest.fixture
def board(
    api_app: FastAPI, loop: BlockingPortal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Board:
    """The board of an administrator on the test's database."""
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_BOARD_DB", database.airflow_connection("batch_board"))
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", database.airflow_connection("batch_platform"))
    return Board(api_app, loop, "admin")
