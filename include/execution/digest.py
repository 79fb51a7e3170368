"""What the operators read after a run, and what all batches' words for it have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")

# What is spelled out in a digest, one by one; the rest is a count.
LISTED = 10


@dataclass(frozen=True)
class Digest:
    """``lines``, a title first; without any nothing is sent. What is critical goes out by mail too."""

    lines: Sequence[str] = ()
    is_critical: bool = False


def listed(things: Sequence[_T], line: Callable[[_T], str], rest: str, most: int = LISTED) -> Iterator[str]:
    """A line for each of the first, and one for all others: ``rest``, words of ours with braces where their number stands."""
    yield from map(line, things[:most])
    if len(things) > most:
        yield rest.format(len(things) - most)


def one_line(text: str) -> str:
    """A name that is a tenant's own: a line break in it must not make a line of its own."""
    return " ".join(text.split())
