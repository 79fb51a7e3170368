"""The signed-in user of Airflow's API server, and what its auth manager allows this user. Only the board imports this module."""

from __future__ import annotations

from typing import Annotated, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from fastapi import Depends

# The cookie with the token of Airflow's login.
TOKEN_COOKIE = COOKIE_NAME_JWT_TOKEN

# The parameter of a route with the user. FastAPI answers 401 without a valid login.
SignedInUser = Annotated[BaseUser, Depends(get_user)]

Method = Literal["GET", "POST", "PUT"]
Entity = Literal["RUN", "TASK_INSTANCE"]


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
