"""BATCH-018-05: each tenant's settings as its plan and contract want them. What people have decided is reported, never overwritten."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.database import read_sql
from include.errors import ParameterError
from include.execution.business_date import utc_bounds
from include.execution.digest import Digest, listed
from include.execution.sharding import Tenant
from include.execution.tenant_work import Run, TenantBatch, TenantResult
from include.tenant_management.settings_sync.digest import (
    SEVERITY_NAMES,
    TenantProblems,
    digest_lines,
    is_critical,
    sentence,
)
from include.tenant_management.settings_sync.plan_settings import TRIAL, Desired, PlanSettings, Source
from include.tenant_management.settings_sync.protected_keys import is_protected
from include.tenant_management.settings_sync.rules import Change, PlanStep, SyncPlan, plan_sync, shown
from include.tenant_management.settings_sync.undo import UndoPlan, actor_of, plan_undo
from include.tenant_management.settings_sync.validation import Problem, Setting, Severity

_HERE = Path(__file__).parent

# Invented limits must never reach a customer's tenants.
_SAMPLE_NOTE = (
    "見本の一覧のため書き込みません。plan_settings.yaml の内容を決めて sample: false にしてください"
)

# Problems that one tenant's outcome spells out; the rest is a count.
_LISTED = 30

_KIND_NAMES = {"inserted": "追加", "revived": "復活", "updated": "更新"}


class Action(StrEnum):
    """What a run does: its ordinary work, or taking back what an earlier one did."""

    SYNC = "sync"
    UNDO = "undo"


class SettingsSyncBatch(TenantBatch):
    """The steps of BATCH-018-05; see ``TenantBatch`` for what each must hold to."""

    def __init__(self, plans: PlanSettings) -> None:
        self._plans = plans
        self._keys = list(plans.settings)

    def options(
        self,
        parameters: Mapping[str, Any],
        tenants: Sequence[Tenant],  # noqa: ARG002
        *,
        all_tenants: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        """``action``, and the ``execution`` that is undone. A form without ``execution`` is the family's: its action is another batch's."""
        if "execution" not in parameters and parameters.get("action") != Action.UNDO:
            return {"action": Action.SYNC, "execution": ""}
        try:
            action = Action(str(parameters.get("action") or Action.SYNC))
        except ValueError:
            raise ParameterError(
                f"「操作」（action）{parameters.get('action')!r} は使えません。{'、'.join(Action)} のどれかを指定してください。"
            ) from None
        execution = str(parameters.get("execution") or "").strip()
        if action is Action.UNDO and not execution:
            raise ParameterError(
                "「取り消す実行」（execution）に実行ID（BATCH-018-05_… 、process のログに出ます）を指定してください。"
            )
        if action is Action.SYNC and execution:
            raise ParameterError(
                "「取り消す実行」（execution）は操作「取り消し」（undo）と一緒に指定してください。"
            )
        return {"action": action, "execution": execution}

    def verify(
        self, platform: psycopg.Connection, options: Mapping[str, Any], tenants: Sequence[Tenant]
    ) -> None:
        """Refuse to undo a run that has left nothing to undo. :raises ParameterError: says why there is nothing."""
        if options["action"] != Action.UNDO:
            return
        row = platform.execute(
            read_sql(_HERE, "count_changes"),
            {"execution_id": options["execution"], "tenant_ids": [tenant.id for tenant in tenants]},
        ).fetchone()
        assert row is not None
        changes, not_undone, executions = row
        if executions:
            raise ParameterError(
                f"実行ID ではなく Airflow の run_id です。実行ID を指定してください: {'、'.join(executions)}。"
            )
        if not changes:
            raise ParameterError(
                f"実行 {options['execution']!r} が対象のテナントの設定を変えた記録はありません。"
            )
        if not not_undone:
            raise ParameterError(f"実行 {options['execution']!r} の変更はすべて取り消し済みです。")

    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult]:
        """Bring the settings up to date, or take an earlier run's changes back."""
        # Of two runs at once the second one waits, and then sees what the first one has done.
        connection.execute(read_sql(_HERE, "begin_tenants"), {"execution_id": run.execution_id})
        connection.execute(read_sql(_HERE, "lock_tenants"))
        connection.execute(read_sql(_HERE, "lock_settings"), {"setting_keys": self._keys})
        if run.options.get("action") == Action.UNDO:
            return _undo(connection, run, tenant_ids)
        return self._sync(connection, run, tenant_ids)

    def digest(self, platform: psycopg.Connection, run: Run) -> Digest:
        """The serious problems that are new, tenant by tenant; told once this transaction is committed."""
        with platform.transaction():
            # Two runs at once take turns, so that neither tells what the other does; tenants' work goes on meanwhile.
            platform.execute("LOCK TABLE batch.setting_plan IN SHARE UPDATE EXCLUSIVE MODE")
            rows = _rows(platform, "take_problems", {"execution_id": run.execution_id})
        news = [
            TenantProblems(
                row["tenant_code"],
                row["tenant_name"],
                [_problem(each) for each in row["problems"] if each not in row["known"]],
            )
            for row in rows
        ]
        news = [tenant for tenant in news if tenant.problems]
        return Digest(digest_lines(run.business_date, news), is_critical(news))

    def _sync(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> list[TenantResult]:
        settings, applied, undone = _load_settings(connection, run, self._keys)
        plans: dict[str, SyncPlan] = {}
        steps: dict[str, PlanStep] = {}
        told: dict[str, list[Any] | None] = {}
        for row in _rows(connection, "load_plans", {"execution_id": run.execution_id}):
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
            told[tenant_id] = row["told_problems"]
            if step:
                steps[tenant_id] = step
                plans[tenant_id].differences += self._plans.not_negotiated(row)
            else:
                plans[tenant_id].differences.append(_unknown_plan(name))
        if not self._plans.sample:
            self._write(connection, run, plans, applied)
            _keep_plans(connection, run, steps)
        return [
            self._result(
                run,
                tenant_id,
                steps.get(tenant_id),
                plans[tenant_id],
                len(settings[tenant_id]),
                told[tenant_id],
            )
            for tenant_id in tenant_ids
            if tenant_id in plans
        ]

    def _write(
        self,
        connection: psycopg.Connection,
        run: Run,
        plans: Mapping[str, SyncPlan],
        applied: Mapping[str, Mapping[str, Desired]],
    ) -> None:
        """Write the settings, then the history of what was really written, and what counts as applied from now on."""
        changes = {
            (tenant_id, change.key): self._change_row(tenant_id, change, applied[tenant_id].get(change.key))
            for tenant_id, plan in plans.items()
            for change in plan.changes
        }
        written: set[tuple[str, str]] = set()
        if changes:
            about = {
                "changes": Jsonb(list(changes.values())),
                "actor": actor_of(run.execution_id),
                "now": _now(),
                "execution_id": run.execution_id,
            }
            for statement in ("insert_settings", "update_settings"):
                written.update(connection.execute(read_sql(_HERE, statement), about).fetchall())
            kept = [row for place, row in changes.items() if place in written]
            connection.execute(read_sql(_HERE, "record_changes"), {**about, "changes": Jsonb(kept)})
        for tenant_id, plan in plans.items():
            # The application came first: it takes no notice of our locks when it adds a row.
            lost = [change for change in plan.changes if (tenant_id, change.key) not in written]
            for change in lost:
                plan.changes.remove(change)
                plan.differences.append(
                    Problem(Severity.MEDIUM, change.key, "同時に登録されたため、書き込みませんでした")
                )
        known = [
            {"tenant_id": tenant_id, "setting_key": key, "value": to.value, "source": to.source}
            for tenant_id, plan in plans.items()
            for key, to in [*((change.key, change.to) for change in plan.changes), *plan.adopted.items()]
        ]
        if known:
            connection.execute(
                read_sql(_HERE, "keep_applied"),
                {
                    "settings": Jsonb(known),
                    "run_date": run.run_date,
                    "actor": actor_of(run.execution_id),
                },
            )

    def _change_row(self, tenant_id: str, change: Change, applied: Desired | None) -> dict[str, Any]:
        definition = self._plans.settings[change.key]
        # The file's loader has refused such a key, and this is the last place where it can be stopped.
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
        plan: SyncPlan,
        settings: int,
        told: list[Any] | None,
    ) -> TenantResult:
        is_only_planned = run.dry_run or self._plans.sample
        reported = plan.reported
        # Against a sample of a list nothing is wrong; what is wrong with a setting by itself is so all the same.
        serious = [
            problem
            for problem in (plan.problems if self._plans.sample else reported)
            if problem.severity >= Severity.HIGH
        ]
        severities = Counter(problem.severity for problem in reported)
        lines = [
            f"{tenant_id}: {'予定: ' if is_only_planned else ''}{_KIND_NAMES[change.kind]} {change.key}: "
            f"{shown(change.before.value if change.before else None)} → {change.to.value}（{change.reason}）"
            for change in plan.changes
        ]
        if plan.changes and not is_only_planned:
            lines.append(
                f"{tenant_id}: 取り消すには、操作「取り消し」に実行ID {run.execution_id} を指定します"
            )
        # What may wait is in the log only.
        lines += [
            f"{tenant_id}: {sentence(problem)}"
            for problem in reported[: 2 * _LISTED]
            if problem.severity is Severity.LOW
        ]
        noted = [problem for problem in reported if problem.severity > Severity.LOW]
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
            **{severity.name.lower(): severities[severity] for severity in reversed(Severity)},
            "protectedSettings": plan.protected,
            "seriousProblems": [asdict(problem) for problem in serious],
            **({} if told is None else {"toldProblems": told}),
        }
        return TenantResult(
            tenant_id, details, records=settings + len(plan.changes), notes=tuple(notes), report=tuple(lines)
        )


def _undo(connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> list[TenantResult]:
    target = {"execution_id": run.options["execution"]}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(read_sql(_HERE, "load_undo"), target).fetchall()
    plan = plan_undo(rows, run.options["execution"], run.execution_id)
    if plan.restored:
        about = {
            **target,
            "settings": Jsonb([asdict(restored) for restored in plan.restored]),
            "actor": actor_of(run.execution_id),
            "now": _now(),
            "run_date": run.run_date,
        }
        for statement in ("restore_settings", "forget_applied", "restore_applied", "mark_undone"):
            connection.execute(read_sql(_HERE, statement), about)
    return [_undo_result(run, tenant_id, plan) for tenant_id in tenant_ids]


def _load_settings(
    connection: psycopg.Connection, run: Run, keys: Sequence[str]
) -> tuple[
    dict[str, list[Setting]],
    dict[str, dict[str, Desired]],
    dict[str, dict[str, str]],
]:
    """By tenant: the settings as they are, those that were last applied, and the values that operators have taken back."""
    settings: dict[str, list[Setting]] = defaultdict(list)
    applied: dict[str, dict[str, Desired]] = defaultdict(dict)
    undone: dict[str, dict[str, str]] = defaultdict(dict)
    day = {"day_end": utc_bounds(run.business_date).end, "setting_keys": list(keys)}
    for row in _rows(connection, "load_settings", day):
        settings[row.pop("tenant_id")].append(Setting(**row))
    for row in _rows(connection, "load_applied"):
        applied[row["tenant_id"]][row["setting_key"]] = Desired(row["value"], Source(row["source"]))
    for row in _rows(connection, "load_undone"):
        undone[row["tenant_id"]][row["setting_key"]] = row["new_value"]
    return settings, applied, undone


def _rows(
    connection: psycopg.Connection, statement: str, parameters: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(read_sql(_HERE, statement), parameters).fetchall()


def _plan_of(row: Mapping[str, Any]) -> str:
    """The tenant's plan; empty if it has none."""
    return row["subscription_plan"] or (TRIAL if row["status"] == "TRIAL" else "")


def _unknown_plan(name: str) -> Problem:
    text = f"プラン {shown(name)} は plan_settings.yaml にありません" if name else "プランがありません"
    return Problem(Severity.HIGH, "", f"{text}（設定は変更しません）")


def _keep_plans(connection: psycopg.Connection, run: Run, steps: Mapping[str, PlanStep]) -> None:
    moved = [
        {"tenant_id": tenant_id, "plan": step.now}
        for tenant_id, step in steps.items()
        if step.now != step.before
    ]
    if moved:
        connection.execute(
            read_sql(_HERE, "keep_plans"),
            {"plans": Jsonb(moved), "run_date": run.run_date, "execution_id": run.execution_id},
        )


def _problem(row: Mapping[str, Any]) -> Problem:
    return Problem(Severity(row["severity"]), row["key"], row["text"])


def _undo_result(run: Run, tenant_id: str, plan: UndoPlan) -> TenantResult:
    restored = [entry for entry in plan.restored if entry.tenant_id == tenant_id]
    conflicts = [key for owner, key in plan.conflicts if owner == tenant_id]
    prefix = f"{tenant_id}: {'予定: ' if run.dry_run else ''}取り消し"
    return TenantResult(
        tenant_id,
        {"undone": len(restored), "undoConflicts": len(conflicts)},
        records=len(restored),
        notes=tuple(
            f"【{SEVERITY_NAMES[Severity.MEDIUM]}】{key}: その後に変更されているため、元に戻しません"
            for key in conflicts
        ),
        report=tuple(
            f"{prefix} {entry.setting_key} → {'（なし）' if entry.is_deleted else shown(entry.setting_value)}"
            for entry in restored
        ),
    )


def _now() -> datetime:
    """As the host writes it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
