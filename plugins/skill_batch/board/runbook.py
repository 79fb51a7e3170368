"""The instructions for a failed batch: the section 障害対応 of its DAG's documentation in Airflow."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from skill_batch.board.airflow_api import AirflowApi, AirflowRefusedError

_SECTION = re.compile(r"^### 障害対応\s*$(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"\*\*(.+?)\*\*[:：]\s*(.*)")
_MARKS = re.compile(r"\*\*|(?<!\w)\*|\*(?!\w)|`")

_KEPT_SECONDS = 600.0


@dataclass(frozen=True)
class Step:
    """One item of a runbook, for example 再実行. ``cases`` are the items below it, one for each reason of a failure."""

    title: str
    text: str
    cases: tuple[str, ...] = ()


class Runbooks:
    """The runbooks, cached for ten minutes in this process. Request only DAGs that the user may read."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, tuple[Step, ...]]] = {}

    def steps(self, dag_id: str, api: AirflowApi) -> tuple[Step, ...]:
        """The items of the DAG's runbook; empty if Airflow does not have the DAG."""
        kept = self._kept.get(dag_id)
        if kept and time.monotonic() - kept[0] < _KEPT_SECONDS:
            return kept[1]
        try:
            dag = api.dag(dag_id) or {}
        except AirflowRefusedError:
            return ()
        steps = parse_steps(str(dag.get("doc_md") or ""))
        self._kept[dag_id] = (time.monotonic(), steps)
        return steps


def parse_steps(doc_md: str) -> tuple[Step, ...]:
    """The items of the section 障害対応, without Markdown's marks.

    An item is a list item that begins with a bold title. The list items below it are its cases.
    """
    section = _SECTION.search(doc_md)
    items = _items(section[1]) if section else []
    steps: list[Step] = []
    for depth, text in items:
        titled = _STEP.match(text)
        if depth == 0 and titled:
            steps.append(Step(_plain(titled[1]), _plain(titled[2])))
        elif depth and steps:
            last = steps[-1]
            steps[-1] = Step(last.title, last.text, (*last.cases, _plain(text)))
    return tuple(steps)


def _items(section: str) -> list[tuple[int, str]]:
    """The list items with their indentation (0 or more). A line without a bullet continues the item before it."""
    items: list[tuple[int, str]] = []
    for line in section.splitlines():
        stripped = line.strip()
        if stripped.startswith("* "):
            items.append((len(line) - len(line.lstrip()), stripped[2:]))
        elif stripped and items:
            depth, text = items[-1]
            items[-1] = (depth, f"{text} {stripped}")
    return items


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub("", text).split())


# The runbooks of this process.
RUNBOOKS = Runbooks()
