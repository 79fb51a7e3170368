"""The recommended index of each table, and its effect on each batch: the report of ``python -m include.skillreport indexes``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import psycopg

from include.skillreport.core.catalog import BatchSpec
from include.skillreport.schema.host_indexes.measurement import (
    RANGE_PAGES,
    ColumnState,
    FoundIndex,
    TableState,
    find_indexes,
    measure_column,
    measure_table,
    usable,
)
from include.skillreport.schema.host_indexes.recommended import (
    MULTI_OPS,
    RECOMMENDED,
    HostIndex,
    Kind,
    Reader,
    Rows,
    prisma_line,
)

# A smaller table is read in a hundredth of a second.
MINIMUM_ROWS = 100_000

# BRIN finds whole block ranges. If a day is in more ranges than this, BRIN saves little.
_MOST_RANGES_WITH_A_DAY = 0.2
# Updated rows move to other pages and mix the days.
_MOST_UPDATED = 0.2


class Verdict(StrEnum):
    """Whether to create an index."""

    PRESENT = "present"
    ADVISED = "advised"
    SMALL = "small"
    UNKNOWN = "unknown"
    IN_PROGRESS = "in_progress"


@dataclass(frozen=True)
class Gain:
    """The rows that a batch reads per run: without the index, and with it (None if it cannot be estimated)."""

    reader: Reader
    rows_without: int
    rows_with: int | None


@dataclass(frozen=True)
class Advice:
    """The advice about one recommended index. ``kind`` is None if too little is known about the table."""

    index: HostIndex
    table: TableState
    column: ColumnState
    found: tuple[FoundIndex, ...]
    verdict: Verdict
    kind: Kind | None
    gains: tuple[Gain, ...]

    @property
    def present(self) -> FoundIndex | None:
        """The usable index, if there is one."""
        return usable(self.found, self.index)

    @property
    def broken(self) -> FoundIndex | None:
        """An unusable index that an aborted creation has left."""
        return next(
            (each for each in self.found if each.is_mine and not each.is_valid and not each.is_in_progress),
            None,
        )

    @property
    def prisma_line(self) -> str:
        """The line for the Prisma schema; empty if there is neither an index of one column nor a recommended kind."""
        present = self.present
        if present:
            name = "" if present.name == self.index.name else present.name
            line = prisma_line(self.index.column, present.method, present.operator_class, name)
            return line if present.columns == 1 else ""
        return self.index.prisma_line(self.kind) if self.kind and self.verdict is Verdict.ADVISED else ""


def advise(connection: psycopg.Connection, indexes: Sequence[HostIndex] = RECOMMENDED) -> list[Advice]:
    """Measure the tables. Changes nothing."""
    return [_advise(connection, index) for index in indexes]


def choose_kind(index: HostIndex, table: TableState, column: ColumnState) -> Kind | None:
    """The kind for a table in this state. None: the table has no statistics, or no rows.

    BRIN has a hundredth of the size of a B-tree, but finds whole block ranges. benchmarks/host_indexes.py has measured both.
    """
    if index.btree_only:
        return Kind.BTREE
    if column.ranges_with_a_day is None:
        return None
    is_in_order = column.ranges_with_a_day <= _MOST_RANGES_WITH_A_DAY and table.updated_share <= _MOST_UPDATED
    return Kind.BRIN if is_in_order else Kind.BTREE


def _advise(connection: psycopg.Connection, index: HostIndex) -> Advice:
    table = measure_table(connection, index.table)
    column = measure_column(connection, index, table)
    found = tuple(find_indexes(connection, index))
    present = usable(found, index)
    kind = Kind(present.method) if present else choose_kind(index, table, column)
    if present:
        verdict = Verdict.PRESENT
    elif any(each.is_in_progress for each in found):
        verdict = Verdict.IN_PROGRESS
    elif table.rows is None and table.pages:
        verdict = Verdict.UNKNOWN
    elif (table.rows or 0) < MINIMUM_ROWS or kind is None:
        verdict = Verdict.SMALL
    else:
        verdict = Verdict.ADVISED
    gains = tuple(_gain(reader, table, column, kind) for reader in index.readers)
    return Advice(index, table, column, found, verdict, kind, gains)


def _gain(reader: Reader, table: TableState, column: ColumnState, kind: Kind | None) -> Gain:
    rows = table.rows or 0
    if reader.rows is Rows.WAITING:
        return Gain(reader, rows, round(rows * float(column.waiting_share)))
    if column.rows_per_day is None or kind is None:
        return Gain(reader, rows, None)
    wanted = round(column.rows_per_day * reader.days)
    if reader.rows is Rows.OLDEST:
        # BRIN still covers deleted rows in its block ranges. Unsent notifications have no time.
        wanted = rows if kind is Kind.BRIN else wanted + round(rows * column.null_share)
    elif kind is Kind.BRIN:
        wanted += rows * RANGE_PAGES // max(table.pages, 1)
    return Gain(reader, rows, min(wanted, rows))


# The report ---------------------------------------------------------------------------------------------------------------


def as_json(all_advice: Sequence[Advice]) -> str:
    """For programs. Sizes are bytes; shares are 0 to 1; rows are estimates."""
    return json.dumps({"indexes": [_as_dict(each) for each in all_advice]}, ensure_ascii=False, indent=2)


def _as_dict(advice: Advice) -> dict[str, Any]:
    return {
        "name": advice.index.name,
        "table_name": advice.index.table,
        "column_name": advice.index.column,
        "verdict": advice.verdict,
        "kind": advice.kind,
        "prisma_line": advice.prisma_line,
        "table": asdict(advice.table),
        "column": asdict(advice.column),
        "found": [asdict(each) for each in advice.found],
        "readers": [
            {
                "batch_id": gain.reader.batch.id,
                "cron": gain.reader.batch.cron,
                "rows": gain.reader.rows,
                "days": float(gain.reader.days),
                "rows_without": gain.rows_without,
                "rows_with": gain.rows_with,
            }
            for gain in advice.gains
        ],
    }


def as_text(all_advice: Sequence[Advice]) -> str:
    """For operators, in Japanese."""
    lines = [line for advice in all_advice for line in _lines(advice)]
    models: dict[str, list[str]] = {}
    for advice in all_advice:
        if advice.prisma_line:
            models.setdefault(advice.index.table, []).append(advice.prisma_line)
    if models:
        lines += [
            "",
            "アプリケーションの schema.prisma に、次の行を加えてください。",
            "`prisma db push` は、schema.prisma にない索引を削除します。モデルの項目名が列名と違うときは、項目名を書いてください。",
        ]
        for table, prisma_lines in models.items():
            lines += [f'// @@map("{table}") の model', *(f"  {line}" for line in prisma_lines)]
    advised = [each.index.name for each in all_advice if each.verdict is Verdict.ADVISED]
    lines.append("")
    if advised:
        lines.append(
            f"勧める索引は {len(advised)} 件です。"
            "`python -m include.skillreport indexes --create` で作成できます（表への書き込みは止まりません）。"
        )
    else:
        lines.append("新しく勧める索引はありません。")
    return "\n".join(lines)


def _lines(advice: Advice) -> list[str]:
    table, column = advice.table, advice.column
    rows = "行数不明" if table.rows is None else f"約 {table.rows:,} 行"
    per_day = "" if column.rows_per_day is None else f"、直近は 1 日あたり約 {column.rows_per_day:,} 行"
    correlation = "" if column.correlation is None else f"、物理的な相関 {column.correlation:.2f}"
    ranges = (
        ""
        if column.ranges_with_a_day is None
        else f"、1 日分の行がある範囲 {100 * column.ranges_with_a_day:.0f} %"
    )
    return [
        f'"{advice.index.table}"."{advice.index.column}"（{advice.index.why}）',
        f"  表: {rows}、{table.size_bytes / 2**20:,.1f} MB{per_day}{correlation}{ranges}、"
        f"挿入に対する更新 {100 * table.updated_share:.0f} %、削除 {table.deleted:,} 行",
        f"  索引: {_verdict(advice)}",
        *(f"  {_gain_line(gain)}" for gain in advice.gains if advice.verdict is not Verdict.SMALL),
    ]


def _verdict(advice: Advice) -> str:
    broken = (
        f"作成が途中で止まった {advice.broken.name} があります（--create が作り直します）。"
        if advice.broken
        else ""
    )
    match advice.verdict:
        case Verdict.PRESENT:
            assert advice.present is not None
            return f"あり（{advice.present.name}、{advice.present.method}）{_degrades(advice.present)}"
        case Verdict.IN_PROGRESS:
            return "いま作成中です。"
        case Verdict.UNKNOWN:
            return f'{broken}統計がありません。`ANALYZE "{advice.index.table}"` を実行してから、もう一度調べてください。'
        case Verdict.SMALL if (advice.table.rows or 0) >= MINIMUM_ROWS:
            return f"{broken}不要です（調べた範囲に、この列の値がある行がないため）。"
        case Verdict.SMALL:
            return f"{broken}不要です（{MINIMUM_ROWS:,} 行より少ない表は、全体を読んでも速いため）。"
        case Verdict.ADVISED:
            assert advice.kind is not None
            reason = f"（{advice.index.btree_only}）" if advice.index.btree_only else ""
            return f"{broken}なし。{advice.kind.label} を勧めます{reason}。"


def _degrades(present: FoundIndex) -> str:
    is_minmax = present.method == "brin" and present.operator_class != MULTI_OPS
    return "。既定の演算子クラスの BRIN は、古い行が削除されると効かなくなります" if is_minmax else ""


def _gain_line(gain: Gain) -> str:
    if gain.rows_with is None:
        rows_with = "索引ありでは不明"
    elif gain.rows_with >= gain.rows_without:
        rows_with = "索引があっても同じ"
    else:
        rows_with = f"索引ありで約 {gain.rows_with:,} 行"
    return (
        f"{gain.reader.batch.id} {gain.reader.batch.name}（{frequency(gain.reader.batch)}、{gain.reader.label}）: "
        f"1 回に読む行は索引なしで約 {gain.rows_without:,} 行、{rows_with}"
    )


def frequency(batch: BatchSpec) -> str:
    """How often a batch runs, from its cron."""
    _, hour, day, _, weekday = batch.cron.split()
    if weekday != "*":
        return "週 1 回"
    if day != "*":
        return "月 1 回"
    return "1 日 24 回" if hour == "*" else "1 日 1 回"
