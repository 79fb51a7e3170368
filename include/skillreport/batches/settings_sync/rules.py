"""The changes of a tenant's settings: compares the desired, the last applied and the present values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from include.skillreport.batches.settings_sync.plan_settings import Desired, SettingDefinition, Source
from include.skillreport.batches.settings_sync.protected_keys import squeezed
from include.skillreport.batches.settings_sync.validation import (
    ProblemSeverity,
    Setting,
    SettingProblem,
    has_type,
    problems_of,
    same_value,
)

_SHOWN = 60


class ChangeKind(StrEnum):
    """The kinds of a change to a setting's row."""

    INSERTED = "inserted"
    REVIVED = "revived"
    UPDATED = "updated"


@dataclass(frozen=True)
class SettingChange:
    """A change of one setting. ``before`` is its row, if there is one (for a revived setting, the row that an undo deleted)."""

    key: str
    kind: ChangeKind
    before: Setting | None
    to: Desired
    reason: str


@dataclass(frozen=True)
class Undone:
    """The value of a change that an operator has undone. ``is_added``: the undo has deleted the setting again."""

    value: str
    is_added: bool


@dataclass
class SettingsPlan:
    """The changes for one tenant. ``adopted``: settings that are already right, so they count as applied.

    ``problems`` are about the settings themselves. ``differences`` are between the settings and the plan or contract, so they are only
    valid if the plans' file is right.
    """

    changes: list[SettingChange] = field(default_factory=list)
    adopted: dict[str, Desired] = field(default_factory=dict)
    problems: list[SettingProblem] = field(default_factory=list)
    differences: list[SettingProblem] = field(default_factory=list)
    missing: int = 0
    drifted: int = 0
    protected: int = 0

    @property
    def reported(self) -> list[SettingProblem]:
        """All problems that an operator should check, worst first."""
        return sorted(
            [*self.problems, *self.differences], key=lambda problem: (-problem.severity, problem.key)
        )


@dataclass(frozen=True)
class PlanStep:
    """The tenant's present plan, and its plan at the last run (None at the first run)."""

    now: str
    before: str | None


def plan_sync(
    settings: Sequence[Setting],
    definitions: Mapping[str, SettingDefinition],
    desired: Mapping[str, Desired],
    applied: Mapping[str, Desired],
    undone: Mapping[str, Undone],
    step: PlanStep | None,
) -> SettingsPlan:
    """Compare three ways. A value is replaced only if it is still the last applied value and was not negotiated. A setting is added only
    if nobody has deleted it.

    A value of ``undone`` is not applied again until another value is desired. Without a ``step`` the plan is unknown, and ``desired`` is
    empty.
    """
    plan = SettingsPlan()
    alive = [setting for setting in settings if not setting.is_deleted]
    plan.protected = sum(setting.is_protected for setting in alive)
    plan.problems = problems_of(alive)
    rows = {setting.key: setting for setting in settings}
    spellings = {squeezed(setting.key): setting.key for setting in alive if setting.key not in definitions}
    for key, to in desired.items():
        assert step is not None
        before = rows.get(key)
        if before is not None and before.is_protected:
            plan.differences.append(
                SettingProblem(
                    ProblemSeverity.HIGH, key, "保護された区分か暗号化された設定のため、同期しません"
                )
            )
        elif before is None or before.is_deleted:
            twin = spellings.get(squeezed(key))
            _plan_missing(plan, key, before, to, applied.get(key), undone.get(key), twin, step)
        else:
            _plan_present(plan, before, definitions[key], to, applied.get(key), undone.get(key), step)
    return plan


def _plan_missing(
    plan: SettingsPlan,
    key: str,
    deleted: Setting | None,
    to: Desired,
    applied: Desired | None,
    undone: Undone | None,
    twin: str | None,
    step: PlanStep,
) -> None:
    plan.missing += 1
    if twin is not None:
        plan.differences.append(
            SettingProblem(
                ProblemSeverity.MEDIUM, key, f"別の綴り（{shown(twin)}）で登録されているため、追加しません"
            )
        )
    elif (deleted or applied) and not (undone and undone.is_added):
        plan.differences.append(_deleted_by_others(key))
    elif undone and undone.value == to.value:
        plan.differences.append(_taken_back(key))
    else:
        kind = ChangeKind.REVIVED if deleted else ChangeKind.INSERTED
        origin = "契約" if to.source is Source.CONTRACT else f"プラン {step.now}"
        plan.changes.append(SettingChange(key, kind, deleted, to, f"{origin} の設定がない"))


def _plan_present(
    plan: SettingsPlan,
    setting: Setting,
    definition: SettingDefinition,
    to: Desired,
    applied: Desired | None,
    undone: Undone | None,
    step: PlanStep,
) -> None:
    key, data_type = setting.key, definition.data_type
    if not setting.is_in_effect:
        plan.differences.append(SettingProblem(ProblemSeverity.MEDIUM, key, "有効期間の外です"))
    if same_value(setting.value, to.value, data_type):
        if applied is None or applied != to:
            plan.adopted[key] = to
        return
    plan.drifted += 1
    if not setting.data_type and setting.value is not None and not has_type(setting.value, data_type):
        plan.differences.append(
            SettingProblem(ProblemSeverity.HIGH, key, f"値が {data_type} の形ではありません")
        )
    difference = f"現在 {shown(setting.value)}、あるべき値 {to.value}"
    if Source.CONTRACT in (to.source, applied.source if applied else None):
        text = f"契約で決めた上限です（{difference}）。上書きしません"
    elif applied is None or not same_value(setting.value, applied.value, data_type):
        text = f"このバッチ以外が決めた値です（{difference}）。上書きしません"
    elif undone and undone.value == to.value:
        plan.differences.append(_taken_back(key))
        return
    else:
        is_other_plan = step.before is not None and step.before != step.now
        reason = (
            f"プラン変更 {step.before} → {step.now}" if is_other_plan else f"プラン {step.now} の既定値の変更"
        )
        plan.changes.append(SettingChange(key, ChangeKind.UPDATED, setting, to, reason))
        return
    plan.differences.append(SettingProblem(ProblemSeverity.MEDIUM, key, text))


def _deleted_by_others(key: str) -> SettingProblem:
    text = "このバッチ以外が削除した設定のため、追加しません。必要なら、アプリケーションで登録してください"
    return SettingProblem(ProblemSeverity.MEDIUM, key, text)


def _taken_back(key: str) -> SettingProblem:
    return SettingProblem(ProblemSeverity.LOW, key, "取り消された変更のため、適用しません")


def shown(text: str | None) -> str:
    """A key or an allowed value, shortened to one line for the log."""
    if text is None:
        return "（なし）"
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
