"""BATCH-018-05: aligns each tenant's settings with its plan and contract. Values set by others are reported, not overwritten."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.batches.settings_sync.digest import (
    TenantProblems,
    digest_lines,
    is_critical,
    sentence,
)
from include.skillreport.batches.settings_sync.plan_settings import TRIAL, Desired, PlanSettings, Source
from include.skillreport.batches.settings_sync.protected_keys import is_protected
from include.skillreport.batches.settings_sync.rules import (
    PlanStep,
    SettingChange,
    SettingsPlan,
    Undone,
    plan_sync,
    shown,
)
from include.skillreport.batches.settings_sync.undo import actor_of
from include.skillreport.batches.settings_sync.validation import ProblemSeverity, Setting, SettingProblem
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Run, TenantBatch, UnitResult, Work
from include.skillreport.core.execution.business_date import utc_bounds
from include.skillreport.core.execution.digest import Digest, listed

_SQL = Statements(Path(__file__).parent)

# Sample limits must never be written for real tenants.
_SAMPLE_NOTE = (
    "見本の一覧のため書き込みません。plan_settings.yaml の内容を決めて sample: false にしてください"
)

# The maximum number of problems in a tenant's outcome. The others are counted.
_LISTED = 30

_KIND_NAMES = {"inserted": "追加", "revived": "復活", "updated": "更新"}


class SettingsSyncBatch(TenantBatch):
    """The steps of BATCH-018-05; see ``include.skillreport.core.execution.batch``."""

    effects = frozenset({"fixed"})
    states = frozenset(
        {
            "missing",
            "drifted",
            "planned",
            "reported",
            "protectedSettings",
            *(each.name.lower() for each in ProblemSeverity),
        }
    )

    def __init__(self, plans: PlanSettings) -> None:
        self._plans = plans
        self._keys = list(plans.settings)

    def process(self, work: Work) -> list[UnitResult]:
        """Align the settings with plan and contract."""
        lock_tenants(work)
        _SQL.execute(work.connection, "lock_settings", setting_keys=self._keys)
        connection, run = work.connection, work.run
        settings, applied, undone = _load_settings(connection, run, self._keys)
        plans: dict[str, SettingsPlan] = {}
        steps: dict[str, PlanStep] = {}
        for row in _SQL.rows(connection, "load_plans"):
            tenant_id, name = row["tenant_id"], _plan_of(row)
            step = PlanStep(name, row["known_plan"]) if name in self._plans.plans else None
            plans[tenant_id] = plan_sync(
                settings[tenant_id],
                self._plans.settings,
                self._plans.desired(step.now, row) if step else {},
                applied[tenant_id],
                undone[tenant_id],
                step,
            )
            if step:
                steps[tenant_id] = step
                plans[tenant_id].differences += self._plans.not_negotiated(row)
            else:
                plans[tenant_id].differences.append(_unknown_plan(name))
        if not self._plans.sample:
            self._write(connection, run, plans, applied)
            _save_plans(connection, run, steps)
        return [
            self._result(
                run,
                tenant_id,
                steps.get(tenant_id),
                plans[tenant_id],
                len(settings[tenant_id]),
            )
            for tenant_id in work.tenant_ids
            if tenant_id in plans
        ]

    def digest(self, work: Work) -> Digest:
        """The new serious problems, by tenant. They count as reported once this transaction is committed."""
        with work.connection.transaction():
            # So concurrent runs do not report the same problems. The lock does not block the tenants' work.
            work.connection.execute("LOCK TABLE batch.setting_plan IN SHARE UPDATE EXCLUSIVE MODE")
            run = {"execution_id": work.run.execution_id}
            rows = _SQL.rows(work.connection, "untold_problems", **run)
            tenant_ids = [row["tenant_id"] for row in rows]
            _SQL.execute(work.connection, "count_as_told", tenant_ids=tenant_ids, **run)
        news = [
            TenantProblems(
                row["tenant_code"],
                row["tenant_name"],
                [_problem(each) for each in row["problems"] if each not in row["known"]],
            )
            for row in rows
        ]
        news = [tenant for tenant in news if tenant.problems]
        return Digest(digest_lines(work.run.business_date, news), is_critical(news))

    def _write(
        self,
        connection: psycopg.Connection,
        run: Run,
        plans: Mapping[str, SettingsPlan],
        applied: Mapping[str, Mapping[str, Desired]],
    ) -> None:
        """Write the settings, the history of the written rows, and the values that count as applied."""
        changes = {
            (tenant_id, change.key): self._change_row(tenant_id, change, applied[tenant_id].get(change.key))
            for tenant_id, plan in plans.items()
            for change in plan.changes
        }
        written: set[tuple[str, str]] = set()
        if changes:
            about = {"actor": actor_of(run.execution_id), "now": _now(), "execution_id": run.execution_id}
            inserted = [row for row in changes.values() if row["kind"] == "inserted"]
            others = [row for row in changes.values() if row["kind"] != "inserted"]
            for statement, rows in {"insert_settings": inserted, "update_settings": others}.items():
                if rows:
                    written.update(
                        _SQL.execute(connection, statement, **about, changes=Jsonb(rows)).fetchall()
                    )
            kept = [row for place, row in changes.items() if place in written]
            _SQL.execute(connection, "record_changes", **about, changes=Jsonb(kept))
        for tenant_id, plan in plans.items():
            # The application inserted the row first, because the batch's locks do not block inserts.
            lost = [change for change in plan.changes if (tenant_id, change.key) not in written]
            for change in lost:
                plan.changes.remove(change)
                plan.differences.append(
                    SettingProblem(
                        ProblemSeverity.MEDIUM, change.key, "同時に登録されたため、書き込みませんでした"
                    )
                )
        known = [
            {"tenant_id": tenant_id, "setting_key": key, "value": to.value, "source": to.source}
            for tenant_id, plan in plans.items()
            for key, to in [*((change.key, change.to) for change in plan.changes), *plan.adopted.items()]
        ]
        if known:
            _SQL.execute(
                connection,
                "save_applied",
                settings=Jsonb(known),
                run_date=run.run_date,
                actor=actor_of(run.execution_id),
            )

    def _change_row(self, tenant_id: str, change: SettingChange, applied: Desired | None) -> dict[str, Any]:
        definition = self._plans.settings[change.key]
        # The file's loader rejects such keys, too. This is the last check before the write.
        assert not is_protected(change.key)
        return {
            "tenant_id": tenant_id,
            "setting_key": change.key,
            "kind": change.kind,
            "setting_id": change.before.id if change.before else str(uuid.uuid4()),
            "setting_category": change.key.partition(".")[0].upper(),
            "setting_name": definition.name,
            "data_type": definition.data_type,
            "old_value": change.before.value if change.before else None,
            "old_modified_by": change.before.last_modified_by if change.before else None,
            "new_value": change.to.value,
            "old_applied_value": applied.value if applied else None,
            "old_applied_source": applied.source if applied else None,
            "reason": change.reason,
        }

    def _result(
        self,
        run: Run,
        tenant_id: str,
        step: PlanStep | None,
        plan: SettingsPlan,
        settings: int,
    ) -> UnitResult:
        is_only_planned = run.dry_run or self._plans.sample
        reported = plan.reported
        # Differences from a sample list are not serious. Problems of the setting itself still are.
        serious = [
            problem
            for problem in (plan.problems if self._plans.sample else reported)
            if problem.severity >= ProblemSeverity.HIGH
        ]
        severities = Counter(problem.severity for problem in reported)
        lines = [
            f"{tenant_id}: {'予定: ' if is_only_planned else ''}{_KIND_NAMES[change.kind]} {change.key}: "
            f"{shown(change.before.value if change.before else None)} → {change.to.value}（{change.reason}）"
            for change in plan.changes
        ]
        if plan.changes and not is_only_planned:
            lines.append(
                f"{tenant_id}: 取り消すには、DAG undo_settings_sync に実行ID {run.execution_id} を指定します"
            )
        # The log contains the minor problems; the digest does not.
        lines += [
            f"{tenant_id}: {sentence(problem)}"
            for problem in reported[: 2 * _LISTED]
            if problem.severity is ProblemSeverity.LOW
        ]
        noted = [problem for problem in reported if problem.severity > ProblemSeverity.LOW]
        notes = list(listed(noted, sentence, "ほか {} 件", _LISTED))
        if plan.changes and self._plans.sample:
            notes.append(_SAMPLE_NOTE)
        details = {
            "plan": step.now if step else None,
            "missing": plan.missing,
            "drifted": plan.drifted,
            "fixed": 0 if self._plans.sample else len(plan.changes),
            "planned": len(plan.changes),
            "reported": len(reported),
            **{severity.name.lower(): severities[severity] for severity in reversed(ProblemSeverity)},
            "protectedSettings": plan.protected,
            "seriousProblems": [asdict(problem) for problem in serious],
        }
        return UnitResult(
            tenant_id, details, records=settings + len(plan.changes), notes=tuple(notes), report=tuple(lines)
        )


def lock_tenants(work: Work) -> None:
    """Lock the tenants' plans. The second of two concurrent runs waits, and then sees the first one's changes."""
    _SQL.execute(work.connection, "begin_tenants", execution_id=work.run.execution_id)
    _SQL.execute(work.connection, "lock_tenants")


def _load_settings(
    connection: psycopg.Connection, run: Run, keys: Sequence[str]
) -> tuple[dict[str, list[Setting]], dict[str, dict[str, Desired]], dict[str, dict[str, Undone]]]:
    """The present settings, the last applied settings, and the values undone by operators, by tenant."""
    settings: dict[str, list[Setting]] = defaultdict(list)
    applied: dict[str, dict[str, Desired]] = defaultdict(dict)
    undone: dict[str, dict[str, Undone]] = defaultdict(dict)
    day_end = utc_bounds(run.business_date).end
    for row in _SQL.rows(connection, "load_settings", day_end=day_end, setting_keys=list(keys)):
        settings[row.pop("tenant_id")].append(Setting(**row))
    for row in _SQL.rows(connection, "load_applied"):
        applied[row["tenant_id"]][row["setting_key"]] = Desired(row["value"], Source(row["source"]))
    for row in _SQL.rows(connection, "load_undone"):
        undone[row["tenant_id"]][row["setting_key"]] = Undone(row["new_value"], row["is_added"])
    return settings, applied, undone


def _plan_of(row: Mapping[str, Any]) -> str:
    return row["subscription_plan"] or (TRIAL if row["status"] == "TRIAL" else "")


def _unknown_plan(name: str) -> SettingProblem:
    text = f"プラン {shown(name)} は plan_settings.yaml にありません" if name else "プランがありません"
    return SettingProblem(ProblemSeverity.HIGH, "", f"{text}（設定は変更しません）")


def _save_plans(connection: psycopg.Connection, run: Run, steps: Mapping[str, PlanStep]) -> None:
    moved = [
        {"tenant_id": tenant_id, "plan": step.now}
        for tenant_id, step in steps.items()
        if step.now != step.before
    ]
    if moved:
        _SQL.execute(
            connection, "save_plans", plans=Jsonb(moved), run_date=run.run_date, execution_id=run.execution_id
        )


def _problem(row: Mapping[str, Any]) -> SettingProblem:
    return SettingProblem(ProblemSeverity(row["severity"]), row["key"], row["text"])


def _now() -> datetime:
    """The time in the host's format: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
