"""The help: the documentation site, which ``make docs`` builds and the wheel contains."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, HTTPException, Response, status
from fastapi.responses import FileResponse

from skill_batch.board.rendering import HEADERS
from skill_batch.notifiers import run_links

router = APIRouter()

# The site's search has its style sheet in a script, so inline styles are allowed. Scripts come only from the site's files.
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
    # A path may leave the folder, or be too long.
    with suppress(OSError):
        if file.is_relative_to(site) and file.suffix in _TYPES and file.is_file():
            return FileResponse(file, media_type=_TYPES[file.suffix], headers=_HEADERS)
    raise HTTPException(status.HTTP_404_NOT_FOUND)
