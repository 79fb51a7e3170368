"""The slowest tasks of a run, and the tenants that they worked on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from skill_batch.board.statements import SQL as _SQL

_SLOWEST = 10
_LISTED_TENANTS = 5


@dataclass(frozen=True)
class SlowInstance:
    """A task instance of a run. ``tenants`` are a mapped instance's; a step of the entire run has none."""

    row: Mapping[str, Any]
    tenants: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The task, with the index of a mapped instance."""
        task_id, index = self.row["task_id"], self.row["map_index"]
        return f"{task_id}[{index}]" if index >= 0 else str(task_id)

    @property
    def listed(self) -> Sequence[Mapping[str, Any]]:
        """The tenants that the page names."""
        return self.tenants[:_LISTED_TENANTS]

    @property
    def further(self) -> int:
        """The number of tenants that the page does not name."""
        return max(len(self.tenants) - _LISTED_TENANTS, 0)


def load_slowest(connection: psycopg.Connection[Any], execution_id: str) -> list[SlowInstance]:
    """The slowest task instances of a run, slowest first."""
    instances = _SQL.rows(connection, "slowest_instances", execution_id=execution_id, most=_SLOWEST)
    units: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    shards = [row["map_index"] for row in instances if row["map_index"] >= 0]
    for unit in _SQL.rows(connection, "units_of_shards", execution_id=execution_id, shards=shards):
        units[unit["shard"]].append(unit)
    return [SlowInstance(row, units[row["map_index"]]) for row in instances]
