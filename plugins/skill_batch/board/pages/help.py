"""The help: the documentation site, which ``make docs`` builds and the wheel contains."""

from __future__ import annotations

from fastapi import APIRouter, Response

from skill_batch.board.served_files import file_of
from skill_batch.notifiers import run_links

router = APIRouter()


@router.get("/help/{page:path}")
def show(page: str) -> Response:
    """A file of the site. :raises HTTPException: 404, the site does not have it, or is not built."""
    # The site's search has its style sheet in a script, so inline styles are allowed. Scripts come only from the site's files.
    return file_of(run_links.SITE, page or "index.html", cached_seconds=600, styles="'self' 'unsafe-inline'")
