"""The templates that the pictures of docs/images show, and those that have changed since ``make pictures`` made the pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, meta

from tests.airflow_installation import PROJECT

IMAGES = PROJECT / "docs" / "images"

_BOARD = PROJECT / "plugins" / "skill_batch" / "board"
_STYLE = _BOARD / "static" / "board.css"
_DEMO = PROJECT / "local_stack" / "demo" / "page.html.jinja"

# The templates of the pages and dialogs in each picture.
PICTURES: Mapping[str, Sequence[Path]] = {
    "overview.png": (_BOARD / "templates" / "overview.html", _DEMO),
    "board-last-night.png": (_BOARD / "templates" / "overview.html",),
    "board-clear.png": (_BOARD / "templates" / "overview.html", _BOARD / "templates" / "clear_dialog.html"),
}

_RECORD = IMAGES / "templates.json"


def write_record() -> None:
    """Record the templates from which the pictures were made just now."""
    record = {picture: digests(picture) for picture in PICTURES}
    _RECORD.write_text(f"{json.dumps(record, indent=1, sort_keys=True)}\n", encoding="utf-8")


def changes() -> Mapping[str, Sequence[str]]:
    """The templates and the style sheet that have changed since, by picture."""
    record = json.loads(_RECORD.read_text(encoding="utf-8"))
    found = {
        picture: sorted({name for name, _ in record.get(picture, {}).items() ^ digests(picture).items()})
        for picture in PICTURES
    }
    return {picture: names for picture, names in found.items() if names}


def digests(picture: str) -> Mapping[str, str]:
    """The SHA-256 of the style sheet, the templates, and what these extend, import and include, by path in the project."""
    files = {_STYLE, *(each for template in PICTURES[picture] for each in _closure(template))}
    return {
        file.relative_to(PROJECT).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def _closure(template: Path) -> Iterator[Path]:
    waiting, seen = [template], {template}
    while waiting:
        file = waiting.pop()
        yield file
        parsed = Environment(autoescape=True).parse(file.read_text(encoding="utf-8"))
        for name in meta.find_referenced_templates(parsed):
            assert name, f"{file}: the name of a template must not be computed"
            if (found := file.with_name(name)) not in seen:
                seen.add(found)
                waiting.append(found)
