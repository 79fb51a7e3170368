"""所要時間: the batches of a period by duration, rows and failures, each with its longest run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, Request, Response

from skill_batch.board.access import RightsDep
from skill_batch.board.database import BoardDatabase
from skill_batch.board.pages.documents import Day, ordered_days
from skill_batch.board.rendering import render
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.entered import EARLIEST_BUSINESS_DATE
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import RUN_SPECS

router = APIRouter()

Row = Mapping[str, Any]
Sort = Literal["total", "average", "longest", "slower", "runs", "failures"]

SORTS: Mapping[str, str] = {
    "total": "合計の長い順",
    "average": "平均の長い順",
    "longest": "最長の長い順",
    "slower": "前の期間より遅くなった順",
    "runs": "回数の多い順",
    "failures": "失敗の多い順",
}

_WEEK = timedelta(days=6)


@dataclass(frozen=True)
class DaySpan:
    """The days (Asia/Tokyo) on which the runs started, both included."""

    first_day: date
    last_day: date

    @property
    def since(self) -> datetime:
        """The start of the first day."""
        return datetime.combine(self.first_day, time(), JAPAN)

    @property
    def until(self) -> datetime:
        """The end of the last day (exclusive)."""
        return datetime.combine(self.last_day + timedelta(days=1), time(), JAPAN)


def ratio(row: Row) -> float | None:
    """The average duration divided by the previous period's; None without one."""
    return float(row["average_seconds"] / row["earlier_seconds"]) if row["earlier_seconds"] else None


_KEYS: Mapping[Sort, Callable[[Row], Any]] = {
    "total": lambda row: row["seconds"],
    "average": lambda row: row["average_seconds"],
    "longest": lambda row: row["longest_seconds"],
    "slower": lambda row: ratio(row) or 0,
    "runs": lambda row: row["runs"],
    "failures": lambda row: (row["failed_runs"], row["failed_tenants"]),
}


def load_durations(
    connection: psycopg.Connection[Any], period: DaySpan, sort: Sort, batch_ids: Sequence[str]
) -> list[Row]:
    """The batches and operations of these ids that ran in the period, sorted."""
    rows = _SQL.rows(
        connection,
        "durations",
        batch_ids=list(batch_ids),
        earlier=period.since - (period.until - period.since),
        since=period.since,
        until=period.until,
    )
    return sorted(rows, key=_KEYS[sort], reverse=True)


def _period(date_from: Day = None, date_to: Day = None) -> DaySpan:
    today = datetime.now(UTC).astimezone(JAPAN).date()
    last_day = min(date_to or today, today)
    first_day = max(date_from or last_day - _WEEK, EARLIEST_BUSINESS_DATE)
    return DaySpan(*ordered_days(first_day, last_day))


@router.get("/durations")
def durations_page(
    request: Request, rights: RightsDep, period: Annotated[DaySpan, Depends(_period)], sort: Sort = "total"
) -> Response:
    """The page of the batches whose runs the reader may see."""
    database: BoardDatabase = request.app.state.database
    seen = [spec.id for spec in RUN_SPECS.values() if rights.may_read(spec.dag_id)]
    with database.read() as connection:
        rows = load_durations(connection, period, sort, seen)
    return render(
        request,
        rights,
        "durations.html",
        rows=rows,
        period=period,
        sort=sort,
        sorts=SORTS,
        specs=RUN_SPECS,
        ratio=ratio,
    )
