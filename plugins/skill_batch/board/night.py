"""The night as bars, and the last 90 days of each batch, for the first page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
from croniter import croniter

from skill_batch.board.runs import RunCell, next_start
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import GRACE
from include.skillreport.core.run_spec import BatchSpec

# The batches start from 1:00 to 9:00 (Asia/Tokyo); the operators' day begins when the last one has ended.
_FROM, _TO = time(1), time(10)
_DAYS = 90
COLUMNS = 45
# The minimum width of a bar in percent of the night, so that it can be clicked.
_LEAST_WIDTH = 0.6
# The width of a start without a run, in percent of the night.
_DUE_WIDTH = 1.6


@dataclass(frozen=True)
class Bar:
    """A run of the night, or a start without one (``cell`` is None). ``left`` and ``width`` are in percent of the night.

    ``state`` is the run's, or ``due``, ``missed`` or ``paused`` (missed or due, but the DAG is paused).
    """

    left: float
    width: float
    state: str
    starts_at: datetime
    cell: RunCell | None = None


@dataclass(frozen=True)
class Day:
    """A day (Asia/Tokyo) of a batch. ``row`` is the worst run that started on it, or None. ``position`` counts from the oldest day."""

    position: int
    on: date
    row: Mapping[str, Any] | None

    @property
    def column(self) -> int:
        """The column of the heat-map."""
        return self.position % COLUMNS

    @property
    def line(self) -> int:
        """The line of the heat-map."""
        return self.position // COLUMNS

    @property
    def is_good(self) -> bool:
        """True if all runs of the day succeeded."""
        return self.row is not None and self.row["status"] == "completed"


@dataclass(frozen=True)
class BatchNight:
    """A batch: its bars, the ends of its time limit in percent of the night, its newest run, its next start, and its days."""

    spec: BatchSpec
    bars: Sequence[Bar]
    limits: Sequence[float]
    newest: RunCell | None
    due_at: datetime
    is_paused: bool
    days: Sequence[Day]

    @property
    def good_percent(self) -> Decimal | None:
        """The share of days with runs on which all succeeded; None without such a day."""
        used = [day for day in self.days if day.row]
        return Decimal(100 * sum(day.is_good for day in used)) / len(used) if used else None


@dataclass(frozen=True)
class Night:
    """The newest night that has begun, ``begins_at`` to ``ends_at`` (aware, Asia/Tokyo)."""

    begins_at: datetime
    ends_at: datetime
    now: datetime
    batches: Sequence[BatchNight]

    @property
    def hours(self) -> list[tuple[int, float]]:
        """The full hours, with their positions in percent."""
        count = _TO.hour - _FROM.hour
        return [(_FROM.hour + hour, 100 * hour / count) for hour in range(count)]

    @property
    def now_at(self) -> float | None:
        """The position of the present time; None after the night."""
        return _place(self, self.now) if self.now < self.ends_at else None


def load_night(
    connection: psycopg.Connection[Any],
    specs: Sequence[BatchSpec],
    newest: Mapping[str, RunCell],
    usual: Mapping[str, Decimal],
    paused: Collection[str],
    now: datetime,
) -> Night:
    """The night at ``now`` (aware). ``newest`` has the newest run of each batch by id; ``paused`` are ids of DAGs."""
    local = now.astimezone(JAPAN)
    first = local.date() if local.time() >= _FROM else local.date() - timedelta(days=1)
    begins_at, ends_at = (datetime.combine(first, each, JAPAN) for each in (_FROM, _TO))
    night = Night(begins_at, ends_at, now, [])
    ids = [spec.id for spec in specs]
    cells: dict[str, list[RunCell]] = {batch_id: [] for batch_id in ids}
    for row in _SQL.rows(connection, "night_runs", batch_ids=ids, begins_at=begins_at, ends_at=ends_at):
        cells[row["batch_id"]].append(RunCell(row, usual.get(row["batch_id"]), now))
    days: dict[tuple[str, date], Mapping[str, Any]] = {
        (row["batch_id"], row["day"]): row
        for row in _SQL.rows(connection, "run_days", batch_ids=ids, since=_first_day(local.date()))
    }
    batches = []
    for spec in specs:
        firings = _firings(spec, night)
        shown = [
            Day(position, day, days.get((spec.id, day)))
            for position in range(_DAYS)
            for day in [_first_day(local.date()) + timedelta(days=position)]
        ]
        has_run = any(day.row for day in shown if day.on < first)
        batches.append(
            BatchNight(
                spec,
                _bars(night, cells[spec.id], firings, has_run=has_run, is_paused=spec.dag_id in paused),
                [_place(night, firings[0] + spec.time_limit)] if len(firings) == 1 else [],
                newest.get(spec.id),
                next_start(spec, now),
                spec.dag_id in paused,
                shown,
            )
        )
    return Night(begins_at, ends_at, now, batches)


def _first_day(today: date) -> date:
    return today - timedelta(days=_DAYS - 1)


def _firings(spec: BatchSpec, night: Night) -> list[datetime]:
    firings = croniter(spec.cron, night.begins_at - timedelta(microseconds=1), ret_type=datetime)
    found = []
    while (due_at := firings.get_next()) < night.ends_at:
        found.append(due_at)
    return found


def _bars(
    night: Night, cells: Sequence[RunCell], firings: Sequence[datetime], *, has_run: bool, is_paused: bool
) -> list[Bar]:
    """The runs, and the scheduled starts that no run for all tenants followed. ``has_run``: the batch ran before the night; a batch that
    never ran has missed nothing.
    """
    bars = [
        Bar(
            _place(night, cell.row["started_at"]),
            _width(night, cell.seconds),
            cell.state,
            cell.row["started_at"],
            cell,
        )
        for cell in cells
    ]
    starts = [cell.row["started_at"] for cell in cells if not cell.row["chosen_tenants"]]
    for due_at, next_at in pairwise([*firings, night.ends_at]):
        if any(due_at <= started_at < next_at for started_at in starts):
            continue
        is_over = due_at + GRACE < night.now
        if not is_over or has_run or any(started_at < due_at for started_at in starts):
            state = "paused" if is_paused else "missed" if is_over else "due"
            bars.append(Bar(_place(night, due_at), _DUE_WIDTH, state, due_at))
    return bars


def _place(night: Night, moment: datetime) -> float:
    return 100 * ((moment - night.begins_at) / (night.ends_at - night.begins_at))


def _width(night: Night, seconds: float) -> float:
    return max(_LEAST_WIDTH, 100 * seconds / (night.ends_at - night.begins_at).total_seconds())
