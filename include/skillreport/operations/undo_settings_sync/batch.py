"""Undo the setting changes of a run of BATCH-018-05."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from include.skillreport.batches.settings_sync.batch import lock_tenants
from include.skillreport.batches.settings_sync.digest import SEVERITY_NAMES
from include.skillreport.batches.settings_sync.rules import shown
from include.skillreport.batches.settings_sync.undo import UndoPlan, actor_of, plan_undo
from include.skillreport.batches.settings_sync.validation import ProblemSeverity
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Request, Run, TenantBatch, UnitResult, Work
from include.skillreport.operations.shown import ChecksShown
from include.skillreport.operations.undo_settings_sync.form import FORM

_SQL = Statements(Path(__file__).parent)


class SettingsSyncUndo(ChecksShown, TenantBatch):
    """Undoes one run for all or the named tenants. Settings that were changed later stay."""

    effects = frozenset({"undone"})
    states = frozenset({"undoConflicts"})

    own_form = FORM

    def options(self, request: Request) -> dict[str, Any]:
        """``execution``: the run to undo. :raises ParameterError: there is nothing to undo, with the reason."""
        options = FORM.entered(request.values, request.run_date).values()
        execution = options["execution"]
        row = _SQL.row(
            request.platform, "count_changes", execution_id=execution, tenant_ids=request.tenant_ids
        )
        changes, not_undone, executions = row
        if executions:
            raise ParameterError(
                f"実行ID ではなく Airflow の run_id です。実行ID を指定してください: {'、'.join(executions)}。"
            )
        if not changes:
            raise ParameterError(f"実行 {execution!r} が対象のテナントの設定を変えた記録はありません。")
        if not not_undone:
            raise ParameterError(f"実行 {execution!r} の変更はすべて取り消し済みです。")
        return options

    def process(self, work: Work) -> list[UnitResult]:
        """Restore the tenants' settings."""
        run, target = work.run, {"execution_id": work.run.options["execution"]}
        lock_tenants(work)
        _SQL.execute(work.connection, "lock_changed_settings", **target)
        rows = _SQL.rows(work.connection, "load_undo", **target)
        plan = plan_undo(rows, run.options["execution"], run.execution_id)
        if plan.restored:
            about = {
                **target,
                "settings": Jsonb([asdict(restored) for restored in plan.restored]),
                "actor": actor_of(run.execution_id),
                # The host stores UTC without a zone.
                "now": datetime.now(UTC).replace(tzinfo=None),
                "run_date": run.run_date,
            }
            for statement in ("restore_settings", "forget_applied", "restore_applied", "mark_undone"):
                _SQL.execute(work.connection, statement, **about)
        return [_undo_result(run, tenant_id, plan) for tenant_id in work.tenant_ids]


def _undo_result(run: Run, tenant_id: str, plan: UndoPlan) -> UnitResult:
    restored = [entry for entry in plan.restored if entry.tenant_id == tenant_id]
    conflicts = [key for owner, key in plan.conflicts if owner == tenant_id]
    prefix = f"{tenant_id}: {'予定: ' if run.dry_run else ''}取り消し"
    return UnitResult(
        tenant_id,
        {"undone": len(restored), "undoConflicts": len(conflicts)},
        records=len(restored),
        notes=tuple(
            f"【{SEVERITY_NAMES[ProblemSeverity.MEDIUM]}】{key}: その後に変更されているため、元に戻しません"
            for key in conflicts
        ),
        report=tuple(
            f"{prefix} {entry.setting_key} → {'（なし）' if entry.is_deleted else shown(entry.setting_value)}"
            for entry in restored
        ),
    )
