"""The signed-in user of Airflow's API server. Only the board imports this module."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from airflow.models.log import Log
from airflow.utils.session import create_session
from fastapi import Depends

TOKEN_COOKIE = COOKIE_NAME_JWT_TOKEN

# The user parameter of a route. FastAPI answers 401 without a valid login.
SignedInUser = Annotated[BaseUser, Depends(get_user)]

# The audit log's names for the API routes that clear tasks.
_CLEARS = ("post_clear_task_instances", "clear_dag_run")

Method = Literal["GET", "POST", "PUT"]
Entity = Literal["RUN", "TASK_INSTANCE"]


def record_in_audit_log(event: str, user: BaseUser, extra: str) -> None:
    """Add a row to Airflow's audit log (Browse, Audit Log)."""
    with create_session() as session:
        session.add(Log(event=event, owner=user.get_name(), owner_display_name=user.get_name(), extra=extra))


def clears_of(runs: Collection[tuple[str, str]]) -> list[tuple[str, str, datetime, str, str]]:
    """The clears of these runs (DAG, run) in the audit log, oldest first: DAG, run, time (aware), user, and the request as JSON.

    Airflow's API shows the log to administrators only, so the caller must check that the user may see the runs.
    """
    columns = (Log.dag_id, Log.run_id, Log.dttm, Log.owner, Log.extra)
    with create_session() as session:
        found = session.query(*columns).filter(
            Log.dag_id.in_({dag_id for dag_id, _ in runs}),
            Log.run_id.in_({run_id for _, run_id in runs}),
            Log.event.in_(_CLEARS),
        )
        rows = found.order_by(Log.dttm).all()
    return [
        (dag_id, run_id, at, owner or "", extra or "{}")
        for dag_id, run_id, at, owner, extra in rows
        if dag_id and run_id and at and (dag_id, run_id) in runs
    ]


def may_see_pages(user: BaseUser) -> bool:
    """True if the user may see Airflow's pages."""
    return get_auth_manager().is_authorized_view(access_view=AccessView.WEBSITE, user=user)


def may_use_dag(user: BaseUser, dag_id: str, method: Method, entity: Entity | None) -> bool:
    """True if the user may read (GET), create (POST) or change (PUT) the DAG's runs or task instances, or the DAG itself (None)."""
    return get_auth_manager().is_authorized_dag(
        method=method,
        access_entity=DagAccessEntity[entity] if entity else None,
        details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
        user=user,
    )
