"""The project's DAGs, and Airflow's API app with the plugin, in the test's own process: once for the session, because they take seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from local_stack.stack import PROJECT

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from anyio.from_thread import BlockingPortal
    from fastapi import FastAPI

# Users by role of Airflow's simple auth manager: a viewer only reads, a user also triggers DAGs, an admin may do everything.
ROLES = ("viewer", "user", "op", "admin")


# Of Airflow's default configuration.
_BUNDLE = "dags-folder"


@pytest.fixture(scope="session")
def dag_bag() -> DagBag:
    """All DAGs, parsed as the DAG processor does, without a database."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags"), bundle_name=_BUNDLE)
    assert bag.import_errors == {}
    return bag


@pytest.fixture(scope="session")
def stored_dags(migrated_metadata: str, dag_bag: DagBag) -> str:
    """The metadata database with all DAGs, as the DAG processor stores them; its SQLAlchemy URL."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(dag_bag, _BUNDLE, None)
    return migrated_metadata


@pytest.fixture(scope="session")
def api_app(
    stored_dags: str,  # noqa: ARG001  # the app works on it
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


@pytest.fixture(scope="session")
def loop() -> Iterator[BlockingPortal]:
    """An event loop in a thread."""
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        yield portal
