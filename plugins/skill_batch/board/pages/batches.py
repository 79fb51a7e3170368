"""One batch or operation: the history of its runs, the latest run, and what to do when it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, HTTPException, Query, Request, Response, status

from skill_batch.board.access import RightsDep
from skill_batch.board.airflow_api import AirflowApi
from skill_batch.board.charts import Series, translated
from skill_batch.board.database import BoardDatabase
from skill_batch.board.failures import FailureGroup, load_failures
from skill_batch.board.rendering import language_of, render, translator
from skill_batch.board.runs import RunCell, load_usual_seconds, next_start
from skill_batch.board.slowest import SlowInstance, load_slowest
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.failure_kinds import kind_of, own_kinds
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_spec import BatchSpec, OperationSpec, RunSpec

router = APIRouter()

CHART_RUNS = 60
PAGE_RUNS = 25
_MOST_PAGES = 10_000
_TOP_NOTES = 10

_MEBIBYTE = 2**20


@dataclass(frozen=True)
class NewestRun:
    """The latest real run that has ended."""

    row: Mapping[str, Any]
    counts: Mapping[str, int]
    groups: Sequence[FailureGroup]
    notes: Sequence[Mapping[str, Any]]
    slowest: Sequence[SlowInstance]
    remarks: Sequence[Mapping[str, Any]]
    reconciliation: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class BatchPage:
    """The content of the page. ``runs`` is one page of them; ``due_at`` (aware) is None for an operation."""

    spec: RunSpec
    charts: Sequence[Series]
    runs: Sequence[RunCell]
    total: int
    number: int
    newest: NewestRun | None
    due_at: datetime | None

    @property
    def batch(self) -> BatchSpec | None:
        """The batch; None for an operation."""
        return self.spec if isinstance(self.spec, BatchSpec) else None

    @property
    def pages(self) -> int:
        """The number of pages of runs."""
        return max(-(-self.total // PAGE_RUNS), 1)


def load_batch(
    connection: psycopg.Connection[Any],
    spec: RunSpec,
    number: int,
    now: datetime,
) -> BatchPage:
    """The page of a batch at ``now`` (aware), with page ``number`` of its runs (from 1)."""
    usual = load_usual_seconds(connection, [spec.id]).get(spec.id)

    def runs(count: int, skipped: int) -> list[RunCell]:
        rows = _SQL.rows(connection, "batch_runs", batch_id=spec.id, count=count, skipped=skipped)
        return [RunCell(row, usual, now) for row in rows]

    return BatchPage(
        spec,
        charts_of(list(reversed(runs(CHART_RUNS, 0))), usual),
        runs(PAGE_RUNS, (number - 1) * PAGE_RUNS),
        _SQL.column(connection, "batch_run_count", batch_id=spec.id)[0],
        number,
        _newest(connection, spec),
        next_start(spec, now) if isinstance(spec, BatchSpec) else None,
    )


def charts_of(runs: Sequence[RunCell], usual_seconds: Decimal | None) -> list[Series]:
    """The charts of these runs, oldest first. Runs with a failed tenant are marked; dry runs are excluded."""
    shown = [run for run in runs if not run.row["dry_run"]]
    if not shown:
        return []
    marked = frozenset(index for index, run in enumerate(shown) if run.row["status"] in ("failed", "partial"))
    labels = [
        f"{run.row['started_at'].astimezone(JAPAN):%Y-%m-%d %H:%M}{' ✕' if index in marked else ''}"
        for index, run in enumerate(shown)
    ]

    def series(title: str, values: Sequence[float | None], unit: str, limit: float | None = None) -> Series:
        return Series(title, list(zip(labels, values, strict=True)), unit, limit, marked)

    return [
        series(
            "所要時間",
            [run.seconds if run.row["ended_at"] else None for run in shown],
            "秒",
            None if usual_seconds is None else float(usual_seconds),
        ),
        series("処理件数", [_number(run.row["records_processed"]) for run in shown], "件"),
        series(
            "最大メモリ",
            [
                None if run.row["peak_memory_bytes"] is None else run.row["peak_memory_bytes"] / _MEBIBYTE
                for run in shown
            ],
            "MiB",
        ),
        series("失敗したテナント", [_number(run.row["error_count"]) for run in shown], "件"),
    ]


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)


def _newest(connection: psycopg.Connection[Any], spec: RunSpec) -> NewestRun | None:
    row = next(iter(_SQL.rows(connection, "batch_newest_run", batch_id=spec.id)), None)
    if row is None:
        return None
    execution_id = row["execution_id"]
    return NewestRun(
        row,
        _SQL.rows(connection, "batch_outcome_counts", execution_id=execution_id)[0],
        load_failures(connection, [execution_id])[execution_id],
        _SQL.rows(connection, "batch_top_notes", execution_id=execution_id, most=_TOP_NOTES),
        load_slowest(connection, execution_id),
        _SQL.rows(connection, "remarks", execution_id=execution_id),
        _SQL.rows(connection, "reconciliation", execution_id=execution_id),
    )


@router.get("/batches/{batch_id}")
def batch_page(
    request: Request,
    rights: RightsDep,
    batch_id: str,
    page: Annotated[int, Query(ge=1, le=_MOST_PAGES)] = 1,
) -> Response:
    """The page of a batch or an operation of the registry."""
    spec = RUN_SPECS.get(batch_id)
    if spec is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    rights.require_read(spec.dag_id)
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        shown = load_batch(connection, spec, page, datetime.now(UTC))
    translate = translator(language_of(request))
    return render(
        request,
        rights,
        "batch.html",
        page=shown,
        spec=spec,
        is_paused=AirflowApi(request).is_paused(spec.dag_id),
        charts=[translated(series, translate) for series in shown.charts],
        of_batch=spec.batch if isinstance(spec, OperationSpec) else None,
        kinds=[*own_kinds(spec), kind_of(spec, "cause")],
    )
