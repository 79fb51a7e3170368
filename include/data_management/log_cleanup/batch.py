"""BATCH-002: old log files and old rows, class by class. ``HIS_AuditLog`` is append-only and stays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from include.data_management.log_cleanup.files import (
    FileReport,
    clean_class,
    unknown_entries,
)
from include.data_management.log_cleanup.rows import ROW_CLASSES, count_old, cutoff, delete_old
from include.database import read_sql
from include.errors import SettingsError
from include.execution.digest import Digest, listed
from include.execution.installation import Installation
from include.execution.object_store import ObjectStore
from include.execution.sharding import Tenant
from include.execution.tenant_work import PlatformBatch, Run, TenantFailure, TenantResult
from include.settings import LogCleanupSettings

_HERE = Path(__file__).parent

ROOTS_VARIABLE = "batch_log_roots"

FILES, ROWS = "files/", "rows/"
UNKNOWN = f"{FILES}?"

# Files that one outcome names; all of them are in the task's log.
_LISTED = 20


class LogCleanupBatch(PlatformBatch):
    """The units of BATCH-002: a class of files, what belongs to no class, a kind of rows."""

    writes_files = True

    def __init__(self, settings: LogCleanupSettings) -> None:
        self._settings = settings
        self._installation: Installation | None = None

    def install(self, installation: Installation) -> None:
        self._installation = installation

    def units(self) -> list[Tenant]:
        """Classes of files first; what the UI shows is the class's name."""
        files = [
            Tenant(f"{FILES}{name}", f"files {name}", f"{name} のログファイル")
            for name in self._settings.classes
        ]
        rows = [Tenant(f"{ROWS}{name}", f"rows {name}", each.label) for name, each in ROW_CLASSES.items()]
        return [*files, Tenant(UNKNOWN, "files ?", "種別の分からないもの"), *rows]

    def verify(
        self,
        platform: psycopg.Connection,  # noqa: ARG002
        options: Mapping[str, Any],  # noqa: ARG002
        tenants: Sequence[Tenant],  # noqa: ARG002
    ) -> None:
        """:raises SettingsError: a root is no absolute path."""
        self._roots()

    def work(
        self, platform: psycopg.Connection, run: Run, unit_id: str, store: ObjectStore | None
    ) -> TenantResult | TenantFailure:
        """Clean one class."""
        if unit_id == UNKNOWN:
            return self._look_for_unknown(unit_id)
        if unit_id.startswith(FILES):
            return self._clean_files(run, unit_id, store)
        return self._delete_rows(platform, run, unit_id)

    def digest(self, platform: psycopg.Connection, run: Run) -> Digest:
        """Files, rows and bytes freed, a line per class that had any."""
        lines = []
        for unit_id, status, details in platform.execute(
            read_sql(_HERE, "cleaned"), {"execution_id": run.execution_id}
        ):
            parts = [
                f"{label} {details[name]:,}{unit}"
                for name, label, unit in (
                    ("filesDeleted", "削除", " 件"),
                    ("filesCompressed", "圧縮", " 件"),
                    ("filesArchived", "保管", " 件"),
                    ("bytesFreed", "解放", " バイト"),
                    ("rowsDeleted", "削除", " 行"),
                    ("untouched", "要確認", " 件"),
                    ("errors", "処理できず", " 件"),
                )
                if details.get(name)
            ]
            if status != "success":
                parts.append("失敗しました")
            if parts:
                lines.append(f"{unit_id}: {'、'.join(parts)}")
        return Digest([f"ログクリーンアップ {run.business_date}", *lines]) if lines else Digest()

    def _clean_files(self, run: Run, unit_id: str, store: ObjectStore | None) -> TenantResult | TenantFailure:
        name = unit_id.removeprefix(FILES)
        report = FileReport()
        for root in self._roots():
            of_root = clean_class(
                root,
                name,
                self._settings.classes[name],
                self._settings.compress_days,
                run.business_date,
                store,
            )
            report.compressed += of_root.compressed
            report.archived += of_root.archived
            report.deleted += of_root.deleted
            report.bytes_freed += of_root.bytes_freed
            report.plan += of_root.plan
            report.untouched += of_root.untouched
            report.errors += of_root.errors
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
            # Not tried again: what was treated by then would be missing from the report, and the next run treats the rest.
            return TenantFailure(
                unit_id,
                "FILES_NOT_TREATED",
                f"{len(report.errors)} 件のファイルを処理できませんでした（{report.errors[0]}）。"
                "空き容量と権限を確認してください。残りは次の実行が処理します。",
                recoverable=False,
                details={**details, "errors": len(report.errors)},
                notes=_listed([*report.errors, *report.untouched]),
            )
        return TenantResult(
            unit_id,
            details,
            records=report.deleted + report.compressed,
            notes=_listed(report.untouched),
            report=(*report.plan, *report.untouched[_LISTED:]),
        )

    def _look_for_unknown(self, unit_id: str) -> TenantResult:
        unknown = [line for root in self._roots() for line in unknown_entries(root, self._settings.classes)]
        return TenantResult(
            unit_id,
            {"untouched": len(unknown)},
            records=0,
            notes=_listed(unknown),
            report=tuple(unknown[_LISTED:]),
        )

    def _delete_rows(self, platform: psycopg.Connection, run: Run, unit_id: str) -> TenantResult:
        row_class = ROW_CLASSES[unit_id.removeprefix(ROWS)]
        before = cutoff(run.business_date, row_class, self._settings.row_days)
        if run.dry_run:
            count = count_old(platform, row_class, before)
            line = f"削除: {row_class.label} {count:,} 行（{before:%Y-%m-%d %H:%M} UTC より前）"
            return TenantResult(unit_id, {"rowsDeleted": 0, "planned": count}, records=0, report=(line,))
        rows = sum(delete_old(platform, row_class, before, self._settings.chunk_rows))
        return TenantResult(unit_id, {"rowsDeleted": rows}, records=rows)

    def _roots(self) -> list[Path]:
        """Absolute paths from the Variable; none where the application's logs lie elsewhere than on this machine."""
        assert self._installation is not None, "the flow installs a batch before its first step"
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
