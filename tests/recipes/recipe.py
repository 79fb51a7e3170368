"""A recipe of docs/develop/recipes.md: its files, its changes of files, and its commands, in the order of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.airflow_installation import PROJECT

PAGE = PROJECT / "docs" / "develop" / "recipes.md"

_RECIPE = re.compile(r"^## (Add .+?)$(.*?)(?=^##? |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r'^(?P<fence>```+)(?P<kind>\w+)(?: title="(?P<path>[^"]+)")?\n(?P<text>.*?)^(?P=fence)$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """A block of a recipe: a new file, a change of a file (``diff``), or commands (``sh``, without a path)."""

    kind: str
    path: str | None
    text: str

    def write(self, copy: Path) -> None:
        """Write the file, or its change, into a copy of the repository. :raises ValueError: it does not fit the copy."""
        assert self.path, "commands are no file"
        file = copy / self.path
        if self.kind == "diff":
            file.write_text(_changed(file.read_text(encoding="utf-8"), self), encoding="utf-8")
        elif file.exists():
            raise ValueError(f"{self.path} exists already")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text, encoding="utf-8")


@dataclass(frozen=True)
class Recipe:
    """The blocks below one heading of the page."""

    title: str
    steps: tuple[Step, ...]


def recipes() -> list[Recipe]:
    """All recipes of the page."""
    return [
        Recipe(title, tuple(Step(block["kind"], block["path"], block["text"]) for block in _blocks(body)))
        for title, body in _RECIPE.findall(_without_headings_in_blocks(PAGE.read_text(encoding="utf-8")))
    ]


def _blocks(body: str) -> Iterator[re.Match[str]]:
    return _BLOCK.finditer(body.replace(_HIDDEN, "#"))


# A comment or a heading inside a block does not end the recipe.
_HIDDEN = "\ue000"


def _without_headings_in_blocks(text: str) -> str:
    return _BLOCK.sub(lambda block: block[0].replace("#", _HIDDEN), text)


def _changed(text: str, step: Step) -> str:
    """The text with a change. The lines of its context and those that it removes follow each other exactly once in the text."""
    lines = step.text.splitlines()
    before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    found = f"\n{text}".count(f"\n{before}\n")
    if found != 1:
        raise ValueError(f"{step.path} has these lines {found} times, not once:\n{before}")
    return f"\n{text}".replace(f"\n{before}\n", f"\n{after}\n")[1:]
