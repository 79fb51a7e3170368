"""The help: the site of the documentation, which ``make docs`` builds and the wheel contains."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response, status
from fastapi.responses import FileResponse

from skill_batch.board.rendering import HEADERS
from skill_batch.notifiers import run_links

router = APIRouter()

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".ts": "text/plain",
    ".txt": "text/plain",
}


@router.get("/help/{page:path}")
def show(page: str) -> Response:
    """A file of the site. :raises HTTPException: 404, the site does not have it, or is not built."""
    site = run_links.SITE.resolve()
    file = (site / (page or "index.html")).resolve()
    # A path may lead out of the folder.
    if not file.is_relative_to(site) or file.suffix not in _TYPES or not file.is_file():
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    # The search is a worker of the site, which the default of script-src permits.
    return FileResponse(
        file, media_type=_TYPES[file.suffix], headers={**HEADERS, "Cache-Control": "private, max-age=600"}
    )
