"""LIKE patterns for search texts."""

from __future__ import annotations

import re

_WILDCARDS = re.compile(r"[\\%_]")


def beginning_with(text: str) -> str | None:
    """The pattern for texts that begin with this one; None for an empty text."""
    return _WILDCARDS.sub(r"\\\g<0>", text) + "%" if text else None
