"""What a run left behind, as tables for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import psycopg

from include.database import read_sql

_HERE = Path(__file__).parent


def usage_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-018-01 and what it wrote, read back from the database."""
    run = connection.execute(read_sql(_HERE, "run")).fetchone()
    if run is None:
        return "BATCH-018-01 はまだ実行されていません。"
    execution_id, status, business_date, total, success, errors, records, seconds, memory = run
    key = {"execution_id": execution_id, "date": business_date}
    parts = [
        f"BATCH-018-01 テナント使用量集計  業務日 {business_date}  実行ID {execution_id}",
        f"結果 {status}: {total} テナント中 成功 {success} / 失敗 {errors}、"
        f"ログ {records} 行、{seconds} 秒、最大メモリ {memory} MB",
        _table(
            (
                "テナント",
                "名称",
                "状態",
                "利用者",
                "登録者",
                "ログイン",
                "API",
                "エラー",
                "応答ms",
                "同時",
                "時刻",
                "容量MB",
                "帳票",
                "版",
            ),
            connection.execute(read_sql(_HERE, "usage"), key).fetchall(),
        ),
        "今月の警告（batch.usage_warning）",
        _table(
            ("テナント", "業務日", "種別", "指標", "しきい値", "実績", "通知先"),
            connection.execute(read_sql(_HERE, "warnings"), key).fetchall(),
        ),
        "対象外のテナント",
        _table(("テナント", "名称", "状態"), connection.execute(read_sql(_HERE, "left_out"), key).fetchall()),
    ]
    return "\n\n".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "  （なし）"
    cells = [list(header), *(["–" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(header))]
    numeric = [all(isinstance(row[column], int | None) for row in rows) for column in range(len(header))]
    lines = [
        "  "
        + "  ".join(
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  " + "  ".join("-" * width for width in widths), *lines[1:]])


def _width(text: str) -> int:
    """Columns of a terminal; East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
