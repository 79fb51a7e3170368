"""What a run has recorded: its row in the execution log, the outcomes of its tenants, and its digests."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.core.database import Statements
from include.skillreport.core.run_spec import RunSpec

_SQL = Statements(Path(__file__).parent)

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class RecordedOutcome:
    """What a run has recorded of a tenant (or of a part of it, or of another unit). ``error``: it failed for this reason."""

    unit: str
    name: str | None
    part: str
    details: Mapping[str, Any] | None
    error: str | None
    notes: Sequence[str]


@dataclass(frozen=True)
class RecordedRun:
    """A run as the execution log has it. ``facts`` are the numbers that the run has added up, by their recorded names."""

    spec: RunSpec
    execution_id: str
    status: str
    business_date: date
    total: int
    succeeded: int
    failed: int
    records: int
    seconds: float
    peak_memory_mb: int
    facts: Mapping[str, Any]
    outcomes: Sequence[RecordedOutcome] = ()
    digest: Sequence[str] = ()

    @property
    def unit(self) -> str:
        """What the batch counts."""
        return "テナント" if self.spec.per_tenant else "件"

    @property
    def errors(self) -> Sequence[RecordedOutcome]:
        """The outcomes that failed."""
        return [outcome for outcome in self.outcomes if outcome.error]

    def words(self, template: str) -> str:
        """The template with the facts of the run. A run does not record every number each time: what is missing is 0."""
        return template.format_map(defaultdict(int, {"records": self.records} | dict(self.facts)))

    def text(self) -> str:
        """The run and what it has recorded, for a terminal. Tables without rows are left out."""
        parts = [
            f"{self.spec.id} {self.spec.name}  業務日 {self.business_date}  実行ID {self.execution_id}",
            f"結果 {self.status}: {self.total} {self.unit}中 成功 {self.succeeded} / 失敗 {self.failed}、"
            f"{self.records} 行、{self.seconds} 秒、最大メモリ {self.peak_memory_mb} MB",
        ]
        remarks = [(each.unit, text) for each in self.outcomes for text in (each.error, *each.notes) if text]
        for title, table in {
            "合計（batch.execution_log の result）": text_table(("項目", "値"), list(self.facts.items())),
            "対象ごとの結果（batch.tenant_outcome の details）": self._outcome_table(),
            "失敗の理由と確認事項": text_table(("対象", "内容"), remarks),
            "運用者の Slack に届いた知らせ": text_table(("本文",), [(line,) for line in self.digest]),
        }.items():
            parts += [title, table] if table else []
        return "\n\n".join(parts)

    def _outcome_table(self) -> str:
        """A row per outcome. Columns in which no outcome has a value other than 0 are left out."""
        rows = [
            {"対象": each.unit, "名称": each.name, "部分": each.part}
            | {"結果": "失敗" if each.error else "成功"}
            | {name: _cell(value) for name, value in (each.details or {}).items()}
            for each in self.outcomes
        ]
        header = [
            name
            for name in dict.fromkeys(name for row in rows for name in row)
            if any(row.get(name) for row in rows)
        ]
        return text_table(header, [[row.get(name) for name in header] for row in rows])


def read_result(
    connection: psycopg.Connection[Any], spec: RunSpec, *, since: datetime | None = None
) -> RecordedRun | None:
    """The last run of a batch, or None: it has not run. A run that started before ``since`` (the database's clock) does not count."""
    cursor = connection.cursor(row_factory=dict_row)
    run = _SQL.execute(cursor, "run", batch_id=spec.id, since=since).fetchone()
    if run is None:
        return None
    outcomes = _SQL.execute(cursor, "outcomes", execution_id=run["execution_id"]).fetchall()
    digest = _SQL.execute(cursor, "digest", execution_id=run["execution_id"]).fetchall()
    return RecordedRun(
        spec=spec,
        outcomes=[RecordedOutcome(**row) for row in outcomes],
        digest=[row["line"] for row in digest],
        **run,
    )


def _cell(value: object) -> object:
    """A value of the details for a table: lists of texts as a text, and only the number of other lists."""
    if isinstance(value, list):
        return (", ".join(value) if all(isinstance(each, str) for each in value) else len(value)) or None
    return value


def text_table(header: Sequence[str], rows: Rows) -> str:
    """A table for a terminal, indented by two columns; empty without rows. Columns of integers are aligned to the right."""
    if not rows:
        return ""
    cells = [list(header), *(["–" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(width_of(row[column]) for row in cells) for column in range(len(header))]
    numeric = [all(isinstance(row[column], int | None) for row in rows) for column in range(len(header))]
    lines = ["  " + "  ".join(map(padded, row, widths, numeric)).rstrip() for row in cells]
    return "\n".join([lines[0], "  " + "  ".join("-" * width for width in widths), *lines[1:]])


def padded(text: str, width: int, to_the_right: bool = False) -> str:
    """The text with spaces up to a width."""
    spaces = " " * (width - width_of(text))
    return spaces + text if to_the_right else text + spaces


def width_of(text: str) -> int:
    """The width in a terminal; East Asian wide characters need two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
