"""The SQL statements of modules that the scheduler and the triggerer import without ``include``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString


def _blocks() -> Iterator[tuple[str, LiteralString]]:
    for file in (Path(__file__).parent / "sql").glob("*.sql"):
        for block in file.read_text(encoding="utf-8").split("-- name: ")[1:]:
            name, _, statement = block.partition("\n")
            yield name, statement


# By name, from files in the format that include/skillreport/core/database.py describes.
SQL = dict(_blocks())
