"""The board's FastAPI app, which Airflow's API server mounts at ``/skill-batch-board``.

Every route needs Airflow's login, even the style sheet.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException, Request, Response, status
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Receive, Scope, Send

from skill_batch.board.access import AccessRefusal, Rights, signed_in
from skill_batch.board.airflow_api import AIRFLOW_APP, AirflowRefusedError
from skill_batch.board.at_once import RequestsAtOnce
from skill_batch.board.bodies import UnreadBodies
from skill_batch.board.database import BoardDatabase, BoardUnavailableError
from skill_batch.board.pages import (
    accounting,
    batches,
    contracts,
    documents,
    durations,
    findings,
    help,
    invoice,
    invoices,
    messages,
    operations,
    overview,
    receivables,
    run,
    search,
    tenant,
    tenants,
    transfers,
    uploads,
)
from skill_batch.board.rendering import Language, language_of, render, translator
from skill_batch.board.served_files import file_of
from skill_batch.board.store_access import ArchivedFileError

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"

_FIELDS = {
    "q": "検索",
    "month": "対象月",
    "state": "状態",
    "date_from": "日付（から）",
    "date_to": "日付（まで）",
    "amount_from": "円の金額（から）",
    "amount_to": "円の金額（まで）",
    "counterparty": "取引先（名前の一部）",
    "number": "番号（前方一致）",
    "kind": "種別",
    "age": "期限",
    "doubt": "理由",
    "payer": "テナントか名義の一部",
}


class BoardApp(FastAPI):
    """Passes Airflow's app, in which it is mounted, to ``AirflowApi``."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        scope[AIRFLOW_APP] = scope.get("app")
        await super().__call__(scope, receive, send)


def create_app() -> FastAPI:
    """A new app with its own pool of connections."""
    app = BoardApp(
        title="batch board",
        version=version("fastapi"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(signed_in)],
    )
    app.state.database = BoardDatabase()
    app.state.unread_bodies = UnreadBodies()
    app.add_middleware(RequestsAtOnce)
    app.add_exception_handler(BoardUnavailableError, _unavailable)
    app.add_exception_handler(AirflowRefusedError, _refused)
    app.add_exception_handler(ArchivedFileError, _unreadable)
    app.add_exception_handler(StarletteHTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)
    for page in (
        overview,
        run,
        operations,
        batches,
        durations,
        tenants,
        # Comes before the tenant's page, whose address may have any ending.
        contracts,
        tenant,
        invoices,
        invoice,
        documents,
        accounting,
        receivables,
        transfers,
        uploads,
        messages,
        findings,
        search,
        help,
    ):
        app.include_router(page.router)
    app.add_api_route("/static/{name}", _static, methods=["GET"])
    # Without a login, every address answers 401.
    app.add_api_route("/{path:path}", _no_such_page, methods=["GET", "POST"])
    return app


def _static(name: str) -> Response:
    return file_of(_STATIC, name, cached_seconds=3600)


def _no_such_page() -> Response:
    raise HTTPException(status.HTTP_404_NOT_FOUND)


def _rights_of(request: Request) -> Rights | None:
    rights = getattr(request.state, "board_rights", None)
    return rights if isinstance(rights, Rights) else None


def _problem(
    request: Request, code: int, title: str, detail: str, *, lang: Language | None = None
) -> Response:
    """An error page. ``lang``: the detail's language, if it is not the reader's."""
    template = "problem_fragment.html" if request.headers.get("HX-Request") == "true" else "problem.html"
    return render(request, _rights_of(request), template, code, title=title, detail=detail, lang=lang)


def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("The board cannot read its database: %s", error)
    return _problem(
        request, status.HTTP_503_SERVICE_UNAVAILABLE, "ボードのデータを読めません", str(error), lang="ja"
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AirflowRefusedError)
    return _problem(request, error.status, "Airflow が受け付けませんでした", str(error))


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, ArchivedFileError)
    return _problem(request, error.status, "ファイルの処理に失敗しました", str(error), lang="ja")


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    titles = {401: "ログインしてください", 403: "権限がありません", 404: "見つかりません"}
    title, detail = titles.get(error.status_code, "処理できません"), error.detail
    if isinstance(detail, AccessRefusal):
        detail = detail.shown(translator(language_of(request)))
    elif error.status_code == status.HTTP_404_NOT_FOUND:
        detail = ""
    answer = _problem(request, error.status_code, title, detail)
    answer.headers.update(error.headers or {})
    return answer


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    translate = translator(language_of(request))
    names = [str(each["loc"][-1]) for each in error.errors()]
    fields = "、".join(dict.fromkeys(translate(_FIELDS.get(name, name)) for name in names))
    return _problem(request, status.HTTP_400_BAD_REQUEST, "値が正しくありません", fields)


def _broken(request: Request, error: Exception) -> Response:
    log.exception("The board failed at %s", request.url.path, exc_info=error)
    return _problem(
        request,
        status.HTTP_500_INTERNAL_SERVER_ERROR,
        "ボードの処理に失敗しました",
        translator(language_of(request))("API サーバーのログに原因があります。"),
    )
