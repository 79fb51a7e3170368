"""A user's permissions on the board. Airflow's auth manager decides them by the permissions for DAGs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from fastapi import Depends, HTTPException, Request, status

from skill_batch.airflow_private.api_server import Entity, Method, SignedInUser, may_see_pages, may_use_dag
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.run_spec import RunSpec

_SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True)
class AccessRefusal:
    """The reason for rejecting a request: a Japanese text of the board, and its values."""

    text: str
    values: dict[str, Any]

    def shown(self, translate: Callable[..., str]) -> str:
        """The reason in the reader's language."""
        return translate(self.text, **self.values)


def http_error(status_code: int, text: str, **values: Any) -> HTTPException:
    """A rejection with a reason for the reader. Named values replace ``{name}`` in the text."""
    return HTTPException(status_code, AccessRefusal(text, values))


class Rights:
    """The permissions of the signed-in user. The auth manager's answers are cached for the request.

    ``is_granted``: the route has required a permission, and the user has it.
    """

    def __init__(self, user: SignedInUser) -> None:
        self.user = user
        self._answers: dict[tuple[str, Method, Entity | None], bool] = {}
        self.is_granted = False

    @property
    def name(self) -> str:
        """The user's name in Airflow's records."""
        return self.user.get_name()

    def may_read(self, dag_id: str) -> bool:
        """True if the user may see the DAG's runs. Otherwise pages hide the DAG's results."""
        return self._may(dag_id, "GET", "RUN")

    def may_start(self, dag_id: str) -> bool:
        """True if the user may trigger the DAG."""
        return self._may(dag_id, "POST", "RUN")

    def may_clear(self, dag_id: str) -> bool:
        """True if the user may clear task instances of the DAG."""
        return self._may(dag_id, "PUT", "TASK_INSTANCE")

    def may_note(self, dag_id: str) -> bool:
        """True if the user may change the DAG's runs, and so write notes on them."""
        return self._may(dag_id, "PUT", "RUN")

    def may_resume(self, spec: RunSpec) -> bool:
        """True if a dialog may unpause the DAG for the user. Never for a DAG with a schedule, because its missed run would start for
        real.
        """
        return not spec.cron and self._may(spec.dag_id, "PUT", None)

    def require_read(self, dag_id: str) -> None:
        """Check the permission. :raises HTTPException: 403, the user may not see the runs of the DAG."""
        self._require(
            self.may_read(dag_id),
            http_error(status.HTTP_403_FORBIDDEN, "DAG {dag} を見る権限がありません", dag=dag_id),
        )

    def require_start(self, dag_id: str) -> None:
        """Check the permission. :raises HTTPException: 403, the user may not trigger the DAG."""
        self._require(
            self.may_start(dag_id),
            http_error(status.HTTP_403_FORBIDDEN, "DAG {dag} を実行する権限がありません", dag=dag_id),
        )

    def require_clear(self, dag_id: str) -> None:
        """Check the permission. :raises HTTPException: 403, the user may not clear the DAG's tasks."""
        self._require(
            self.may_clear(dag_id),
            http_error(status.HTTP_403_FORBIDDEN, "DAG {dag} のタスクを消去する権限がありません", dag=dag_id),
        )

    def require_note(self, dag_id: str) -> None:
        """Check the permission. :raises HTTPException: 403, the user may not change the DAG's runs."""
        self._require(
            self.may_note(dag_id),
            http_error(status.HTTP_403_FORBIDDEN, "DAG {dag} の実行にメモを書く権限がありません", dag=dag_id),
        )

    def _require(self, is_granted: bool, refusal: HTTPException) -> None:
        if not is_granted:
            raise refusal
        self.is_granted = True

    def _may(self, dag_id: str, method: Method, entity: Entity | None) -> bool:
        key = (dag_id, method, entity)
        if key not in self._answers:
            self._answers[key] = may_use_dag(self.user, dag_id, method, entity)
        return self._answers[key]


def signed_in(request: Request, user: SignedInUser) -> Rights:
    """The user's rights.

    :raises HTTPException: 401 without a valid login; 403 if the user may not see Airflow's pages, or if another site sends a POST; 400 for
        an address with control characters, which PostgreSQL rejects.
    """
    if not may_see_pages(user):
        raise http_error(status.HTTP_403_FORBIDDEN, "Airflow の画面を見る権限がありません")
    if has_control_characters(request.scope["path"]) or has_control_characters(unquote(request.url.query)):
        raise http_error(status.HTTP_400_BAD_REQUEST, "アドレスに使えない文字があります")
    if request.method not in _SAFE_METHODS:
        _require_own_page(request)
    rights = Rights(user)
    request.state.board_rights = rights
    return rights


RightsDep = Annotated[Rights, Depends(signed_in)]


def _may_start(rights: RightsDep, dag_id: str) -> Rights:
    rights.require_start(dag_id)
    return rights


def _may_clear(rights: RightsDep, dag_id: str) -> Rights:
    rights.require_clear(dag_id)
    return rights


def _may_note(rights: RightsDep, dag_id: str) -> Rights:
    rights.require_note(dag_id)
    return rights


# The rights of a user who may trigger the route's DAG, clear its tasks, or write notes on its runs.
MayStart = Annotated[Rights, Depends(_may_start)]
MayClear = Annotated[Rights, Depends(_may_clear)]
MayNote = Annotated[Rights, Depends(_may_note)]


def _require_own_page(request: Request) -> None:
    """Check that a POST comes from a page of the board, not from another site (CSRF).

    htmx sends the header ``HX-Request``, which a form of another site cannot send. Without TLS, browsers omit ``Sec-Fetch-Site``; the
    origin is checked instead.

    :raises HTTPException: 403.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_own = (
        site == "same-origin"
        if site
        else origin is None or urlsplit(origin).netloc == request.headers.get("Host")
    )
    if request.headers.get("HX-Request") != "true" or not is_own:
        raise http_error(status.HTTP_403_FORBIDDEN, "この操作はボードの画面からだけ行えます")
