"""The help: the site of the documentation, which ``make docs`` builds and the wheel contains."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, HTTPException, Response, status
from fastapi.responses import FileResponse

from skill_batch.board.rendering import HEADERS
from skill_batch.notifiers import run_links

router = APIRouter()

# The search of the site has its style sheet in a script, so styles inside a page are permitted. Scripts come only from files of the site.
_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    ),
    "Cache-Control": "private, max-age=600",
}

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
    # A path may lead out of the folder, or be longer than a path can be.
    with suppress(OSError):
        if file.is_relative_to(site) and file.suffix in _TYPES and file.is_file():
            return FileResponse(file, media_type=_TYPES[file.suffix], headers=_HEADERS)
    raise HTTPException(status.HTTP_404_NOT_FOUND)
