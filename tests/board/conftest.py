"""The board inside Airflow's API app, in the test's own process, with users of several roles and the test's database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from local_stack.stack import PROJECT
from tests.conftest import Database
from tests.shared_database import database, shared_copy, shared_database

__all__ = ["api_app", "board", "database", "shared_copy", "shared_database"]

# Users by role of Airflow's simple auth manager: a viewer only reads, a user also triggers DAGs, an admin may do everything.
ROLES = ("viewer", "user", "op", "admin")


@dataclass(frozen=True)
class Board:
    """The board in the browser of one user. ``role`` None: no user is signed in."""

    app: FastAPI
    role: str | None

    def as_role(self, role: str | None) -> Board:
        """The same board for another user, whose name is the role."""
        return Board(self.app, role)

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

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Any request below ``/skill-batch-board``."""
        return self._sent(method, f"/skill-batch-board{path}", **arguments)

    def api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Airflow's REST API as the same user."""
        return self._sent(method, f"/api/v2{path}", **arguments)

    async def sent(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A request below ``/skill-batch-board`` among several at the same time."""
        return await self._send(method, f"/skill-batch-board{path}", **arguments)

    def _sent(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return anyio.run(partial(self._send, method, path, **arguments))

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        cookies = arguments.pop("cookies", {}) | ({"_token": _token(self.role)} if self.role else {})
        # Errors of the app become answers, as in a server. Nothing of Airflow's lifespan starts.
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://testserver", cookies=cookies
        ) as client:
            return await client.request(method, path, **arguments)


def _token(role: str) -> str:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role))


@pytest.fixture(scope="session")
def api_app(
    migrated_metadata: str,  # noqa: ARG001  # the app works on it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FastAPI]:
    """Airflow's API app with the plugin. All DAGs are in its metadata database."""
    environment = {
        "AIRFLOW__API_AUTH__JWT_SECRET": "of the tests: " + "x" * 64,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(
            tmp_path_factory.mktemp("passwords") / "passwords.json"
        ),
        # As in the API server, so that connections come from the environment or the metadata database.
        "_AIRFLOW_PROCESS_CONTEXT": "server",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        from airflow.api_fastapi.app import cached_app, purge_cached_app

        _store_dags()
        purge_cached_app()
        # As airflow.api_fastapi.main calls it. Other arguments make another app.
        yield cached_app(apps="all")
        purge_cached_app()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def board(api_app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch) -> Board:
    """The board of an administrator on the test's database."""
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_BOARD_DB", database.airflow_connection("batch_board"))
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", database.airflow_connection("batch_platform"))
    return Board(api_app, "admin")


def _store_dags() -> None:
    """Store the DAGs like the DAG processor."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(dag_folder=str(PROJECT / "dags"), bundle_name="dags-folder")
    assert bag.import_errors == {}
    sync_bag_to_db(bag, "dags-folder", None)
