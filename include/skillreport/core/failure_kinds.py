"""The kinds of failure: what each means, and what an operator does about it. ``failure_kinds.toml`` has their texts.

Alerts, the board, the DAGs' documentation and the pages are made from them. A failure has a code, and the code and the run's registry entry
select its kind. Tenants' outcomes, the errors of steps and the problems of a whole run have codes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal

from include.skillreport.core.operation_catalog import APPROVALS, APPROVE_OFFBOARDING, RESTORE_BACKUP
from include.skillreport.core.run_spec import OperationSpec, RunSpec

# The code of a tenant or a step whose task was killed.
NO_RESULT = "NO_RESULT"

# The codes of a tenant whose task was interrupted before it had a result. Airflow's error is that of its time limit.
INTERRUPTED = (NO_RESULT, "AirflowTaskTimeout")

# The codes of a run that ended without closing its row, and of a run that was cleared and not closed again.
RUN_LOST, RUN_UNCLOSED = "RUN_LOST", "RUN_UNCLOSED"

# The ends of a remedy.
CLEAR_FAILED = "{failed}を下流ごと消去（Clear）してください。二重に処理されません。"
CLEAR_TASK = "この実行の {task} を下流ごと消去（Clear）してください。"

# The ends of a remedy in a DAG that nobody clears: an operation, an approval, the approval of a deletion (which has a stage behind it), an
# operation that also runs by itself.
OPERATE_AGAIN = (
    "済んだ分がないかをボードで確かめてから、同じ操作を新しく実行（Trigger）してください。"
    "消去（Clear）しても、操作はやり直せません。"
)
ASK_AGAIN = (
    "DAG を新しく実行（Trigger）し（業務日の欄があれば、同じ業務日）、出た承認依頼にもう一度答えてください。"
    "消去（Clear）は不要です。"
)
DELETE_ON = (
    "退会を始めた人が、DAG offboard_tenant の「削除の承認の依頼」を新しく実行し、もう一度承認を受けてください。"
    "続きから削除します。消去（Clear）は不要です。"
)
NEXT_RUN = "次の予定の実行が続きをします。急ぐときは、経理が新しく実行（Trigger）してください。消去（Clear）は不要です。"

# The kinds of clears: of what has failed; others name a task.
FAILED = "failed"


def _in_japanese(text: str, **values: str) -> str:
    return text.format(**values) if values else text


@dataclass(frozen=True)
class FailureKind:
    """A kind of failure. The texts are Japanese, for operators; ``failure_kinds.toml`` describes the fields.

    ``again`` is the end of the remedy in an operation, instead of a clear. ``at_once``: a clear may help before anybody changes anything.
    """

    name: str
    meaning: str
    action: str
    codes: Sequence[str]
    of: Sequence[str] = ()
    change: str = ""
    clear: str = ""
    at_once: bool = False
    again: str = ""
    waits: str = ""
    page: str = ""
    told: str = "運用担当"

    @property
    def urgency(self) -> Literal["now", "depends", "morning"]:
        """Whether an operator must act in the night, by the first words of ``waits``."""
        if self.waits.startswith("待てません"):
            return "now"
        return "morning" if self.waits.startswith("待てます") else "depends"

    def remedy(self, failed: str = "失敗したインスタンス", words: Callable[..., str] = _in_japanese) -> str:
        """What an operator does. ``failed`` names what failed and is cleared, if a clear of it helps. ``words`` translates a text."""
        action = "".join(words(text) for text in (self.change, self.action) if text)
        if self.again:
            return action + words(self.again)
        if self.clear == FAILED:
            return action + words(CLEAR_FAILED, failed=failed)
        return action + words(CLEAR_TASK, task=self.clear) if self.clear else action


@cache
def failure_kinds() -> tuple[FailureKind, ...]:
    """All kinds, in the order in which a code is looked up. The last one has every other code."""
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(FailureKind(name, **row) for name, row in rows.items())


def own_kinds(spec: RunSpec) -> list[FailureKind]:
    """The kinds that only some batches or operations have, and this one is among them."""
    return [_of(kind, spec) for kind in failure_kinds() if spec.id in kind.of]


def kind_of(spec: RunSpec, failure: BaseException | str | None) -> FailureKind:
    """The kind of a failure in a run of ``spec``: of an error, of a code or the name of a kind, or (None) of a task that was killed."""
    # Not at the top: it imports the database driver, and Airflow imports this module when it parses a DAG.
    from include.skillreport.core.errors import code_of

    code = code_of(failure) if isinstance(failure, BaseException) else failure or NO_RESULT
    return next(
        _of(kind, spec, code)
        for kind in failure_kinds()
        if (not kind.of or spec.id in kind.of)
        and (code == kind.name or any(fnmatchcase(code, pattern) for pattern in kind.codes))
    )


def runbook_of(*specs: RunSpec) -> str:
    """The items of the section 障害対応 that every DAG has, in Markdown. A family's DAG has several batches."""
    spec, *others = specs
    failed = "赤いグループの中の赤いタスク" if others else f"赤い `{spec.mapped_task}` のインスタンス"
    kinds = [*(kind for each in specs for kind in own_kinds(each)), _of(failure_kinds()[-1], spec)]
    cases = "".join(f"    * *{kind.meaning}* — {kind.remedy()}\n" for kind in kinds)
    return (
        f"* **朝まで待てるか**: {OperationSpec.can_wait if others else spec.can_wait}\n"
        f"* **どこを見るか**: {failed}。インスタンス名は対象（テナントコードなど）です。"
        "理由はログの最後の 1 行と `batch.tenant_outcome` にあります。\n"
        f"* **対処**: アラートとボードの「対処」のとおりにします。全部の種類は、ボードの「ヘルプ」の「失敗の種類」にあります。\n{cases}"
    )


def _of(kind: FailureKind, spec: RunSpec, code: str = "") -> FailureKind:
    """The kind in a run of ``spec``. Nobody clears an operation: the roles of its people may not, and Airflow does not say who did."""
    kind = replace(kind, waits=kind.waits or spec.can_wait)
    if not (kind.clear and isinstance(spec, OperationSpec)) or list(kind.of) == [spec.id]:
        return kind
    if spec is RESTORE_BACKUP and code in INTERRUPTED:
        return kind  # what an interrupted restore leaves belongs to its run, and its people may clear
    if spec is APPROVE_OFFBOARDING:
        return replace(kind, clear="", again=DELETE_ON)
    again = NEXT_RUN if spec.cron else ASK_AGAIN if spec in APPROVALS.values() else OPERATE_AGAIN
    return replace(kind, clear="", again=again, page=kind.page or "trigger")
