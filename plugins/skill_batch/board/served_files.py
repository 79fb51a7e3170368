"""Files of a folder as responses: the board's style sheet and script, and its help."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fastapi import HTTPException, Response, status
from fastapi.responses import FileResponse

from skill_batch.board.rendering import HEADERS

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
    ".txt": "text/plain",
}


def file_of(folder: Path, path: str, *, cached_seconds: int, styles: str = "'self'") -> Response:
    """A file of the folder. ``styles``: the sources of styles that its policy allows.

    :raises HTTPException: 404, the folder does not have the file, or not in a type that is served.
    """
    folder = folder.resolve()
    # A path may leave the folder, or be too long.
    with suppress(OSError):
        file = (folder / path).resolve()
        if file.is_relative_to(folder) and file.suffix in _TYPES and file.is_file():
            policy = HEADERS["Content-Security-Policy"].replace("style-src 'self'", f"style-src {styles}")
            headers = HEADERS | {
                "Content-Security-Policy": policy,
                "Cache-Control": f"private, max-age={cached_seconds}",
            }
            return FileResponse(file, media_type=_TYPES[file.suffix], headers=headers)
    raise HTTPException(status.HTTP_404_NOT_FOUND)
