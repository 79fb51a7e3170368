"""Reruns of parts of a run: who, when, and why, from the clears in Airflow's audit log."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from skill_batch.airflow_private.api_server import clears_of
from skill_batch.board.airflow_api import BOARD_NOTE

# A line names this many instances.
_NAMED = 5


@dataclass(frozen=True)
class Rerun:
    """A user's clear of a run at ``at`` (aware). ``instances`` are names; empty: the entire run. ``reason`` is the user's note."""

    at: datetime
    person: str
    instances: Sequence[str]
    reason: str = ""

    @property
    def named(self) -> Sequence[str]:
        """The first instances."""
        return self.instances[:_NAMED]

    @property
    def further(self) -> int:
        """The number of further instances."""
        return len(self.instances) - len(self.named)


def load_reruns(
    runs: Collection[tuple[str, str]], load_instances: Callable[[], Sequence[Mapping[str, Any]]] = tuple
) -> dict[tuple[str, str], list[Rerun]]:
    """The reruns of these runs (DAG, run), oldest first. ``load_instances`` loads the names of one run's instances from Airflow."""
    clears = clears_of(runs)
    instances = load_instances() if clears else ()
    names = {(each["task_id"], each["map_index"]): _name(each) for each in instances}
    names |= {(each["task_id"], None): each["task_display_name"] for each in instances}
    found: dict[tuple[str, str], list[Rerun]] = {}
    for dag_id, run_id, at, person, extra in clears:
        found.setdefault((dag_id, run_id), []).append(_rerun(at, person, extra, names))
    return found


def _rerun(at: datetime, person: str, extra: str, names: Mapping[tuple[str, int | None], str]) -> Rerun:
    try:
        body = json.loads(extra)
    except ValueError:
        body = {}
    tasks = [each if isinstance(each, list) else [each, None] for each in body.get("task_ids") or ()]
    shown = [
        names.get((task, index), f"{task}[{index}]" if index is not None else task) for task, index in tasks
    ]
    note = body.get("note") or ""
    return Rerun(at, person, shown, "" if note == BOARD_NOTE else note)


def _name(instance: Mapping[str, Any]) -> str:
    index = instance["map_index"]
    part = instance["rendered_map_index"] or (index if index >= 0 else "")
    return f"{instance['task_display_name']} {part}".rstrip()
