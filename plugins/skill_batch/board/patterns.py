"""Patterns of LIKE for texts that a user searches."""

from __future__ import annotations

import re

_WILDCARDS = re.compile(r"[\\%_]")


def beginning_with(text: str) -> str | None:
    """The pattern of texts that begin with this one; None for an empty text."""
    return f"{_literal(text)}%" if text else None


def containing(text: str) -> str | None:
    """The pattern of texts that contain this one; None for an empty text."""
    return f"%{_literal(text)}%" if text else None


def _literal(text: str) -> str:
    return _WILDCARDS.sub(r"\\\g<0>", text)
