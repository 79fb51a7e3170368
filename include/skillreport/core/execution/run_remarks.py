"""Notes about the steps of an entire run, as part of its result.

A failed step does not stop the tenants' work. The run becomes partial and alerts the operators, but not every hour.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Run, RunRemark

_SQL = Statements(Path(__file__).parent)

log = logging.getLogger(__name__)

# A problem that may end without an action is reported after this time.
PATIENCE = timedelta(hours=3)

# A lasting problem is reported again after this time.
REPEAT = timedelta(hours=24)

# The number of earlier runs to read: more than an hourly batch has in ``REPEAT``.
_EARLIER_RUNS = 200

_CODE = "code"


@dataclass(frozen=True)
class RunProblem:
    """A problem that makes the entire run partial: a sentence without a full stop. ``code`` selects its ``FailureKind``."""

    text: str
    code: str


@dataclass(frozen=True)
class EarlierRemark:
    """An earlier run's note about the same step."""

    recorded_at: datetime
    has_problem: bool
    is_reported: bool


@dataclass(frozen=True)
class RunRemarks:
    """The notes of one run. ``problems`` make the run partial."""

    by_step: dict[str, dict[str, Any]]
    problems: tuple[RunProblem, ...] = ()


def record_remark(
    platform: psycopg.Connection, run: Run, step: str, remark: RunRemark, now: datetime
) -> None:
    """Record a step's note and log its problem. A later attempt of the step replaces the note, and adds its effects to earlier ones."""
    rows = _SQL.execute(
        platform, "earlier_remarks", execution_id=run.execution_id, step=step, count=_EARLIER_RUNS
    )
    if remark.problem:
        log.error("%s", remark.problem)
    _SQL.execute(
        platform,
        "record_remark",
        execution_id=run.execution_id,
        step=step,
        details=Jsonb(remark.details | ({_CODE: remark.code} if remark.problem else {})),
        effects=list(remark.effects),
        problem=remark.problem,
        is_reported=is_reported(remark, [EarlierRemark(*row) for row in rows], now),
        recorded_at=now,
    )


def load_remarks(platform: psycopg.Connection, execution_id: str) -> RunRemarks:
    """The notes of a run."""
    rows = _SQL.rows(platform, "load_remarks", execution_id=execution_id)
    by_step = {
        row["step"]: {**row["details"], **({"problem": row["problem"]} if row["problem"] else {})}
        for row in rows
    }
    problems = (
        RunProblem(row["problem"], row["details"].get(_CODE, "")) for row in rows if row["is_reported"]
    )
    return RunRemarks(by_step, tuple(problems))


def is_reported(remark: RunRemark, earlier: Sequence[EarlierRemark], now: datetime) -> bool:
    """True if a problem makes the run partial. ``earlier`` begins with the latest; ``now`` is aware.

    A problem that needs an operator is reported at once, and any other problem after three hours. Each is reported once in 24 hours, unless
    it is about the results of a single run.
    """
    if remark.problem is None:
        return False
    if remark.in_each_run:
        return True
    since_then = list(takewhile(lambda each: each.has_problem, earlier))
    if any(each.is_reported and now - each.recorded_at < REPEAT for each in since_then):
        return False
    begin = min((each.recorded_at for each in since_then), default=now)
    return not remark.may_pass or now - begin >= PATIENCE


def record_digest(platform: psycopg.Connection, run: Run, lines: Sequence[str]) -> None:
    """Add the digest to the run's result, so that the board shows it to users who do not get the operators' alerts."""
    _SQL.execute(platform, "record_digest", execution_id=run.execution_id, lines=Jsonb(list(lines)))
