"""The signed-in user of Airflow's API server, and what its auth manager allows this user. Only the board imports this module."""

from __future__ import annotations

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

# The cookie with the token of Airflow's login.
TOKEN_COOKIE = COOKIE_NAME_JWT_TOKEN

# The parameter of a route with the user. FastAPI answers 401 without a valid login.
SignedInUser = Annotated[BaseUser, Depends(get_user)]

Method = Literal["GET", "POST", "PUT"]
Entity = Literal["RUN", "TASK_INSTANCE"]


def record_in_audit_log(event: str, user: BaseUser, extra: str) -> None:
    """Add a row to Airflow's audit log (Browse, Audit Log), as its own API does for its routes."""
    with create_session() as session:
        session.add(Log(event=event, owner=user.get_name(), owner_display_name=user.get_name(), extra=extra))


def may_see_pages(user: BaseUser) -> bool:
    """Whether the user may see Airflow's pages."""
    return get_auth_manager().is_authorized_view(access_view=AccessView.WEBSITE, user=user)


def may_use_dag(user: BaseUser, dag_id: str, method: Method, entity: Entity | None) -> bool:
    """Whether the user may read (GET), create (POST) or change (PUT) runs or task instances of the DAG, or the DAG itself (None)."""
    return get_auth_manager().is_authorized_dag(
        method=method,
        access_entity=DagAccessEntity[entity] if entity else None,
        details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
        user=user,
    )
