"""BATCH-002: cleans up old log files and old rows, by class. ``HIS_AuditLog`` is append-only and stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg

from include.skillreport.batches.log_cleanup.files import FileReport, clean_class, unknown_entries
from include.skillreport.batches.log_cleanup.marked import (
    count_marked,
    delete_expired_archives,
    delete_marked,
    marked_before,
)
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES, count_old, cutoff, delete_old
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.catalog import LOG_CLEANUP
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.batch import (
    Outcome,
    Request,
    Run,
    UnitBatch,
    UnitFailure,
    UnitResult,
    Work,
    count_effects,
)
from include.skillreport.core.execution.digest import Digest, listed
from include.skillreport.core.execution.installation import Installation
from include.skillreport.core.execution.sharding import Unit
from include.skillreport.schema.deletion import HOST_SCHEMA, listed_tables, tables_with_marked_rows

_SQL = Statements(Path(__file__).parent)

ROOTS_VARIABLE = "skill_batch_log_roots"

FILES, ROWS, MARKED = "files/", "rows/", "marked/"
UNKNOWN = f"{FILES}?"
EXPIRED = f"{MARKED}archives"

# The maximum number of files in one outcome; the task's log lists all.
_LISTED = 20

# The actions of the digest, by the name of a count. Other counts need no action.
_ACTIONS = {
    "errors": "失敗: 実行のページの理由のとおりに直す。残りは次の実行が処理します",
    "untouched": "要確認: 実行のページにあるファイルを見る。ログなら名前を規則に合わせ、要らないものは消す",
    "ownerless": "持ち主不明の行は残しています。従業員が分かるように、アプリケーションで行の従業員かテナントを直してください",
}
_NO_ACTION = "→ 対応は不要です"


class LogCleanupBatch(UnitBatch):
    """The units of BATCH-002: each class of files, files without a class, each kind of rows, each table with marked rows."""

    counted = frozenset(
        {"filesCompressed", "filesArchived", "filesDeleted", "bytesFreed", "rowsDeleted", "archivesDeleted"}
    )
    states = frozenset({"untouched", "ownerless", "planned", "errors"})

    def __init__(self, settings: LogCleanupSettings, installation: Installation) -> None:
        self._settings = settings
        self._installation = installation

    def units(self, request: Request) -> list[Unit]:  # noqa: ARG002  # every run has all units
        """All units, classes of files first. The UI shows the class's name.

        :raises SettingsError: a root is not an absolute path, or no store for archives is configured.
        :raises SchemaError: marked rows are to be deleted, but the installation may not delete.
        """
        self._roots()
        self._installation.store()
        files = [
            Unit(f"{FILES}{name}", f"files {name}", f"{name} のログファイル")
            for name in self._settings.classes
        ]
        rows = [Unit(f"{ROWS}{name}", f"rows {name}", each.label) for name, each in ROW_CLASSES.items()]
        return [*files, Unit(UNKNOWN, "files ?", "種別の分からないもの"), *rows, *self._marked()]

    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Clean one class."""
        if unit_id == UNKNOWN:
            return self._look_for_unknown(unit_id)
        if unit_id.startswith(FILES):
            return self._clean_files(work, unit_id)
        if unit_id == EXPIRED:
            return self._delete_archives(work, unit_id)
        if unit_id.startswith(MARKED):
            return self._delete_marked(work.connection, work.run, unit_id)
        return self._delete_rows(work.connection, work.run, unit_id)

    def digest(self, work: Work) -> Digest:
        """The number of files, rows and freed bytes, in one line per class with any, and the actions."""
        lines = []
        found: set[str] = set()
        for unit_id, status, details in _SQL.execute(
            work.connection, "cleaned", execution_id=work.run.execution_id
        ):
            parts = [
                f"{label} {details[name]:,}{unit}"
                for name, label, unit in (
                    ("filesDeleted", "削除", " 件"),
                    ("filesCompressed", "圧縮", " 件"),
                    ("filesArchived", "保管", " 件"),
                    ("bytesFreed", "解放", " バイト"),
                    ("rowsDeleted", "削除", " 行"),
                    ("archivesDeleted", "期限の切れた書庫", " 日分"),
                    ("untouched", "要確認", " 件"),
                    ("ownerless", "持ち主不明", " 行"),
                    ("errors", "処理できず", " 件"),
                )
                if details.get(name)
            ]
            found |= {name for name in _ACTIONS if details.get(name)}
            if status != "success":
                parts.append("失敗しました")
                found.add("errors")
            if parts:
                lines.append(f"{unit_id}: {'、'.join(parts)}")
        actions = [f"→ {text}" for name, text in _ACTIONS.items() if name in found] or [_NO_ACTION]
        title = f"ログクリーンアップ {work.run.business_date}"
        return Digest([title, *lines, *actions]) if lines else Digest()

    def _clean_files(self, work: Work, unit_id: str) -> Outcome:
        run = work.run
        store = None if run.dry_run else self._installation.store()
        name = unit_id.removeprefix(FILES)
        report = FileReport(count=partial(count_effects, work.connection, run, unit_id))
        for root in self._roots():
            clean_class(
                root,
                name,
                self._settings.classes[name],
                self._settings.compress_days,
                run.business_date,
                store,
                report,
            )
        details = {
            "filesDeleted": report.deleted,
            "filesCompressed": report.compressed,
            "filesArchived": report.archived,
            "bytesFreed": report.bytes_freed,
            "untouched": len(report.untouched),
        }
        if store is None:
            details["planned"] = len(report.plan)
        if report.errors:
            # Not retried, because a retry would not report this attempt's files. The next run processes the remaining files.
            return UnitFailure(
                unit_id,
                "FILES_NOT_TREATED",
                f"{len(report.errors)} 件のファイルを処理できませんでした（{report.errors[0]}）。"
                "原因を取り除いてください。残りは次の実行が処理します。",
                recoverable=False,
                details={**details, "errors": len(report.errors)},
                notes=_listed([*report.errors, *report.untouched]),
            )
        return UnitResult(
            unit_id,
            details,
            records=report.deleted + report.compressed,
            notes=_listed(report.untouched),
            report=(*report.plan, *report.untouched[_LISTED:]),
        )

    def _look_for_unknown(self, unit_id: str) -> UnitResult:
        unknown = [line for root in self._roots() for line in unknown_entries(root, self._settings.classes)]
        return UnitResult(
            unit_id,
            {"untouched": len(unknown)},
            records=0,
            notes=_listed(unknown),
            report=tuple(unknown[_LISTED:]),
        )

    def _delete_rows(self, platform: psycopg.Connection, run: Run, unit_id: str) -> UnitResult:
        row_class = ROW_CLASSES[unit_id.removeprefix(ROWS)]
        before = cutoff(run.business_date, row_class, self._settings.row_days)
        if run.dry_run:
            count = count_old(platform, row_class, before)
            line = f"削除: {row_class.label} {count:,} 行（{before:%Y-%m-%d %H:%M} UTC より前）"
            return UnitResult(unit_id, {"rowsDeleted": 0, "planned": count}, records=0, report=(line,))
        rows = sum(
            delete_old(
                platform,
                row_class,
                before,
                self._settings.chunk_rows,
                lambda deleted: count_effects(platform, run, unit_id, rowsDeleted=deleted),
            )
        )
        return UnitResult(unit_id, {"rowsDeleted": rows}, records=rows)

    def _marked(self) -> list[Unit]:
        if not self._settings.marked_rows.enabled:
            return []
        with self._installation.cleanup(LOG_CLEANUP.time_limit):
            pass  # refuses
        units = [
            Unit(f"{MARKED}{table.name}", f"marked {table.name}", f"削除済みの印のある {table.name} の行")
            for table in tables_with_marked_rows()
        ]
        return [*units, Unit(EXPIRED, "marked archives", "削除した行の書庫")]

    def _delete_marked(self, platform: psycopg.Connection, run: Run, unit_id: str) -> UnitResult:
        table = listed_tables()[HOST_SCHEMA, unit_id.removeprefix(MARKED)]
        before = marked_before(platform, run.business_date, self._settings.marked_rows.days)
        if before is None:
            note = "経理に渡して締めた月がまだないため、何も削除していません。"
            return UnitResult(unit_id, {"rowsDeleted": 0}, records=0, notes=(note,))
        store = None if run.dry_run else self._installation.store()
        if store is None:
            report, deleted = count_marked(platform, table, before), 0
        else:
            with self._installation.cleanup(LOG_CLEANUP.time_limit) as cleanup:
                report = delete_marked(
                    platform,
                    cleanup,
                    table,
                    before,
                    run,
                    store,
                    lambda rows: count_effects(platform, run, unit_id, rowsDeleted=rows),
                )
            deleted = report.rows
        details = {"rowsDeleted": deleted, "ownerless": report.ownerless}
        if store is None:
            details["planned"] = report.rows
        note = f"要確認: 持ち主のテナントが分からない {report.ownerless:,} 行は残しました。"
        return UnitResult(unit_id, details, records=deleted, notes=(note,) if report.ownerless else ())

    def _delete_archives(self, work: Work, unit_id: str) -> UnitResult:
        run, store = work.run, self._installation.store()
        since = run.business_date - timedelta(days=self._settings.marked_rows.archive_days)
        count, other = (
            delete_expired_archives(work.connection, store, since, dry_run=run.dry_run) if store else (0, [])
        )
        if not run.dry_run:
            count_effects(work.connection, run, unit_id, archivesDeleted=count)
        details = {"archivesDeleted": 0, "planned": count} if run.dry_run else {"archivesDeleted": count}
        notes = _listed([f"{name!r}: テナントの書庫のフォルダーではありません" for name in other])
        if other:
            details["untouched"] = len(other)
        return UnitResult(unit_id, details, records=0, notes=notes)

    def _roots(self) -> list[Path]:
        """Absolute paths from the Variable; empty if the application's logs are not on this machine."""
        text = self._installation.variable(ROOTS_VARIABLE)
        roots = [Path(part) for line in re.split(r"[\n,]", text) if (part := line.strip())]
        wrong = [str(root) for root in roots if not root.is_absolute() or ".." in root.parts]
        if wrong:
            raise SettingsError(
                f"Variable '{ROOTS_VARIABLE}' の {'、'.join(wrong)} は絶対パスではありません。"
            )
        return roots


def _listed(untouched: Sequence[str]) -> tuple[str, ...]:
    return tuple(listed(untouched, str, "ほか {} 件", _LISTED))
