"""The tries of a run's task instances: is a try the first one, Airflow's retry, or something that a user has started?

Airflow 3.3 says neither who cleared a task instance nor who queued a run again. A clear raises the run's ``clear_number`` or, without a
reset of the run, only the instance's ``max_tries``. A deleted instance begins at try 1 again. A retry changes ``try_number`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class TaskKey:
    """A try of a task instance. ``map_index`` is -1 if it is not mapped.

    ``try_number`` begins at 1. ``max_tries`` is Airflow's number of retries for the instance, and ``retries`` the number that the task
    declares.
    """

    task_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    retries: int = 0

    @property
    def step(self) -> str:
        """The id of the step. In a family's DAG the task id has the batch as a prefix."""
        return self.task_id.rpartition(".")[2]


class Opening(Enum):
    """How a try of a task instance began.

    RETRY: Airflow repeats the last try by itself. OTHER: a user has cleared or deleted the instance, or changed the state of its run.
    """

    FIRST = auto()
    RETRY = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Opened:
    """``is_cleared``: the first try since the instance was recorded, or an earlier one, was of the kind OTHER."""

    opening: Opening
    is_cleared: bool


@dataclass(frozen=True)
class LastTry:
    """What is recorded of a task instance. ``is_cleared``: see ``Opened``."""

    clear_number: int
    try_number: int
    max_tries: int
    is_cleared: bool


def opened_by(last: LastTry | None, clear_number: int, task: TaskKey) -> Opened:
    """How this try began. Pure. ``clear_number`` counts the clears of the run.

    A first try that never reached the database is not recorded. If a user then deletes the instance, the next try counts as the first.
    """
    if last is None:
        is_cleared = clear_number > 0 or task.max_tries != task.retries
        return Opened(Opening.OTHER if is_cleared else Opening.FIRST, is_cleared)
    is_retry = (clear_number, task.max_tries) == (
        last.clear_number,
        last.max_tries,
    ) and task.try_number > last.try_number
    return Opened(Opening.RETRY, last.is_cleared) if is_retry else Opened(Opening.OTHER, is_cleared=True)


def record_opening(
    platform: psycopg.Connection, dag_id: str, run_id: str, clear_number: int, task: TaskKey
) -> Opened:
    """Record this try, and say how it began. ``platform`` is in autocommit mode, so the record is kept whatever follows.

    Call it before anything is checked: a try that is refused must not leave the next one as the first.
    """
    instance = {"dag_id": dag_id, "run_id": run_id, "task_id": task.task_id, "map_index": task.map_index}
    with platform.transaction():
        row = _SQL.execute(platform, "last_try", **instance).fetchone()
        opened = opened_by(LastTry(*row) if row else None, clear_number, task)
        _SQL.execute(
            platform,
            "record_try",
            **instance,
            clear_number=clear_number,
            try_number=task.try_number,
            max_tries=task.max_tries,
            is_cleared=opened.is_cleared,
        )
    return opened
