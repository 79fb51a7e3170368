"""The digest that operators receive after a run, and functions to format its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")

# A digest lists this many items and counts the rest.
LISTED = 10


@dataclass(frozen=True)
class Digest:
    """The first line is the title. A digest without lines is not sent. A critical digest is also sent by e-mail."""

    lines: Sequence[str] = ()
    is_critical: bool = False


def listed(items: Sequence[_T], line: Callable[[_T], str], rest: str, most: int = LISTED) -> Iterator[str]:
    """One line per item for the first items, and ``rest`` (a format string for a number) for the others."""
    yield from map(line, items[:most])
    if len(items) > most:
        yield rest.format(len(items) - most)


def one_line(text: str) -> str:
    """The text in one line. Names that a tenant chooses may contain line breaks."""
    return " ".join(text.split())
